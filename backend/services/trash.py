"""Verbs on what was deleted: it is in the trash for 30 days, and comes back with all that was taken along."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table

from backend.db import Database
from backend.errors import Conflict, NotFound, NotSignedIn
from backend.models.projects import DEEPEST
from backend.rules import graph
from backend.rules.graph import Edge
from backend.rules.text import counted
from backend.schemas.trash import TrashList
from backend.scope import Changing, Scope
from backend.services import activity, belonging, dependency_query, falling, trash_list, trash_query
from backend.services.changes import Stored, change, change_all
from backend.services.dependencies import MOST_ONWARD
from backend.services.projects import PROJECT, nested, taken
from backend.services.task_criteria import PROJECTS, TASKS
from backend.services.task_dependencies import DEPENDENCIES
from backend.services.task_family import homes
from backend.services.tasks import TASK, all_there
from backend.services.walking import walked
from backend.sql import Row
from backend.statements import Query

ROOTS: Final = ("projects", "tasks")
"""What is deleted by itself and can be restored."""
TABLES: Final[Mapping[str, Table]] = {
    "projects": PROJECTS,
    "tasks": TASKS,
    **falling.OF_TASKS,
    "dependencies": DEPENDENCIES,
}


async def remove_task(mine: Scope, task_id: UUID, expected: Sequence[int] | None) -> None:
    """With all its parts. Raises NotFound, and PreconditionFailed when the version is not among `expected`."""

    async def work(changing: Changing) -> None:
        rows = await changing.run(falling.with_tasks(), {"ids": [task_id]})
        await change(changing.run, TASK, task_id, {"deleted_at": None}, expected)
        await _fall(changing, [row for row in rows if (row.of, row.id) != ("tasks", task_id)])

    await mine.change(work, at_most=1)


async def remove_tasks(mine: Scope, ids: Sequence[UUID]) -> int:
    """All or nothing, and with all their parts; how many of `ids` there were. Raises NotFound."""
    wanted = list(dict.fromkeys(ids))

    async def work(changing: Changing) -> int:
        rows = await changing.run(falling.with_tasks(), {"ids": wanted})
        all_there(ids, {row.id for row in rows if row.of == "tasks"})
        await _fall(changing, rows)
        return len(wanted)

    return await mine.change(work, at_most=1)


async def remove_project(mine: Scope, project_id: UUID, tasks: str | None, expected: Sequence[int] | None) -> None:
    """With the projects in it; `tasks` says what becomes of their tasks: `trash` or `inbox`.

    Raises NotFound, PreconditionFailed, and Conflict when there are tasks and nobody said what becomes of them.
    """

    async def work(changing: Changing) -> None:
        rows = await changing.run(falling.with_projects(), {"ids": [project_id]})
        if not rows:
            raise PROJECT.missing
        there = [row.id for row in rows if row.of == "tasks"]
        await change(changing.run, PROJECT, project_id, {"deleted_at": None, "parent_depth": None}, expected)
        if there and tasks is None:
            words = (
                f"It holds {counted(len(there), 'task')}. Say what becomes of its tasks: ?tasks=trash or ?tasks=inbox."
            )
            raise Conflict(words)
        if tasks == "inbox":
            await change_all(changing, TASKS, there, {"project_id": None})
        gone = [row for row in rows if tasks != "inbox" or row.of == "projects"]
        await _fall(changing, [row for row in gone if (row.of, row.id) != ("projects", project_id)])

    await mine.change(work, at_most=1)


async def _fall(changing: Changing, rows: Sequence[Row]) -> None:
    for of, these in _by_table(rows).items():
        taken = [None if of in ROOTS and row.root == row.id else row.root for row in these]
        sent = {"parent_depth": None} if of == "projects" else {}
        await change_all(changing, TABLES[of], [row.id for row in these], sent, {"deleted_with": taken}, "deleted")


def _by_table(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Each row once."""
    found: dict[str, dict[UUID, Row]] = defaultdict(dict)
    for row in rows:
        found[row.of].setdefault(row.id, row)
    return {of: list(these.values()) for of, these in found.items()}


async def listed(mine: Scope, asked: TrashList) -> tuple[list[str], str | None]:
    """JSON, one a task or project, and a cursor to those after them. One statement. Raises Invalid for the cursor."""
    within = asked.within is not None

    def page(after: bool) -> Query:
        return trash_list.listed(within, after)

    return await walked(mine, page, asked, f"trash {asked.within}", {"within": asked.within} if within else {})


async def restore_task(mine: Scope, task_id: UUID) -> Stored:
    """With all that was taken along with it, or by the same and is below it.

    Where its parent or project is no more, or it would be too deep by now, it is a part of none or in the inbox.
    Raises NotFound.
    """

    async def work(changing: Changing) -> Stored:
        rows = await changing.run(falling.back_with_task(), {"row_id": task_id})
        if not rows:
            raise _not_there()
        parts = [row for row in rows if row.of == "tasks"]
        this = parts[0]
        found = await changing.run(homes(), {"projects": _some(this.project_id), "parents": _some(this.parent_id)})
        parent = next((row for row in found if row.depth is not None), None)
        if parent and parent.depth + 1 + max(row.level for row in parts) > belonging.DEEPEST:
            parent = None
        projects = [row.id for row in found if row.depth is None]
        project_id = parent.project_id if parent else next(iter(projects), None)
        each = {
            "parent_id": [row.parent_id if row.level or parent else None for row in parts],
            "project_id": [project_id for _ in parts],
        }
        await _rise(changing, rows, {"tasks": each})
        return await change(changing.run, TASK, task_id, {})

    return await mine.change(work, at_most=1)


async def restore_project(mine: Scope, project_id: UUID) -> Stored:
    """With what was taken along. Where the project that it was in is no more, it is in none.

    Raises NotFound, and Conflict for names that others have meanwhile.
    """

    async def work(changing: Changing) -> Stored:
        rows = await changing.run(falling.back_with_project(), {"row_id": project_id})
        if not rows:
            raise _not_there()
        projects, tasks = ([row for row in rows if row.of == of] for of in ("projects", "tasks"))
        this, found = projects[0], {row.id for row in tasks}
        if names := [row.name for row in await changing.run(taken(), {"ids": [row.id for row in projects]})]:
            raise Conflict(f"There are projects of these names by now: {', '.join(names)}. Rename them first.")
        above = await changing.run(nested(), {"ids": _some(this.parent_id)}) if this.parent_id else []
        height = max(row.level for row in projects)
        depth = above[0].depth + 1 if above and above[0].depth + 1 + height <= DEEPEST else 0
        depths = [depth + row.level for row in projects]
        structure = {
            "parent_id": [row.parent_id if row.level or depth else None for row in projects],
            "parent_depth": [each - 1 if each else None for each in depths],
            "depth": depths,
        }
        parents = {"parent_id": [row.parent_id if row.parent_id in found else None for row in tasks]}
        await _rise(changing, rows, {"projects": structure, "tasks": parents})
        return await change(changing.run, PROJECT, project_id, {})

    return await mine.change(work, at_most=1)


async def _rise(changing: Changing, rows: Sequence[Row], each: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
    """In the language that the account has by now, and with the dependencies that were taken along."""
    tables = _by_table(rows)
    for of, these in tables.items():
        target = TABLES[of]
        sent = {"language": changing.mine.language} if "language" in target.c else {}
        await change_all(changing, target, [row.id for row in these], sent, each.get(of), "restored")
    await _rejoin(changing, [row.id for row in tables.get("tasks", ())])


async def _rejoin(changing: Changing, ids: Sequence[UUID]) -> None:
    """Those between tasks that are there again, as long as they close no circle; the others are as if removed."""
    severed = await changing.run(falling.severed(), {"ids": list(ids)})
    edges = {Edge(row.task_id, row.depends_on_id): row.id for row in severed}
    if not edges:
        return
    ends = {"ids": list({task for edge in edges for task in edge}), "in_limit": MOST_ONWARD + 1}
    onward = await changing.run(dependency_query.onward(), ends)
    # Of more than that, nobody knows whether they lead in a circle: none comes back.
    kept = graph.restorable([Edge(*row) for row in onward], edges) if len(onward) <= MOST_ONWARD else []
    back = [edges[edge] for edge in kept]
    await change_all(changing, DEPENDENCIES, back, {}, turn="restored")
    left = [row.id for row in severed if row.id not in set(back)]
    await change_all(changing, DEPENDENCIES, left, {}, turn="left")


async def scrub(mine: Scope, of: falling.What, row_id: UUID) -> None:
    """For good, with what would come back with it. The tombstones stay. Raises NotFound."""
    statement = falling.back_with_task() if of == "tasks" else falling.back_with_project()

    async def work(changing: Changing) -> None:
        rows = await changing.run(statement, {"row_id": row_id})
        if not rows:
            raise _not_there()
        for name, these in _by_table(rows).items():
            await _scrub(changing, TABLES[name], [row.id for row in these])

    await mine.change(work, at_most=1)


async def empty(mine: Scope, *, old: bool = False) -> int:
    """Scrubs all that is in the trash, by the thousand: how many tasks and projects.

    `old`: only what is there for longer than 30 days, and what could not be restored anyway. What can be restored goes
    before what would come back with it, so that nothing comes back by half in between.
    """
    targets = [PROJECTS, TASKS, *falling.OF_TASKS.values()]
    if old:
        targets += [each for each in trash_query.tables() if each not in targets]
    scrubbed = {target.name: await _emptied(mine, target, old) for target in targets}
    return sum(scrubbed[of] for of in ROOTS)


async def empty_old(database: Database) -> None:
    """Everybody's. Under the owner's lock, so that no row is scrubbed twice or while it is restored."""
    while owners := await database.read(trash_query.owners_of_old(), {}):
        for row in owners:
            with suppress(NotSignedIn):  # the account ended meanwhile, and everything of it
                await empty(Scope(row.user_id, database), old=True)


async def _emptied(mine: Scope, target: Table, old: bool) -> int:
    async def work(changing: Changing) -> int:
        ids = [row.id for row in await changing.run(trash_query.lying(target, old), {})]
        return await _scrub(changing, target, ids)

    scrubbed = 0
    while some := await mine.change(work, at_most=1):
        scrubbed += some
    return scrubbed


async def _scrub(changing: Changing, target: Table, ids: Sequence[UUID]) -> int:
    """How many. With tasks goes all that was said of them: comments, whatever became of these, and their activity.

    A release that knew neither left comments and dependencies of what it deleted as they were.
    """
    scrubbed = len(await change_all(changing, target, ids, {}, turn="scrubbed"))
    if target is TASKS and ids:
        beside = _by_table(await changing.run(falling.beside_tasks(), {"ids": list(ids)}))
        for of, these in beside.items():
            living = [row.id for row in these if row.living]
            await change_all(changing, TABLES[of], living, {}, turn="deleted")
            if of in falling.OF_TASKS:
                await change_all(changing, TABLES[of], [row.id for row in these], {}, turn="scrubbed")
        await changing.run(activity.forget(), {"ids": list(ids)})
    return scrubbed


def _some(row_id: UUID | None) -> list[UUID]:
    return [row_id] if row_id else []


def _not_there() -> NotFound:
    return NotFound("There is no such thing in the trash.")
