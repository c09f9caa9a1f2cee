"""Verbs on dependencies between tasks. Every write goes through the door; nothing here commits.

What depends on what must not come round to where it began. Whether it would is decided in the transaction form, by
reading: the owner's lock keeps everybody else from closing the circle meanwhile.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement

from backend.errors import Circle, Conflict, Invalid, NotFound
from backend.rules import graph
from backend.rules.graph import Edge
from backend.schemas.lists import Walked
from backend.scope import Changing, Scope
from backend.security.opaque import new_id
from backend.services import dependency_query as query
from backend.services.changes import Kind, change_all
from backend.services.task_dependencies import DEPENDENCIES, Way
from backend.services.walking import walked
from backend.statements import Query, iso

MOST: Final = 100  # of a task, each way
MOST_ONWARD: Final = 10_000
"""Dependencies that are gone through for a circle: a tenth of a second, of which a fifth is the worker's."""


async def beside(mine: Scope, task_id: UUID, way: Way, asked: Walked) -> tuple[list[str], str | None]:
    """JSON, one a task, and a cursor to those after them. One statement. Raises NotFound and Invalid."""

    def page(after: bool) -> Query:
        return query.beside(way, after)

    return await walked(mine, page, asked, f"{task_id} {way.far}", {"in_task": task_id}, _no_task())


async def add(mine: Scope, task_id: UUID, other_id: UUID, dependency_id: UUID | None = None) -> bool:
    """Whether it is new; if it was there, whatever its id, nothing changes and no number is taken.

    Raises NotFound, Circle, and Conflict where a task has too many.
    """
    pair = {"in_task": task_id, "in_other": other_id}
    if _joined(await mine.read(query.ends(), pair), task_id, other_id):
        return False

    async def work(changing: Changing) -> bool:
        ends = await changing.run(query.ends(), pair)
        if _joined(ends, task_id, other_id):
            return False
        new = Edge(task_id, other_id)
        await _refuse_circle(changing, [*await _onward(changing, [other_id]), new], task_id)
        _refuse_many(
            max(row.dependencies + 1 for row in ends if row.id == task_id),
            max(row.dependents + 1 for row in ends if row.id == other_id),
        )
        await changing.run(query.make(), {**pair, "new_id": dependency_id or new_id(), "new_version": changing.first})
        return True

    return await mine.change(work, at_most=1)


async def remove(mine: Scope, task_id: UUID, other_id: UUID) -> None:
    """Raises NotFound when there is none, or one of the tasks is not there."""

    async def work(changing: Changing) -> None:
        found = await changing.run(query.between(), {"in_task": task_id, "in_other": other_id})
        if not found:
            raise NotFound("There is no such dependency.")
        await _drop(changing, [found[0].id])

    await mine.change(work, at_most=1)


async def transfer(mine: Scope, task_id: UUID, to: UUID) -> int:
    """How many are now those of `to`, of those that were the task's, whichever way they led.

    Those that `to` has already, and those between the two, go away. Raises NotFound for the task, Invalid for
    `to`, Circle, and Conflict where it would have too many.
    """

    async def work(changing: Changing) -> int:
        there = {row.id for row in await changing.run(query.titles(), {"ids": [task_id, to]})}
        if task_id not in there:
            raise _no_task()
        if to not in there:
            raise Invalid.at("body", "to", msg="there is no such task")
        if to == task_id:
            raise Invalid.at("body", "to", msg="expected another task than the one whose dependencies these are")
        rows = await changing.run(query.touching(), {"ids": [task_id, to]})
        done = graph.transfer([Edge(row.task_id, row.depends_on_id) for row in rows], task_id, to)
        onward = await _onward(changing, [task_id, to])
        await _refuse_circle(changing, graph.merged(onward, task_id, to), to)
        _refuse_many(sum(edge.task == to for edge in done.after), sum(edge.depends_on == to for edge in done.after))
        await _drop(changing, [rows[place].id for place in done.dropped])  # first: what is moved takes their place
        before = changing.first - 1 + len(done.dropped)
        moved = {"ids": [rows[place].id for place in done.moved], "before": before}
        await changing.run(query.move(), {**moved, "in_task": task_id, "in_other": to})
        return len(done.moved)

    return await mine.change(work, at_most=2 * MOST + 1)  # what `to` may have, and the one between the two


async def _drop(changing: Changing, ids: Sequence[UUID]) -> None:
    await change_all(changing, DEPENDENCIES, ids, {}, turn="deleted", first=changing.first)


def shown(row: Any) -> list[ColumnElement[Any]]:
    """The dependency itself, as devices that synchronise have it."""
    about = [row.id, row.task_id, row.depends_on_id, row.version]
    return [*about, iso(row.created_at), iso(row.updated_at)]


DEPENDENCY: Final = Kind(DEPENDENCIES, shown, "dependency")


def _joined(ends: Sequence[Any], task_id: UUID, other_id: UUID) -> bool:
    """Raises NotFound where one of the two tasks is missing."""
    if not {task_id, other_id} <= {row.id for row in ends}:
        raise _no_task()
    return bool(ends[0].joined)


async def _onward(changing: Changing, ids: Sequence[UUID]) -> list[Edge]:
    rows = await changing.run(query.onward(), {"ids": ids, "in_limit": MOST_ONWARD + 1})
    if len(rows) > MOST_ONWARD:
        raise Conflict(f"More than {MOST_ONWARD:,} dependencies lead on from there: too many to look for a circle.")
    return [Edge(*row) for row in rows]


async def _refuse_circle(changing: Changing, edges: Iterable[Edge], task_id: UUID) -> None:
    path = graph.circle(edges, task_id)
    if path:
        titles = {row.id: row.title for row in await changing.run(query.titles(), {"ids": path})}
        raise Circle([(str(each), titles[each]) for each in path])


def _refuse_many(dependencies: int, dependents: int) -> None:
    if dependencies > MOST:
        raise Conflict(f"A task depends on at most {MOST} others. Remove those that are not needed.")
    if dependents > MOST:
        raise Conflict(f"At most {MOST} tasks depend on one. Remove those that are not needed.")


def _no_task() -> NotFound:
    return NotFound("There is no such task.")
