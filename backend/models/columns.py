"""What the tables are declared with: names of constraints, instants, and what a database needs around the tables."""

from typing import Any, Final

from sqlalchemy import DDL, BigInteger, DateTime, Table, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

SQLModel.metadata.naming_convention = {
    "ix": "%(table_name)s_%(column_0_N_name)s",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}

INTERNAL: Final[Any] = {"info": {"export": False}}
"""Of a table or a column: it is not the user's to see. Secrets, and what is made of other columns."""

LIVING = text("deleted_at IS NULL")
TRASHED = text("deleted_at IS NOT NULL AND scrubbed_at IS NULL")
"""It can still be restored."""

SCRUBBED = text("scrubbed_at IS NOT NULL")
"""Only a tombstone, until other devices will have heard."""

TRASH: Final = "trash"
"""The field group of those that can be taken out of the trash: whether they are in it."""

COLOR: Final = "color ~ '^#[0-9a-f]{6}$'"
PLACE: Final = "position ~ '^[A-Za-z][0-9A-Za-z]{1,249}$'"
"""Its bounds; `rules.order` knows the rest."""


def instant(*, now: bool = False, **column: Any) -> Any:
    """A `timestamptz`. `clock_timestamp()`, since `now()` is older than the wait for the write door."""
    if now:
        column["server_default"] = text("clock_timestamp()")
    return Field(sa_type=DateTime(timezone=True), sa_column_kwargs=column)


def scrubbed(value: Any, **info: Any) -> Any:
    """Of a column: it holds what somebody wrote, and what it holds when the row is only a tombstone."""
    return {"info": {"scrubbed": value, **info}}


def clocks() -> Any:
    """`{group: [clock, version, client]}`: when each field group of the row was last changed, and by which device.

    The groups are the table's `info={"groups": {group: fields}}`. One that is not in it was never changed. The clock
    is in microseconds since 1970, and null stands for whoever is no device (rules/merge.py).
    """
    return Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'"), **scrubbed({}, export=False)})


def created_version() -> Any:
    """The version that the row was made with, which tells what is new to whoever knows up to where it has been told.
    None of rows that are older than the column.
    """
    return Field(None, sa_type=BigInteger, nullable=True, sa_column_kwargs=INTERNAL)


def table(model: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(model.__tablename__)]


# What tables need around them, for a database made from the models. The migrations write the same
# out, and a test compares the two.


def around(target: Any, when: str, *statements: str) -> None:
    for sql in statements:
        event.listen(target, when, DDL(sql.replace("%", "%%")))  # type: ignore[no-untyped-call]
