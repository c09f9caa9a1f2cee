"""The trash as a list, as SQL: what was deleted by itself, or what comes back with one of it."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    FromClause,
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
    true,
    tuple_,
    union_all,
)

from backend.services.falling import NONE, back, taken_inside
from backend.services.task_criteria import PROJECTS, TASKS
from backend.services.trash_query import DAYS, in_trash
from backend.services.walking import listed_rows
from backend.statements import Query, as_json, iso, statement

HALVES: Final = ((TASKS, "task", "title"), (PROJECTS, "project", "name"))


@statement
def listed(within: bool, after: bool) -> Query:
    """Rows of (seq, place, body), the last that was deleted first: by itself, or what comes back with `within`."""
    halves = [_within(*each) if within else _alone(*each) for each in HALVES]
    things = union_all(*halves).subquery("things")
    wanted = select(*things.c, things.c.deleted_at.label("key"))
    if after:
        there = cast(bindparam("after_key", type_=Text()), DateTime(timezone=True)), bindparam("after_id", type_=Uuid())
        wanted = wanted.where(tuple_(things.c.deleted_at, things.c.id) < tuple_(*there))
    ordered = wanted.order_by(things.c.deleted_at.desc(), things.c.id.desc())
    found = ordered.limit(bindparam("in_limit", type_=Integer())).cte("found")
    taken = func.jsonb_object_field_text(_counted(found), cast(found.c.id, Text()))
    number = func.coalesce(cast(taken, Integer()), NONE).label("contains")
    ends_at = iso((found.c.deleted_at + DAYS).label("ends_at"))
    item = as_json(found, [found.c.kind, found.c.id, found.c.title, iso(found.c.deleted_at), ends_at, number])
    return listed_rows(found, item, found, falling=True)


def _alone(target: Table, kind: str, title: str) -> Select[Any]:
    """What was deleted by itself."""
    said = literal_column(f"'{kind}'", Text()).label("kind"), target.c.id, target.c[title].label("title")
    return select(*said, target.c.deleted_at).where(*in_trash(target), target.c.deleted_with.is_(None))


def _within(target: Table, kind: str, title: str) -> Select[Any]:
    given = select(bindparam("within", type_=Uuid()).label("id")).subquery("given")
    these = _with(target, given, kind, title, "deleted_at")
    return select(
        literal_column(f"'{kind}'", Text()).label("kind"), these.c.id, these.c[title].label("title"), these.c.deleted_at
    )


def _counted(roots: FromClause) -> ColumnElement[Any]:
    """An object: how many tasks and projects come back with each of these that others come back with.

    A value is made once; a table to join, once for each of them.
    """
    halves = [select(_with(target, roots, f"{kind}s_of").c.root) for target, kind, _ in HALVES]
    each = union_all(*halves).subquery("each")
    taken = select(each.c.root, func.count().label("count")).group_by(each.c.root).subquery("taken")
    return select(func.jsonb_object_agg(taken.c.root, taken.c.count)).scalar_subquery()


def _with(target: Table, roots: FromClause, name: str, *carried: str) -> Subquery:
    """The tasks, or the projects, that come back with `roots`, each with the one that it comes with: (id, root, …)."""
    if target is PROJECTS:
        return _below(back(PROJECTS, roots, f"{name}_tree", *carried), carried).subquery(name)
    projects = back(PROJECTS, roots, f"{name}_projects")
    tasks = taken_inside(projects, "id", *carried)
    these = select(tasks.c.id, projects.c.root, *(tasks.c[each] for each in carried))
    inside = these.select_from(projects.join(tasks, true()))
    tree = back(TASKS, roots, f"{name}_tree", *carried)
    return union_all(_below(tree, carried), inside).subquery(name)


def _below(tree: CTE, carried: Iterable[str]) -> Select[Any]:
    return select(tree.c.id, tree.c.root, *(tree.c[each] for each in carried)).where(tree.c.level > NONE)
