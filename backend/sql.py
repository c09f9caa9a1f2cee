"""A statement as the driver gets it: read by the wall, compiled once, bound to new values each time.

SQLAlchemy builds the statements and psycopg sends them. What SQLAlchemy does between the two at every
execution (a key for its cache, a context, a result) costs more than all the rest of a read: 540 against
240 µs of a worker's time for a page of 20.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.elements import ClauseElement

from backend import wall

# Numbered: psycopg need not look for placeholders, and a value that is used twice is sent once.
DIALECT: Final[Any] = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]

Row = Any
"""A tuple of the statement's columns, which have their names."""


class Sql(NamedTuple):
    text: bytes
    names: Sequence[str]  # of the values, in the order of $1, $2, …
    constants: Mapping[str, Any]  # values that stand in the statement itself
    processors: Mapping[str, Callable[[Any], Any]]
    row: Callable[[Any], Row] | None  # None where nothing comes back

    def bound(self, values: Mapping[str, Any]) -> list[Any]:
        """Raises KeyError for a value that was forgotten."""
        given = {**self.constants, **values} if self.constants else values
        process = self.processors
        return [process[name](given[name]) if name in process else given[name] for name in self.names]


_known: WeakKeyDictionary[ClauseElement, Sql] = WeakKeyDictionary()


def sql_of(statement: ClauseElement) -> Sql:
    """Raises WallBreached: nothing that the wall has not read is ever text."""
    known = _known.get(statement)
    if known is None:
        known = _known[statement] = _compiled(wall.checked(statement))
    return known


def _compiled(statement: ClauseElement) -> Sql:
    compiled: Any = statement.compile(dialect=DIALECT)
    if compiled.post_compile_params or compiled.literal_execute_params:
        raise ValueError(f"IN (…) has a text of its own for each number of values; use = ANY: {compiled}")
    constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
    columns = [column.keyname for column in compiled._result_columns]
    # As namedtuple would make it, but for its constructor, which takes half of the time of reading a page.
    named = {name: property(itemgetter(place)) for place, name in enumerate(columns)}
    row = type("Row", (tuple,), {"__slots__": (), **named}) if columns else None
    return Sql(str(compiled).encode(), tuple(compiled.positiontup), constants, compiled._bind_processors, row)
