"""What is in the trash, as SQL."""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Interval,
    Table,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    tuple_,
    union,
    union_all,
)
from sqlmodel import SQLModel

from backend.services.task_criteria import PROJECTS, TASKS
from backend.services.walking import listed_rows
from backend.statements import CLOCK, Query, as_json, iso, statement
from backend.wall import OWNER

KEPT: Final = timedelta(days=30)
"""In the trash; then what a row says is scrubbed, and only its tombstone is left."""
DAYS: Final = cast(literal_column(f"'{KEPT.days} days'"), Interval())
USERS: Final[Any] = literal_column("100", Integer())
ROWS: Final[Any] = literal_column("1000", Integer())


def tables() -> list[Table]:
    """All whose tombstones are scrubbed: a new one is among them by having the column."""
    return [each for _, each in sorted(SQLModel.metadata.tables.items()) if "scrubbed_at" in each.c]


def lives(row: Any) -> tuple[ColumnElement[bool], ...]:
    """The owner's rows that are not in the trash, from the columns of a table or an alias."""
    return row.user_id == OWNER, row.deleted_at.is_(None)


def in_trash(target: Any) -> tuple[Any, ...]:
    return target.c.user_id == OWNER, target.c.deleted_at.is_not(None), target.c.scrubbed_at.is_(None)


@statement
def listed(within: bool, after: bool) -> Query:
    """Rows of (seq, place, body), the last that was deleted first: by itself, or `within` what took it along."""
    halves = []
    for target, kind, title in ((TASKS, "task", TASKS.c.title), (PROJECTS, "project", PROJECTS.c.name)):
        said = literal_column(f"'{kind}'", Text()).label("kind")
        half = select(said, target.c.id, title.label("title"), target.c.deleted_at).where(*in_trash(target))
        taken = target.c.deleted_with
        halves.append(half.where(taken == bindparam("within", type_=Uuid()) if within else taken.is_(None)))
    things = union_all(*halves).subquery("things")
    wanted = select(*things.c, things.c.deleted_at.label("key"))
    if after:
        there = cast(bindparam("after_key", type_=Text()), DateTime(timezone=True)), bindparam("after_id", type_=Uuid())
        wanted = wanted.where(tuple_(things.c.deleted_at, things.c.id) < tuple_(*there))
    ordered = wanted.order_by(things.c.deleted_at.desc(), things.c.id.desc())
    found = ordered.limit(bindparam("in_limit", type_=Integer())).subquery("found")
    taken = _taken()
    number = func.coalesce(taken.c.count, literal_column("0", Integer())).label("contains")
    ends_at = iso((found.c.deleted_at + DAYS).label("ends_at"))
    item = as_json(found, [found.c.kind, found.c.id, found.c.title, iso(found.c.deleted_at), ends_at, number], taken)
    return listed_rows(found, item, found.outerjoin(taken, taken.c.deleted_with == found.c.id), falling=True)


def _taken() -> Any:
    """How many tasks and projects each took along."""
    halves = [
        select(target.c.deleted_with).where(*in_trash(target), target.c.deleted_with.is_not(None))
        for target in (TASKS, PROJECTS)
    ]
    each = union_all(*halves).subquery("each")
    return select(each.c.deleted_with, func.count().label("count")).group_by(each.c.deleted_with).subquery("taken")


@statement
def lying(target: Table, old: bool) -> Query:
    """Up to a thousand rows of the trash: all, or those whose time is over."""
    over = [target.c.deleted_at < CLOCK - DAYS] if old else []
    return select(target.c.id).where(*in_trash(target), *over).order_by(target.c.deleted_at).limit(ROWS)


@statement
def owners_of_old() -> Query:
    """Up to a hundred users who have something in the trash whose time is over."""
    over = [
        select(each.c.user_id).where(
            each.c.deleted_at.is_not(None), each.c.scrubbed_at.is_(None), each.c.deleted_at < CLOCK - DAYS
        )
        for each in tables()
    ]
    old = union(*over).subquery("old")
    why = "the trash is emptied for everybody"
    return select(old.c.user_id).limit(USERS).execution_options(crosses_users=why)
