"""The trash as a list, as SQL: what was deleted by itself, or what comes back with one of it."""

from typing import Any

from sqlalchemy import (
    CTE,
    DateTime,
    Integer,
    Select,
    Subquery,
    Table,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    tuple_,
    union_all,
)

from backend.services.falling import NONE, back, taken_inside
from backend.services.task_criteria import PROJECTS, TASKS
from backend.services.trash_query import DAYS, in_trash
from backend.services.walking import listed_rows
from backend.statements import Query, as_json, iso, statement


@statement
def listed(within: bool, after: bool) -> Query:
    """Rows of (seq, place, body), the last that was deleted first: by itself, or what comes back with `within`."""
    named = bindparam("within", type_=Uuid())
    halves = []
    for target, kind, title in ((TASKS, "task", TASKS.c.title), (PROJECTS, "project", PROJECTS.c.name)):
        said = literal_column(f"'{kind}'", Text()).label("kind")
        half = select(said, target.c.id, title.label("title"), target.c.deleted_at).where(*in_trash(target))
        if within:
            these = _with(target, named, f"{kind}_taken")
            half = half.where(target.c.id == these.c.id)
        else:
            half = half.where(target.c.deleted_with.is_(None))
        halves.append(half)
    things = union_all(*halves).subquery("things")
    wanted = select(*things.c, things.c.deleted_at.label("key"))
    if after:
        there = cast(bindparam("after_key", type_=Text()), DateTime(timezone=True)), bindparam("after_id", type_=Uuid())
        wanted = wanted.where(tuple_(things.c.deleted_at, things.c.id) < tuple_(*there))
    ordered = wanted.order_by(things.c.deleted_at.desc(), things.c.id.desc())
    found = ordered.limit(bindparam("in_limit", type_=Integer())).cte("found")
    taken = _counted(func.any(func.array(select(found.c.id).scalar_subquery())))
    number = func.coalesce(taken.c.count, NONE).label("contains")
    ends_at = iso((found.c.deleted_at + DAYS).label("ends_at"))
    item = as_json(found, [found.c.kind, found.c.id, found.c.title, iso(found.c.deleted_at), ends_at, number], taken)
    return listed_rows(found, item, found.outerjoin(taken, taken.c.root == found.c.id), falling=True)


def _counted(roots: Any) -> Subquery:
    """How many tasks and projects come back with each of these."""
    halves = [select(_with(target, roots, f"{target.name}_with").c.root) for target in (TASKS, PROJECTS)]
    each = union_all(*halves).subquery("each")
    return select(each.c.root, func.count().label("count")).group_by(each.c.root).subquery("taken")


def _with(target: Table, roots: Any, name: str) -> Subquery:
    """The tasks, or the projects, that come back with `roots`, each with the one that it comes with: (id, root)."""
    projects = back(PROJECTS, PROJECTS.c.id == roots, f"{name}_projects")
    if target is PROJECTS:
        return _below(projects).subquery(name)
    inside = select(TASKS.c.id, projects.c.root).where(*taken_inside(projects))
    return union_all(_below(back(TASKS, TASKS.c.id == roots, f"{name}_tree")), inside).subquery(name)


def _below(tree: CTE) -> Select[Any]:
    return select(tree.c.id, tree.c.root).where(tree.c.level > NONE)
