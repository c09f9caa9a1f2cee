"""What statements are made of: built once per shape and read by the wall, with rows that leave Postgres as JSON."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar, cast

from sqlalchemy import (
    ColumnElement,
    Delete,
    FromClause,
    Insert,
    Integer,
    Interval,
    Select,
    Text,
    Update,
    func,
    literal_column,
    select,
)
from sqlalchemy import cast as cast_to
from sqlalchemy.sql.selectable import LateralFromClause

from backend.models import SyncState, table
from backend.wall import checked

Query = Select[*tuple[Any, ...]]
SHAPES = 512  # statements kept: a client could ask for a million shapes
P = ParamSpec("P")
Built = TypeVar("Built", bound=Query | Update | Insert | Delete)

COUNTER = table(SyncState)
ISO = literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'""", Text())
CLOCK = func.clock_timestamp()  # now() is older than the wait for a lock
SECOND = cast_to(literal_column("'1 second'"), Interval())


def statement(build: Callable[P, Built]) -> Callable[P, Built]:
    """A function that builds a statement: once per shape, and read by the wall when it is built.

    Building costs as much as running; afterwards the same object is bound to new values.
    """

    def built(*args: P.args, **kwargs: P.kwargs) -> Built:
        return checked(build(*args, **kwargs))

    return cast(Callable[P, Built], lru_cache(SHAPES)(built))


def as_json(source: FromClause, columns: Iterable[ColumnElement[Any]], *beside: FromClause) -> Any:
    """A lateral row of these columns of `source`, or of what is joined to it; `text_of` gives it as JSON text."""
    return select(*columns).correlate(source, *beside).lateral("item")


def text_of(item: Any) -> ColumnElement[str]:
    return func.row_to_json(item.table_valued()).cast(Text()).label("body")


def one_by_one(query: Query, of: FromClause) -> LateralFromClause:
    """`query` for each row of `of`, by its index: with an OFFSET it cannot become a join, for which Postgres would
    read all that the user has, where it takes them for a user of average size.
    """
    return query.correlate(of).offset(literal_column("0", Integer())).lateral()


def iso(moment: Any) -> ColumnElement[str]:
    """UTC with six decimals, whatever zone the connection is in."""
    return func.to_char(func.timezone(literal_column("'UTC'"), moment), ISO).label(moment.key)
