"""Where a task may be put: into which project, and as a part of which task. Looked at inside the door."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from backend.errors import Conflict, Invalid
from backend.scope import Changing
from backend.services.task_family import below, homes
from backend.sql import Row

DEEPEST: Final = 4
"""Levels of subtasks below a task."""
PLACES: Final = frozenset({"project_id", "parent_id"})

Loc = tuple[str | int, ...]


class Home(NamedTuple):
    """A task that may have parts."""

    project_id: UUID | None
    depth: int


class _There(NamedTuple):
    projects: set[UUID]
    tasks: Mapping[UUID, Home]

    def project(self, project_id: UUID | None, loc: Loc) -> UUID | None:
        """Raises Invalid: one that is not there, somebody else's, or in the trash."""
        if project_id is not None and project_id not in self.projects:
            raise Invalid.at(*loc, "project_id", msg="there is no such project")
        return project_id

    def parent(self, parent_id: UUID, loc: Loc) -> Home:
        """Raises Invalid."""
        if parent_id not in self.tasks:
            before = ", nor one before it in this batch" if "tasks" in loc else ""
            raise Invalid.at(*loc, "parent_id", msg=f"there is no such task{before}")
        return self.tasks[parent_id]


async def settled(changing: Changing, rows: Sequence[Mapping[str, Any]], locs: Sequence[Loc]) -> list[dict[str, Any]]:
    """New tasks, each in the project where it belongs. One may be a part of one before it. Raises Invalid."""
    there = await _look(changing, rows)
    tasks = dict(there.tasks)
    done = []
    for row, loc in zip(rows, locs, strict=True):
        given, parent_id = there.project(row["project_id"], loc), row["parent_id"]
        home = Home(given, 0)
        if parent_id is not None:
            home = _part_of(_There(there.projects, tasks).parent(parent_id, loc), 0, row, loc)
        tasks[row["id"]] = home
        done.append({**row, "project_id": home.project_id})
    return done


class Moved(NamedTuple):
    sent: dict[str, Any]
    parts: list[UUID]  # of those that are moved: they go into the same project


async def moved(
    changing: Changing, ids: Sequence[UUID], sent: Mapping[str, Any], loc: Loc, rows: Sequence[Row]
) -> Moved:
    """What a change of `project_id` or `parent_id` comes to; `rows` are the tasks and their parts (`below`).

    Raises Invalid, and Conflict for a task that would be below itself.
    """
    there = await _look(changing, [sent])
    parent_id, named = sent.get("parent_id"), set(ids)
    project_id = there.project(sent.get("project_id"), loc)
    if parent_id is not None:
        home = there.parent(parent_id, loc)
        if any(row.id == parent_id for row in rows):
            raise Conflict("A task cannot be a part of itself, nor of its own parts.")
        # Each of those that are named becomes a part of the same: what is below one of them through another is not.
        height = max(_heights(rows, named), default=0)
        project_id = _part_of(home, height, sent, loc, named=True).project_id
    elif "project_id" not in sent:
        return Moved(dict(sent), [])
    elif "parent_id" not in sent:
        for row in rows:
            bound = row.level == 0 and row.parent_id is not None and row.parent_id not in named
            if bound and row.project_id != project_id:
                words = "a subtask is where its parent is; send `parent_id` null too, or move the parent"
                raise Invalid.at(*loc, "project_id", msg=words)
    parts = {row.id for row in rows if row.level and row.project_id != project_id} - named
    return Moved({**sent, "project_id": project_id}, sorted(parts))


def _heights(rows: Sequence[Row], named: set[UUID]) -> Iterator[int]:
    """How far below the nearest of those that are named each is; `rows` have each once for every root above it."""
    nearest: dict[UUID, int] = {}
    for row in rows:
        nearest[row.id] = min(row.level, nearest.get(row.id, row.level))
    yield from (level for row_id, level in nearest.items() if row_id not in named)
    yield 0


def _part_of(parent: Home, height: int, sent: Mapping[str, Any], loc: Loc, *, named: bool = False) -> Home:
    """Raises Invalid. `named`: a project of null is said, and means the inbox."""
    if parent.depth + 1 + height > DEEPEST:
        raise Invalid.at(*loc, "parent_id", msg=_too_deep(height))
    if sent.get("project_id", parent.project_id) not in ({parent.project_id} if named else {None, parent.project_id}):
        raise Invalid.at(*loc, "project_id", msg="a subtask is in its parent's project")
    return Home(parent.project_id, parent.depth + 1)


def _too_deep(height: int) -> str:
    along = f"; parts on {height} more level{'s' if height > 1 else ''} come along" if height else ""
    return f"subtasks are at most {DEEPEST} levels deep{along}"


async def _look(changing: Changing, rows: Sequence[Mapping[str, Any]]) -> _There:
    named = {name: list({row[name] for row in rows if row.get(name)}) for name in PLACES}
    if not any(named.values()):
        return _There(set(), {})
    found = await changing.run(homes(), {"projects": named["project_id"], "parents": named["parent_id"]})
    tasks = {row.id: Home(row.project_id, row.depth) for row in found if row.depth is not None}
    return _There({row.id for row in found if row.depth is None}, tasks)


async def tree(changing: Changing, ids: Sequence[UUID]) -> Sequence[Row]:
    """The tasks and all their parts."""
    return await changing.run(below(), {"ids": list(ids)})
