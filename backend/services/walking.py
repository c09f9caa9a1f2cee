"""Lists that are walked by cursor, in one order each: what all of them have in common."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Text, cast, literal_column, select, true

from backend.errors import Invalid, NotFound
from backend.rules import cursor
from backend.schemas.lists import Walked
from backend.scope import Scope
from backend.statements import COUNTER, Query, text_of
from backend.wall import OWNER


async def walked(
    mine: Scope,
    page: Callable[[bool], Query],
    asked: Walked,
    name: str,
    values: Mapping[str, Any],
    missing: NotFound | None = None,
) -> tuple[list[str], str | None]:
    """JSON, one a row, and a cursor to those after them. One statement: `page`, made for whether it goes on.

    `name` says of which list the cursor is, with all that its order and its rows depend on. Raises Invalid for
    one of another list, and `missing` without a row: such a list has one of nulls when nothing is on it.
    """
    bound = f"{mine.user_id} {name}".encode()
    bounds = {**values, "in_limit": asked.limit + 1}  # the one more tells whether there are others
    if asked.cursor:
        after = position(bound, asked.cursor)
        bounds |= {"after_key": after.key, "after_id": after.id}
    rows = await mine.read(page(asked.cursor is not None), bounds)
    if missing and not rows:
        raise missing
    found = [row for row in rows if row.place is not None]
    following = None
    if len(found) > asked.limit:
        row_id, _, key = str(found[asked.limit - 1].place).partition(" ")
        following = cursor.seal(bound, cursor.Position(row_id, key, None))
    return [row.body for row in found[: asked.limit]], following


def position(bound: bytes, text: str) -> cursor.Position:
    """Raises Invalid."""
    try:
        return cursor.unseal(bound, text)
    except ValueError as error:
        raise Invalid.at("query", "cursor", msg=str(error)) from None


def listed_rows(found: Any, item: Any, source: Any, *, falling: bool = False) -> Query:
    """What `walked` reads: (seq, place, body) of each row of `found` in the order of its `key` and `id`."""
    place = (cast(found.c.id, Text()) + literal_column("' '", Text()) + cast(found.c.key, Text())).label("place")
    seq = select(COUNTER.c.seq).where(COUNTER.c.user_id == OWNER).scalar_subquery().label("seq")
    rows = select(seq, place, text_of(item)).select_from(source.join(item, true()))
    keys = found.c.key, found.c.id
    return rows.order_by(*(key.desc() for key in keys) if falling else keys)
