"""What all verbs that change rows have in common: of any user's table, through the door."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Table

from backend import door
from backend.errors import NotFound, PreconditionFailed
from backend.scope import Changing
from backend.sql import Row

GONE = frozenset({"deleted_at"})
Run = Callable[[Any, Mapping[str, Any]], Awaitable[Sequence[Row]]]
"""`Scope.write` for one statement, `Changing.run` inside a transaction."""


class Stored(NamedTuple):
    version: int
    body: str  # JSON


class Kind(NamedTuple):
    """A table as its verbs see it, in the words of its noun."""

    table: Table
    shown: Callable[[Any], Any]
    noun: str

    @property
    def missing(self) -> NotFound:
        return NotFound(f"There is no such {self.noun}.")

    @property
    def stale(self) -> PreconditionFailed:
        return PreconditionFailed(
            f"If-Match does not name the {self.noun}'s version (its ETag, with the quotes). "
            f"Read the {self.noun} again, and decide anew."
        )


async def change(
    run: Run, kind: Kind, row_id: UUID, sent: Mapping[str, Any], expected: Sequence[int] | None = None
) -> Stored:
    """One row, in one statement. Raises NotFound, and PreconditionFailed when its version is not `expected`."""
    values = {"row_id": row_id, **values_of(sent)}
    if expected is not None:
        values["expected"] = list(expected)
    rows = await run(door.change(kind.table, frozenset(sent), kind.shown, expected is not None), values)
    if not rows:
        raise kind.missing
    if rows[0].version is None:
        # It was there when the statement began, and was changed (or, with nothing expected, deleted) first.
        raise kind.missing if expected is None else kind.stale
    return Stored(rows[0].version, rows[0].body)


def as_stored(rows: Sequence[Row], kind: Kind) -> Stored:
    """Raises NotFound."""
    if not rows:
        raise kind.missing
    return Stored(rows[0].version, rows[0].body)


def unchanged(stored: Stored, kind: Kind, expected: Sequence[int] | None) -> Stored:
    """A change that names no field, of a row that was read. Raises PreconditionFailed."""
    if expected is not None and stored.version not in expected:
        raise kind.stale
    return stored


async def change_all(
    changing: Changing,
    target: Table,
    ids: Sequence[UUID],
    sent: Mapping[str, Any],
    each: Mapping[str, Sequence[Any]] | None = None,
    turn: door.Turn = "",
    first: int | None = None,
) -> Collection[UUID]:
    """All of these rows, each with a number of its own: which of them were there.

    `each` is in the order of `ids`; `first` is the first of as many numbers that were reserved before.
    """
    if not ids:
        return ()
    each = each or {}
    if first is None:
        first = await changing.reserve(len(ids))
    values = {"ids": list(ids), "before": first - 1, **values_of(sent)}
    values |= {f"each_{name}": list(given) for name, given in each.items()}
    rows = await changing.run(door.change_many(target, frozenset(sent), tuple(each), turn), values)
    return {row.id for row in rows}


def new_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """What `door.create` binds."""
    return {f"new_{name}": value for name, value in row.items()}


def values_of(sent: Mapping[str, Any]) -> dict[str, Any]:
    return {f"set_{name}": value for name, value in sent.items() if name not in GONE}
