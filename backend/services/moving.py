"""The order by hand: a row is moved right behind another, or right before it."""

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Table, Uuid, bindparam, func, literal_column, select, true, tuple_

from backend.errors import Invalid
from backend.rules import order
from backend.schemas.lists import Move
from backend.scope import Changing, Scope
from backend.services.changes import Kind, Stored, change, change_all
from backend.services.trash_query import lives
from backend.statements import Query, statement

LONG: Final = 64
"""Characters of a key. One that would be longer makes room first, in its neighbourhood."""
SHORT: Final = 16
"""The keys that the neighbourhood ends at: those that the door makes have fifteen characters."""

Place = Callable[[Any], ColumnElement[str]]
"""What a row of the table is sorted by, as an index has it."""


async def move(mine: Scope, kind: Kind, place: Place, row_id: UUID, to: Move, expected: Sequence[int] | None) -> Stored:
    """Changes the row alone, but where the keys around it have become long: these are then made anew.

    Raises NotFound for the row, PreconditionFailed when its version is not among `expected`, and Invalid for the one
    that it should stand beside.
    """
    name, anchor = ("after", to.after) if to.after else ("before", to.before)

    async def work(changing: Changing) -> Stored:
        values = {"row_id": row_id, "anchor_id": anchor}
        rows = await changing.run(_neighbours(kind.table, place, name == "after"), values)
        if not rows or anchor == row_id:
            await change(changing.run, kind, row_id, {})  # is it there itself?
            words = f"expected another {kind.noun} than the one that is moved"
            raise Invalid.at("body", name, msg=words if anchor == row_id else f"there is no such {kind.noun}")
        ends = [rows[0].here, rows[0].there]
        key = _key(*(ends if name == "after" else reversed(ends)))
        if key is None:
            key = await _make_room(changing, kind.table, place, row_id, anchor, ends, name == "after")
        return await change(changing.run, kind, row_id, {"position": key}, expected)

    return await mine.change(work, at_most=1)


def _key(before: str | None, after: str | None) -> str | None:
    """None where there is no room, or so little that the key would be long."""
    if before is not None and after is not None and before >= after:
        return None
    key = order.between(before, after)
    return key if len(key) <= LONG else None


async def _make_room(
    changing: Changing,
    target: Table,
    place: Place,
    row_id: UUID,
    anchor: UUID | None,
    ends: Sequence[str | None],
    behind: bool,
) -> str:
    """Spreads the rows around over the room between the nearest short keys; what is left free is for the row."""
    there = [key for key in ends if key is not None]
    values = {"low": min(there), "high": max(there), "row_id": row_id}
    rows = await changing.run(_neighbourhood(target, place), values)
    ids = [row.id for row in rows if row.id is not None]
    keys = order.spread(rows[0].left, rows[0].right, len(ids) + 1)
    free = keys.pop(ids.index(anchor) + (1 if behind else 0))
    await change_all(changing, target, ids, {}, {"position": keys})
    return free


@statement
def _neighbours(target: Table, place: Place, after: bool) -> Query:
    """The key of the row `anchor_id`, and of the one behind it, or before; the row `row_id` itself is passed over."""
    anchor = (
        select(place(target.c).label("place"), target.c.id)
        .where(*lives(target.c), target.c.id == bindparam("anchor_id", type_=Uuid()))
        .subquery("anchor")
    )
    next_to = target.alias("next_to")
    here, there = tuple_(anchor.c.place, anchor.c.id), tuple_(place(next_to.c), next_to.c.id)
    ordering = [place(next_to.c), next_to.c.id] if after else [place(next_to.c).desc(), next_to.c.id.desc()]
    nearest = (
        select(place(next_to.c))
        .where(*lives(next_to.c), next_to.c.id != bindparam("row_id", type_=Uuid()))
        .where(there > here if after else there < here)
        .order_by(*ordering)
        .limit(literal_column("1", Integer()))
        .correlate(anchor)
        .scalar_subquery()
    )
    return select(anchor.c.place.label("here"), nearest.label("there"))


@statement
def _neighbourhood(target: Table, place: Place) -> Query:
    """All rows, but `row_id`, between the nearest short keys before `low` and after `high`, and these."""
    key = place(target.c)
    short = func.length(key) <= literal_column(str(SHORT), Integer())
    low, high = (bindparam(name, type_=key.type) for name in ("low", "high"))
    left = select(func.max(key)).where(*lives(target.c), key < low, short).scalar_subquery()
    right = select(func.min(key)).where(*lives(target.c), key > high, short).scalar_subquery()
    ends = select(left.label("left"), right.label("right")).subquery("ends")
    row = target.alias("near")
    inside = func.coalesce(place(row.c) > ends.c.left, true()), func.coalesce(place(row.c) < ends.c.right, true())
    near = (
        select(row.c.id, place(row.c).label("place"))
        .where(*lives(row.c), row.c.id != bindparam("row_id", type_=Uuid()), *inside)
        .correlate(ends)
        .lateral("inside")
    )
    return (
        select(ends.c.left, ends.c.right, near.c.id)
        .select_from(ends.outerjoin(near, true()))
        .order_by(near.c.place, near.c.id)
    )
