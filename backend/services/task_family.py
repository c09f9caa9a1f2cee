"""Tasks and their parts, as SQL: each tree is read by one statement."""

from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    select,
    true,
    union,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from backend.services.task_criteria import PROJECTS, TASKS, by_id, living, place
from backend.services.task_wire import columns, shown
from backend.statements import COUNTER, Query, as_json, statement, text_of
from backend.wall import OWNER

ONE: Final[Any] = literal_column("1", Integer())
NONE: Final[Any] = literal_column("0", Integer())
MOST_INCLUDED: Final = 1_000
"""Tasks that `include` adds to a page; an answer that would have more says so."""


def _these(name: str) -> ColumnElement[Any]:
    return func.any(bindparam(name, type_=ARRAY(Uuid())))


def _parts_of(parent: Any, part: Any) -> tuple[ColumnElement[bool], ...]:
    return part.c.user_id == OWNER, part.c.parent_id == parent.c.id, part.c.deleted_at.is_(None)


@statement
def below() -> Query:
    """The tasks `ids` (level 0) and all that are parts of them, each with the `root` from which it was come upon."""
    about = ("id", "version", "parent_id", "project_id", "completed")
    roots = select(TASKS.c.id.label("root"), *(TASKS.c[name] for name in about), NONE.label("level"))
    tree = roots.where(*by_id(), TASKS.c.id == _these("ids")).cte("tree", recursive=True)
    part = TASKS.alias("part")
    parts = select(tree.c.root, *(part.c[name] for name in about), tree.c.level + ONE)
    tree = tree.union_all(parts.where(*_parts_of(tree, part)))
    return select(*tree.c).order_by(tree.c.level, tree.c.id)


@statement
def homes() -> Query:
    """Which of the tasks `parents` and the projects `projects` are there: in which project, and a task how deep."""
    up = (
        select(TASKS.c.id, TASKS.c.project_id, TASKS.c.parent_id, NONE.label("depth"))
        .where(*by_id(), TASKS.c.id == _these("parents"))
        .cte("up", recursive=True)
    )
    above = TASKS.alias("above")
    higher = select(up.c.id, up.c.project_id, above.c.parent_id, up.c.depth + ONE)
    up = up.union_all(higher.where(above.c.user_id == OWNER, above.c.id == up.c.parent_id))
    tasks = select(up.c.id, up.c.project_id, func.max(up.c.depth).label("depth")).group_by(up.c.id, up.c.project_id)
    projects = select(PROJECTS.c.id, PROJECTS.c.id.label("project_id"), cast(null(), Integer()).label("depth"))
    there = PROJECTS.c.user_id == OWNER, PROJECTS.c.deleted_at.is_(None), PROJECTS.c.id == _these("projects")
    return union_all(tasks, projects.where(*there))  # type: ignore[return-value]


@statement
def subtasks(after: bool) -> Query:
    """One row at least, if the task `row_id` is there: (seq, total, place, body) of its parts, each before its own."""
    root = select(TASKS.c.id).where(*living(), TASKS.c.id == bindparam("row_id", type_=Uuid())).cte("root")
    key = place(TASKS.c) + literal_column("' '", Text()) + cast(TASKS.c.id, Text())
    first = select(TASKS.c.id, key.label("path"), ONE.label("depth")).where(*_parts_of(root, TASKS))
    tree = first.cte("tree", recursive=True)
    part = TASKS.alias("part")
    path = (
        tree.c.path
        + literal_column("'/'", Text())
        + place(part.c)
        + literal_column("' '", Text())
        + cast(part.c.id, Text())
    )
    tree = tree.union_all(select(part.c.id, path, tree.c.depth + ONE).where(*_parts_of(tree, part)))
    wanted = select(*tree.c)
    if after:
        wanted = wanted.where(tree.c.path > bindparam("after_key", type_=tree.c.path.type))
    found = wanted.order_by(tree.c.path).limit(bindparam("in_limit", type_=Integer())).subquery("found")
    page = select(*columns(), found.c.depth, found.c.path).where(*living(), TASKS.c.id == found.c.id).subquery("page")
    item = as_json(page, [*shown(page.c), page.c.depth])
    total = select(func.count()).select_from(tree).scalar_subquery()
    return (
        select(COUNTER.c.seq, total.label("total"), page.c.id, page.c.path, text_of(item))
        .select_from(COUNTER.join(root, true()).outerjoin(page, true()).outerjoin(item, true()))
        .where(COUNTER.c.user_id == OWNER)
        .order_by(page.c.path)
    )


def relatives(kinds: tuple[str, ...], page: CTE) -> Query:
    """The ids of the tasks that those of `page` (id, parent_id) are parts of, or of their parts, or of both."""
    made = {"parents": _above, "subtasks": _below}
    return union(*(made[kind](page) for kind in kinds))  # type: ignore[return-value]


def _above(page: CTE) -> Any:
    task = TASKS.alias("parent")
    first = select(task.c.id, task.c.parent_id).where(task.c.user_id == OWNER, task.c.id == page.c.parent_id)
    up = first.cte("up", recursive=True)
    above = TASKS.alias("above")
    more = select(above.c.id, above.c.parent_id).where(above.c.user_id == OWNER, above.c.id == up.c.parent_id)
    up = up.union(more)
    return select(up.c.id)


def _below(page: CTE) -> Any:
    task = TASKS.alias("part")
    tree = select(task.c.id).where(*_parts_of(page, task)).cte("down", recursive=True)
    below = TASKS.alias("below")
    tree = tree.union(select(below.c.id).where(*_parts_of(tree, below)))
    return select(tree.c.id)
