"""Verbs on projects. Every write goes through the door; nothing here commits."""

from collections.abc import Sequence
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Uuid, bindparam, func, literal_column, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY

from backend import door
from backend.errors import Conflict, Invalid
from backend.models.projects import DEEPEST
from backend.rules.text import sort_key
from backend.schemas.projects import ProjectCreate, ProjectList, ProjectPatch
from backend.scope import Changing, Scope
from backend.security.opaque import new_id
from backend.services.changes import Kind, Stored, as_stored, change, change_all, new_values, unchanged
from backend.services.task_criteria import PROJECTS, TASKS, by_key
from backend.services.walking import listed_rows, walked
from backend.sql import Row
from backend.statements import Query, as_json, iso, one_by_one, statement, text_of
from backend.wall import OWNER

GIVEN = (
    *("id", "name", "name_key", "description", "color", "favorite", "archived"),
    *("parent_id", "parent_depth", "depth", "position"),
)
ONE: Final[Any] = literal_column("1", Integer())


def shown(row: Any) -> list[ColumnElement[Any]]:
    """The project on the wire, from any row that has its columns."""
    about = [row.id, row.name, row.description, row.color, row.favorite, row.archived]
    return [*about, row.parent_id, row.depth, row.position, row.version, iso(row.created_at), iso(row.updated_at)]


def place(row: Any) -> ColumnElement[str]:
    column: ColumnElement[str] = row.position
    return column


PROJECT: Final = Kind(PROJECTS, shown, "project")


async def create(mine: Scope, wanted: ProjectCreate) -> tuple[UUID, Stored]:
    """One statement, or a transaction where it is in another. A taken id or name is the database's to refuse.

    Raises Invalid for a parent that is not there, or already as deep as a project can be.
    """
    row = {**_derived(wanted.model_dump()), "id": wanted.id or new_id(), "parent_depth": None, "depth": 0}
    make, parent_id = door.create(PROJECTS, GIVEN, shown), wanted.parent_id
    if parent_id is None:
        return row["id"], as_stored(await mine.write(make, new_values(row)), PROJECT)

    async def work(changing: Changing) -> Sequence[Row]:
        depth = await _depth_below(changing, parent_id)
        return await changing.run(make, new_values({**row, "parent_depth": depth - 1, "depth": depth}))

    return row["id"], as_stored(await mine.change(work, at_most=1), PROJECT)


async def listed(mine: Scope, asked: ProjectList) -> tuple[list[str], str | None]:
    """JSON, one a project with its count of open tasks, and a cursor to those after them. One statement."""
    only = {name: value for name in ("archived", "favorite") if (value := getattr(asked, name)) is not None}
    values = {f"in_{name}": value for name, value in only.items()}

    def page(after: bool) -> Query:
        return _page(asked.sort, tuple(only), after)

    return await walked(mine, page, asked, f"projects {asked.sort} {only}", values)


async def read(mine: Scope, project_id: UUID) -> Stored:
    return as_stored(await mine.read(_one(), {"row_id": project_id}), PROJECT)


async def edit(mine: Scope, project_id: UUID, patch: ProjectPatch, expected: Sequence[int] | None) -> Stored:
    """One statement, or a transaction where it is put into another: those in it go with it.

    Raises NotFound, PreconditionFailed, Invalid as `create`, and Conflict for one that would be in itself.
    """
    sent = _derived(patch.sent())
    if not sent:
        return unchanged(await read(mine, project_id), PROJECT, expected)
    if "parent_id" not in sent:
        return await change(mine.write, PROJECT, project_id, sent, expected)

    async def work(changing: Changing) -> Stored:
        rows = await changing.run(nested(), {"ids": [project_id]})
        if not rows:
            raise PROJECT.missing
        if expected is not None and rows[0].version not in expected:
            raise PROJECT.stale
        await put(changing, rows, sent["parent_id"])
        others = {name: value for name, value in sent.items() if name != "parent_id"}
        return await change(changing.run, PROJECT, project_id, others)

    return await mine.change(work, at_most=1)


async def put(changing: Changing, rows: Sequence[Row], parent_id: UUID | None) -> None:
    """A project and those in it (`nested`) into another, or into none. Raises Invalid, and Conflict for a circle.

    By one statement: between two, a row would refer to a depth that its parent has no more.
    """
    if any(row.id == parent_id for row in rows):
        raise Conflict("A project cannot be in itself, nor in one that is in it.")
    depth = await _depth_below(changing, parent_id, max(row.level for row in rows)) if parent_id else 0
    parents = [parent_id if row.level == 0 else row.parent_id for row in rows]
    depths = [depth + row.level for row in rows]
    above = [each - 1 if each else None for each in depths]
    each = {"parent_id": parents, "parent_depth": above, "depth": depths}
    await change_all(changing, PROJECTS, [row.id for row in rows], {}, each)


def _too_deep(height: int) -> str:
    along = f"; projects on {height} more level{'s' if height > 1 else ''} come along" if height else ""
    return f"a project is in at most {DEEPEST} others, one inside the other{along}"


async def _depth_below(changing: Changing, parent_id: UUID, height: int = 0) -> int:
    """Raises Invalid."""
    rows = await changing.run(nested(), {"ids": [parent_id]})
    if not rows:
        raise Invalid.at("body", "parent_id", msg="there is no such project")
    depth: int = rows[0].depth + 1
    if depth + height > DEEPEST:
        raise Invalid.at("body", "parent_id", msg=_too_deep(height))
    return depth


def _derived(given: dict[str, Any]) -> dict[str, Any]:
    """With the column that nobody sends."""
    return {**given, "name_key": sort_key(given["name"])} if "name" in given else given


def _living() -> list[ColumnElement[bool]]:
    return [PROJECTS.c.user_id == OWNER, PROJECTS.c.deleted_at.is_(None)]


@statement
def _one() -> Query:
    this = select(*PROJECTS.c).where(*_living(), PROJECTS.c.id == bindparam("row_id", type_=Uuid())).subquery("this")
    item = as_json(this, shown(this.c))
    return select(this.c.version, text_of(item)).select_from(this.join(item, true()))


@statement
def taken() -> Query:
    """The names of the projects `ids`, which are in the trash, that others have meanwhile."""
    others = PROJECTS.alias("others")
    same = others.c.user_id == OWNER, others.c.name == PROJECTS.c.name, others.c.deleted_at.is_(None)
    these = PROJECTS.c.user_id == OWNER, PROJECTS.c.id == func.any(bindparam("ids", type_=ARRAY(Uuid())))
    return select(PROJECTS.c.name).where(*these, *same).order_by(PROJECTS.c.name)


@statement
def nested() -> Query:
    """The projects `ids` (level 0) and all that are in them."""
    about = ("id", "version", "parent_id", "depth")
    these = PROJECTS.c.id == func.any(bindparam("ids", type_=ARRAY(Uuid())))
    tree = select(*(PROJECTS.c[name] for name in about), (ONE - ONE).label("level")).where(*_living(), these)
    found = tree.cte("tree", recursive=True)
    inner = PROJECTS.alias("inner_project")
    theirs = *by_key(inner.c.user_id == OWNER, inner.c.deleted_at.is_(None)), inner.c.parent_id == found.c.id
    inside = one_by_one(select(*(inner.c[name] for name in about)).where(*theirs), found)
    found = found.union_all(select(*inside.c, found.c.level + ONE).select_from(found.join(inside, true())))
    return select(*found.c).order_by(found.c.level, found.c.id)


def _open_tasks() -> Any:
    """Of each project, from an index alone (tasks_project)."""
    in_project = TASKS.c.user_id == OWNER, TASKS.c.project_id.is_not(None), TASKS.c.deleted_at.is_(None)
    counted = select(TASKS.c.project_id, func.count().label("open_tasks"))
    return counted.where(*in_project, TASKS.c.completed.is_(False)).group_by(TASKS.c.project_id).subquery("open_tasks")


@statement
def _page(sort: Literal["position", "name"], only: tuple[str, ...], after: bool) -> Query:
    """Rows of (seq, place, body): from the first or after the cursor's place."""
    key = PROJECTS.c.name_key if sort == "name" else PROJECTS.c.position
    wanted = select(*PROJECTS.c, key.label("key")).where(*_living())
    for name in only:
        wanted = wanted.where(PROJECTS.c[name] == bindparam(f"in_{name}", type_=PROJECTS.c[name].type))
    if after:
        there = bindparam("after_key", type_=key.type), bindparam("after_id", type_=Uuid())
        wanted = wanted.where(tuple_(key, PROJECTS.c.id) > tuple_(*there))
    found = wanted.order_by(key, PROJECTS.c.id).limit(bindparam("in_limit", type_=Integer())).subquery("found")
    counts = _open_tasks()
    number = func.coalesce(counts.c.open_tasks, ONE - ONE).label("open_tasks")
    item = as_json(found, [*shown(found.c), number], counts)
    return listed_rows(found, item, found.outerjoin(counts, counts.c.project_id == found.c.id))
