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

from backend.services.task_criteria import PROJECTS, TASKS, by_id, by_key, living, place
from backend.services.task_wire import columns, shown
from backend.statements import COUNTER, Query, as_json, one_by_one, statement, text_of
from backend.wall import OWNER

ONE: Final[Any] = literal_column("1", Integer())
NONE: Final[Any] = literal_column("0", Integer())
MOST_INCLUDED: Final = 1_000
"""Tasks that `include` adds to a page; an answer that would have more says so."""


def _these(name: str) -> ColumnElement[Any]:
    return func.any(bindparam(name, type_=ARRAY(Uuid())))


def _parts_of(parent: Any, part: Any) -> tuple[ColumnElement[bool], ...]:
    return *by_key(part.c.user_id == OWNER, part.c.deleted_at.is_(None)), part.c.parent_id == parent.c.id


@statement
def below() -> Query:
    """The tasks `ids` (level 0) and all that are parts of them, each with the `root` from which it was come upon."""
    about = ("id", "version", "parent_id", "project_id", "completed")
    roots = select(TASKS.c.id.label("root"), *(TASKS.c[name] for name in about), NONE.label("level"))
    tree = roots.where(*by_id(), TASKS.c.id == _these("ids")).cte("tree", recursive=True)
    part = TASKS.alias("part")
    found = one_by_one(select(*(part.c[name] for name in about)).where(*_parts_of(tree, part)), tree)
    parts = select(tree.c.root, *found.c, tree.c.level + ONE).select_from(tree.join(found, true()))
    tree = tree.union_all(parts)
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
    step = place(part.c) + literal_column("' '", Text()) + cast(part.c.id, Text())
    more = one_by_one(select(part.c.id, step.label("step")).where(*_parts_of(tree, part)), tree)
    path = tree.c.path + literal_column("'/'", Text()) + more.c.step
    tree = tree.union_all(select(more.c.id, path, tree.c.depth + ONE).select_from(tree.join(more, true())))
    wanted = select(*tree.c)
    if after:
        wanted = wanted.where(tree.c.path > bindparam("after_key", type_=tree.c.path.type))
    found = wanted.order_by(tree.c.path).limit(bindparam("in_limit", type_=Integer())).subquery("found")
    task = one_by_one(select(*columns()).where(*by_id(), TASKS.c.id == found.c.id), found)
    page = select(*task.c, found.c.depth, found.c.path).select_from(found.join(task, true())).subquery("page")
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
    part = one_by_one(select(task.c.id).where(*_parts_of(page, task)), page)
    tree = select(part.c.id).select_from(page.join(part, true())).cte("down", recursive=True)
    below = TASKS.alias("below")
    more = one_by_one(select(below.c.id).where(*_parts_of(tree, below)), tree)
    tree = tree.union(select(more.c.id).select_from(tree.join(more, true())))
    return select(tree.c.id)
