"""What the trash is, and what of it is scrubbed, as SQL."""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    Interval,
    Table,
    cast,
    literal_column,
    select,
    union,
)
from sqlmodel import SQLModel

from backend.statements import CLOCK, Query, statement
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
