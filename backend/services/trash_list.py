"""The trash as a list, as SQL: what was deleted by itself, or what comes back with one of it."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Select,
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

SAID: Final = (("title", "deleted_at"), ("name", "deleted_at"))
"""Of a task, and of a project."""


@statement
def listed(within: bool, after: bool) -> Query:
    """Rows of (seq, place, body), the last that was deleted first: by itself, or what comes back with `within`."""
    things = union_all(*(_within() if within else _alone())).subquery("things")
    wanted = select(*things.c, things.c.deleted_at.label("key"))
    if after:
        there = cast(bindparam("after_key", type_=Text()), DateTime(timezone=True)), bindparam("after_id", type_=Uuid())
        wanted = wanted.where(tuple_(things.c.deleted_at, things.c.id) < tuple_(*there))
    ordered = wanted.order_by(things.c.deleted_at.desc(), things.c.id.desc())
    found = ordered.limit(bindparam("in_limit", type_=Integer())).cte("found")
    taken = func.jsonb_object_field_text(_counted(found), _named(found.c.kind, found.c.id))
    number = func.coalesce(cast(taken, Integer()), NONE).label("contains")
    ends_at = iso((found.c.deleted_at + DAYS).label("ends_at"))
    item = as_json(found, [found.c.kind, found.c.id, found.c.title, iso(found.c.deleted_at), ends_at, number])
    return listed_rows(found, item, found, falling=True)


def _thing(kind: str, row: Any, title: Any) -> Select[Any]:
    return select(_word(kind).label("kind"), row.id, title.label("title"), row.deleted_at)


def _word(kind: str) -> Any:
    return literal_column(f"'{kind}'", Text())


def _named(kind: Any, row_id: Any) -> Any:
    """A task and a project may have one id: clients choose them."""
    return kind + literal_column("' '", Text()) + cast(row_id, Text())


def _alone() -> list[Select[Any]]:
    """What was deleted by itself."""
    halves = (TASKS, _thing("task", TASKS.c, TASKS.c.title)), (PROJECTS, _thing("project", PROJECTS.c, PROJECTS.c.name))
    return [half.where(*in_trash(target), target.c.deleted_with.is_(None)) for target, half in halves]


def _within() -> list[Select[Any]]:
    given = select(bindparam("within", type_=Uuid()).label("id")).subquery("given")
    parts, inside, inner = _with("within", given, given, *SAID)
    tasks, projects = union_all(parts, inside).subquery("tasks_within"), inner.subquery("projects_within")
    return [_thing("task", tasks.c, tasks.c.title), _thing("project", projects.c, projects.c.name)]


def _counted(found: CTE) -> ColumnElement[Any]:
    """An object: how many tasks and projects come back with each of these that others come back with.

    A value is made once; a table to join, once for each of them.
    """
    tasks = select(found.c.id).where(found.c.kind == _word("task")).subquery("listed_tasks")
    projects = select(found.c.id).where(found.c.kind == _word("project")).subquery("listed_projects")
    each = zip(("task", "project", "project"), _with("counted", tasks, projects), strict=True)
    named = [
        select(_named(_word(kind), these.c.root).label("root"))
        for kind, these in ((kind, rows.subquery(f"counted_{n}")) for n, (kind, rows) in enumerate(each))
    ]
    come = union_all(*named).subquery("come")
    counts = select(come.c.root, func.count().label("count")).group_by(come.c.root).subquery("counts")
    return select(func.jsonb_object_agg(counts.c.root, counts.c["count"])).scalar_subquery()


def _with(
    name: str, tasks: FromClause, projects: FromClause, of_task: Sequence[str] = (), of_project: Sequence[str] = ()
) -> tuple[Select[Any], Select[Any], Select[Any]]:
    """What comes back with these, each as (id, root, …), where `root` is the one that it comes with: parts of the
    tasks, tasks in the projects, projects in the projects."""
    parts = back(TASKS, tasks, f"{name}_tasks", *of_task)
    inner = back(PROJECTS, projects, f"{name}_projects", *of_project)
    inside = taken_inside(inner, "id", *of_task)
    in_them = select(inside.c.id, inner.c.root, *(inside.c[each] for each in of_task))
    return _below(parts, of_task), in_them.select_from(inner.join(inside, true())), _below(inner, of_project)


def _below(tree: CTE, carried: Iterable[str]) -> Select[Any]:
    return select(tree.c.id, tree.c.root, *(tree.c[each] for each in carried)).where(tree.c.level > NONE)
