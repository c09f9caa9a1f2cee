"""Verbs on tasks. Every write goes through the door; nothing here commits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import Table

from backend import door
from backend.errors import Fault, NotFound, PreconditionFailed, Unavailable, Unsettled
from backend.rules.text import sort_key
from backend.schemas.tasks import TaskCreate, TaskPatch
from backend.scope import Changing, Scope, account_gone
from backend.security.opaque import new_id
from backend.services.task_criteria import TASKS
from backend.services.task_query import one, shown, these
from backend.sql import Row

GIVEN = ("id", "title", "title_key", "description", "priority", "due_date", "tags", "completed", "language")
GONE = frozenset({"deleted_at"})


class Stored(NamedTuple):
    version: int
    body: str  # JSON


async def create(mine: Scope, task: TaskCreate) -> tuple[UUID, Stored]:
    """One statement. A taken id, in the trash too, is the database's to refuse."""
    row = row_of(mine, task)
    values = {f"new_{name}": value for name, value in row.items()}
    [made] = await _made(mine, door.create(TASKS, GIVEN, shown), values, [row["id"]], [task])
    return row["id"], Stored(made.version, made.body)


async def create_many(mine: Scope, tasks: Sequence[TaskCreate]) -> list[str]:
    """JSON, in the order given. One statement: all or nothing."""
    rows = [row_of(mine, task) for task in tasks]
    values = {"rows": door.rows_of([jsonable(row) for row in rows])}
    ids = [row["id"] for row in rows]
    return [row.body for row in await _made(mine, door.create_many(TASKS, GIVEN, shown), values, ids, tasks)]


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
    rows = await mine.read(one(), {"row_id": task_id})
    if not rows:
        raise _missing()
    return Stored(rows[0].version, rows[0].body)


async def edit(mine: Scope, task_id: UUID, patch: TaskPatch, expected: Sequence[int] | None) -> Stored:
    """One statement. Raises NotFound, and PreconditionFailed when the version is not among `expected`."""
    sent = _set(patch)
    if sent:
        return await _change(mine, task_id, sent, expected)
    unchanged = await read(mine, task_id)
    if expected is not None and unchanged.version not in expected:
        raise _stale()
    return unchanged


async def remove(mine: Scope, task_id: UUID, expected: Sequence[int] | None) -> None:
    """To the trash. Raises like `edit`."""
    await _change(mine, task_id, dict.fromkeys(GONE), expected)


async def edit_many(mine: Scope, ids: Sequence[UUID], patch: TaskPatch) -> int:
    return await _change_many(mine, ids, _set(patch))


async def remove_many(mine: Scope, ids: Sequence[UUID]) -> int:
    return await _change_many(mine, ids, dict.fromkeys(GONE))


async def _change(mine: Scope, task_id: UUID, sent: Mapping[str, Any], expected: Sequence[int] | None) -> Stored:
    return await change(mine, TASKS, shown, task_id, sent, expected, _missing(), _stale())


async def change(
    mine: Scope,
    target: Table,
    shown: Callable[[Any], Any],
    row_id: UUID,
    sent: Mapping[str, Any],
    expected: Sequence[int] | None,
    missing: NotFound,
    stale: PreconditionFailed,
) -> Stored:
    """A row of any user's table, in one statement. Raises `missing` and `stale`, in the words of its noun."""
    values = {"row_id": row_id, **_values(sent)}
    if expected is not None:
        values["expected"] = list(expected)
    rows = await mine.write(door.change(target, frozenset(sent), shown, expected is not None), values)
    if not rows:
        raise missing
    if rows[0].version is None:
        # It was there when the statement began, and was changed (or, with nothing expected, deleted) first.
        raise missing if expected is None else stale
    return Stored(rows[0].version, rows[0].body)


async def _change_many(mine: Scope, ids: Sequence[UUID], sent: Mapping[str, Any]) -> int:
    """All or nothing: a transaction, since whether all are there decides."""
    wanted = list(dict.fromkeys(ids))

    async def work(changing: Changing) -> int:
        values = {"ids": wanted, "before": changing.first - 1, **_values(sent)}
        changed = {row.id for row in await changing.run(door.change_many(TASKS, frozenset(sent)), values)}
        if len(changed) < len(wanted):
            raise _missing_among(ids, changed)
        return len(changed)

    return await mine.change(work, at_most=len(wanted))


def row_of(mine: Scope, task: TaskCreate) -> dict[str, Any]:
    return {**task.model_dump(), "id": task.id or new_id(), **derived(mine, task)}


def derived(mine: Scope, task: TaskCreate) -> dict[str, Any]:
    """Columns that nobody sends: they follow from the title and from the account."""
    return {"title_key": sort_key(task.title), "language": mine.language}


def jsonable(row: dict[str, Any]) -> dict[str, Any]:
    due = row["due_date"]
    return {**row, "id": str(row["id"]), "due_date": due and due.isoformat()}


def _set(patch: TaskPatch) -> dict[str, Any]:
    sent = patch.sent()
    return {**sent, "title_key": sort_key(sent["title"])} if "title" in sent else sent


def _values(sent: Mapping[str, Any]) -> dict[str, Any]:
    return {f"set_{name}": value for name, value in sent.items() if name not in GONE}


def _missing() -> NotFound:
    return NotFound("There is no such task.")


def _stale() -> PreconditionFailed:
    return PreconditionFailed("If-Match does not name the task's version. Read the task again, and decide anew.")


def _missing_among(ids: Sequence[UUID], found: set[UUID]) -> NotFound:
    faults = [
        Fault(loc=["body", "ids", n], msg=f"There is no task {task_id}.", type="not_found")
        for n, task_id in enumerate(ids)
        if task_id not in found
    ]
    return NotFound("Some of the tasks are not there; nothing was changed.", faults)
