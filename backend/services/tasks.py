"""Verbs on tasks. Every write goes through the door; nothing here commits."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from psycopg.errors import UniqueViolation

from backend import door
from backend.errors import Conflict, Fault, Invalid, NotFound, Unavailable, Unsettled
from backend.rules.text import sort_key
from backend.schemas.tasks import TaskCreate, TaskPatch
from backend.scope import Changing, Scope, account_gone
from backend.security.opaque import new_id
from backend.services import belonging
from backend.services.belonging import PLACES
from backend.services.changes import Kind, Stored, as_stored, change, change_all, new_values, unchanged
from backend.services.task_criteria import TASKS
from backend.services.task_query import known, one, these
from backend.services.task_wire import shown
from backend.sql import Row

TASK: Final = Kind(TASKS, shown, "task")
GIVEN = (
    *("id", "title", "title_key", "description", "priority", "due_date", "tags", "completed", "language"),
    *("project_id", "parent_id", "position"),
)


async def create(mine: Scope, task: TaskCreate) -> tuple[UUID, Stored]:
    """One statement, or a transaction where it names a project or parent. A taken id is the database's to refuse.

    Raises Invalid for a project or parent that is not there.
    """
    row = row_of(mine, task)
    if _is_placed(task):

        async def work(changing: Changing) -> Sequence[Row]:
            [settled] = await belonging.settled(changing, [row], [("body",)])
            return await changing.run(door.create(TASKS, GIVEN, shown), new_values(settled))

        return row["id"], as_stored(await mine.change(work, at_most=1), TASK)
    [made] = await _made(mine, door.create(TASKS, GIVEN, shown), new_values(row), [row["id"]], [task])
    return row["id"], Stored(made.version, made.body)


async def create_many(mine: Scope, tasks: Sequence[TaskCreate]) -> list[str]:
    """JSON, in the order given. All or nothing: one statement, or a transaction as `create` has it."""
    try:
        return await _create_many(mine, tasks)
    except UniqueViolation:
        raise await _taken(mine, tasks) from None


async def _create_many(mine: Scope, tasks: Sequence[TaskCreate]) -> list[str]:
    rows = [row_of(mine, task) for task in tasks]
    statement = door.create_many(TASKS, GIVEN, shown)
    if any(map(_is_placed, tasks)):

        async def work(changing: Changing) -> Sequence[Row]:
            settled = await belonging.settled(changing, rows, [("body", "tasks", n) for n in range(len(rows))])
            return await changing.run(statement, _new_rows(settled))

        return [row.body for row in await mine.change(work, at_most=1)]
    ids = [row["id"] for row in rows]
    return [row.body for row in await _made(mine, statement, _new_rows(rows), ids, tasks)]


async def _taken(mine: Scope, tasks: Sequence[TaskCreate]) -> Conflict:
    """Which of the ids there are already."""
    rows = await mine.read(known(), {"ids": [task.id for task in tasks if task.id]})
    there = {row.id for row in rows}
    faults = [
        Fault(loc=["body", "tasks", n, "id"], msg="This id is taken.", type="taken")
        for n, task in enumerate(tasks)
        if task.id in there
    ]
    return Conflict("Some of these ids exist already, perhaps in the trash.", faults)


async def _made(
    mine: Scope, statement: Any, values: Mapping[str, Any], ids: Sequence[UUID], tasks: Sequence[TaskCreate]
) -> Sequence[Row]:
    """The new rows, once: sent again when the connection broke, since their ids are refused if they are there.

    Ids that were made here are nobody else's: refused, they tell that the first time had worked.
    """
    try:
        made = await mine.write(statement, values, many=len(ids) > 1, repeatable=True)
    except UniqueViolation:
        if any(task.id for task in tasks):
            raise
        try:
            made = await mine.read(these(), {"ids": ids})
        except Unavailable:
            raise Unsettled from None  # they are there, and a client that hears "try again" would double them
    if not made:
        raise account_gone()
    return made


async def read(mine: Scope, task_id: UUID) -> Stored:
    return as_stored(await mine.read(one(), {"row_id": task_id}), TASK)


async def edit(
    mine: Scope, task_id: UUID, patch: TaskPatch, expected: Sequence[int] | None, *, with_parts: bool = False
) -> Stored:
    """One statement, or a transaction where other rows decide or change with it.

    `with_parts`: its open parts are completed with it. Raises NotFound, PreconditionFailed when the version is not
    among `expected`, and as `belonging.moved`.
    """
    sent = _set(patch)
    if with_parts and not sent.get("completed"):
        raise Invalid.at("query", "subtasks", msg="`subtasks=complete` goes with `completed: true`")
    if not sent:
        return unchanged(await read(mine, task_id), TASK, expected)
    if not with_parts and PLACES.isdisjoint(sent):
        return await change(mine.write, TASK, task_id, sent, expected)

    async def work(changing: Changing) -> Stored:
        rows = await belonging.tree(changing, [task_id])
        if not rows:
            raise TASK.missing
        if expected is not None and rows[0].version not in expected:
            raise TASK.stale
        moved = await belonging.moved(changing, [task_id], sent, ("body",), rows)
        stored = await change(changing.run, TASK, task_id, moved.sent, expected)
        await _follow(changing, moved)
        if with_parts:
            parts = [row.id for row in rows if row.level and not row.completed]
            await change_all(changing, TASKS, parts, {"completed": True})
        return stored

    return await mine.change(work, at_most=1)


async def edit_many(mine: Scope, ids: Sequence[UUID], patch: TaskPatch) -> int:
    """All or nothing: a transaction, since whether all are there decides."""
    sent, wanted = _set(patch), list(dict.fromkeys(ids))

    async def work(changing: Changing) -> int:
        moved = belonging.Moved(sent, [])
        if not PLACES.isdisjoint(sent):
            rows = await belonging.tree(changing, wanted)
            all_there(ids, {row.id for row in rows})
            moved = await belonging.moved(changing, wanted, sent, ("body", "set"), rows)
        changed = await change_all(changing, TASKS, wanted, moved.sent, first=changing.first)
        all_there(ids, set(changed))
        await _follow(changing, moved)
        return len(changed)

    return await mine.change(work, at_most=len(wanted))


async def _follow(changing: Changing, moved: belonging.Moved) -> None:
    await change_all(changing, TASKS, moved.parts, {"project_id": moved.sent.get("project_id")})


def all_there(ids: Sequence[UUID], found: set[UUID]) -> None:
    """Raises NotFound, naming each that is not."""
    faults = [
        Fault(loc=["body", "ids", n], msg=f"There is no task {task_id}.", type="not_found")
        for n, task_id in enumerate(ids)
        if task_id not in found
    ]
    if faults:
        raise NotFound("Some of the tasks are not there; nothing was changed.", faults)


def _is_placed(task: TaskCreate) -> bool:
    return task.project_id is not None or task.parent_id is not None


def _new_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"rows": door.rows_of([jsonable(row) for row in rows])}


def row_of(mine: Scope, task: TaskCreate) -> dict[str, Any]:
    return {**task.model_dump(), "id": task.id or new_id(), **derived(mine, task)}


def derived(mine: Scope, task: TaskCreate) -> dict[str, Any]:
    """Columns that nobody sends: they follow from the title and from the account."""
    return {"title_key": sort_key(task.title), "language": mine.language}


def jsonable(row: Mapping[str, Any]) -> dict[str, Any]:
    ids = {name: row[name] and str(row[name]) for name in ("id", "project_id", "parent_id")}
    return {**row, **ids, "due_date": row["due_date"] and row["due_date"].isoformat()}


def _set(patch: TaskPatch) -> dict[str, Any]:
    sent = patch.sent()
    return {**sent, "title_key": sort_key(sent["title"])} if "title" in sent else sent
