"""The feed of a user's changes: what has become of every row that synchronises since a position.

A position is a version. Nobody's commit comes late below it, since all writers of a user hold the counter's row until
they commit (door.py); so a statement that sees the counter at H sees exactly the changes up to H.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Integer,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
)

from backend.errors import Invalid, OutOfStep
from backend.models import SyncClient, table
from backend.rules import cursor
from backend.scope import Scope, account_gone
from backend.services.synced import ENTITIES
from backend.sql import Row
from backend.statements import CLOCK, COUNTER, Query, as_json, iso, statement, text_of
from backend.wall import OWNER

CLIENTS: Final = table(SyncClient)
LIMIT: Final = bindparam("in_limit", type_=Integer())
NONE: Final[Any] = literal_column("0", BigInteger())


class Position(NamedTuple):
    """How far a client has come. `base` is the counter at the time when it began from nothing: tombstones up to there
    are of rows that it was never told of.
    """

    epoch: UUID
    after: int
    base: int


class Page(NamedTuple):
    changes: Sequence[str]  # JSON
    rows: Sequence[Row]
    position: Position
    has_more: bool
    reset: bool
    last_n: int
    server_time: str


async def pull(
    mine: Scope, client_id: UUID, position: Position | None, limit: int, ack: int, since: bool = False
) -> Page:
    """One statement, and so one moment. Raises OutOfStep where the server knows less than it told of before.

    What was deleted before the client began is left out. It begins again (`reset`) where the position is of another
    epoch, or past the counter, or where tombstones that it has not seen have been purged.
    """
    known = position or Position(UUID(int=0), 0, 0)
    values = {"in_client": client_id, "in_epoch": known.epoch, "in_after": known.after, "in_base": known.base}
    rows = await mine.read(_page(since), {**values, "in_limit": limit + 1})
    if not rows:
        raise account_gone()
    head = rows[0]
    if ack > head.last_n:
        raise OutOfStep("client_ahead", "ack", head.last_n)
    found = [row for row in rows if row.version is not None]
    has_more = len(found) > limit
    after = found[limit - 1].version if has_more else head.seq
    return Page(
        [
            f'{{"entity":"{row.entity}","id":"{row.id}","version":{row.version},'
            f'"deleted":{"false" if row.body else "true"},"row":{row.body or "null"}}}'
            for row in found[:limit]
        ],
        found[:limit],
        Position(head.epoch, after, head.base),
        has_more,
        head.reset,
        head.last_n,
        head.server_time,
    )


def sealed(mine: Scope, position: Position) -> str:
    place = cursor.Position(str(position.epoch), f"{position.after} {position.base}", None)
    return cursor.seal(_bound(mine), place)


def unsealed(mine: Scope, text: str) -> Position:
    """Raises Invalid for one that was damaged, or is another user's."""
    try:
        place = cursor.unseal(_bound(mine), text)
    except ValueError:
        words = "not a cursor of this user's; begin again without one"
        raise Invalid.at("body", "cursor", msg=words) from None
    after, base = place.key.split(" ")
    return Position(UUID(place.id), int(after), int(base))


def _bound(mine: Scope) -> bytes:
    return f"{mine.user_id} sync".encode()


@statement
def _page(since: bool) -> Query:
    """Rows of (seq, epoch, reset, base, last_n, server_time, entity, id, version, body), without a body for a
    tombstone; one of nulls where nothing has changed, and none without an account. With `since`, also the versions
    at which the row was created and, if it is, completed: null for what was so before anybody noted it.
    """
    head = _head()
    after = select(head.c.after).scalar_subquery()
    began = select(head.c.base).scalar_subquery()
    changed = union_all(*(_changed(name, after, began, since) for name in ENTITIES)).subquery("changed")
    page = select(*changed.c).order_by(changed.c.version).limit(LIMIT).subquery("page")
    about = [head.c.seq, head.c.epoch, head.c.reset, head.c.base, head.c.last_n, head.c.server_time]
    return select(*about, *page.c).select_from(head.outerjoin(page, true())).order_by(page.c.version)


def _head() -> Any:
    given = {name: bindparam(f"in_{name}", type_=BigInteger()) for name in ("after", "base")}
    client = and_(CLIENTS.c.user_id == COUNTER.c.user_id, CLIENTS.c.client_id == bindparam("in_client", type_=Uuid()))
    reset = or_(
        false(),
        COUNTER.c.epoch != bindparam("in_epoch", type_=Uuid()),
        given["after"] > COUNTER.c.seq,
        func.greatest(given["after"], given["base"]) < COUNTER.c.floor,
    )
    return (
        select(
            COUNTER.c.seq,
            COUNTER.c.epoch,
            reset.label("reset"),
            case((reset, NONE), else_=given["after"]).label("after"),
            case((reset, COUNTER.c.seq), else_=given["base"]).label("base"),
            func.coalesce(CLIENTS.c.last_n, NONE).label("last_n"),
            iso(CLOCK).label("server_time"),
        )
        .select_from(COUNTER.outerjoin(CLIENTS, client))
        .where(COUNTER.c.user_id == OWNER)
        .cte("head")
    )


def _changed(name: str, after: Any, began: Any, since: bool) -> Any:
    """As many of one table as the page may have, by its index, so that no page reads what comes after it."""
    kind = ENTITIES[name].kind
    row = kind.table
    news = or_(row.c.deleted_at.is_(None), row.c.version > began)
    theirs = select(*row.c).where(row.c.user_id == OWNER, row.c.version > after, news)
    this = theirs.order_by(row.c.version).limit(LIMIT).subquery(name)
    item = as_json(this, kind.shown(this.c))
    body = case((this.c.deleted_at.is_(None), text_of(item))).label("body")
    named = literal_column(f"'{name}'", Text()).label("entity")
    noted = [this.c.created_version, _completed(this).label("completed_version")] if since else []
    rows = select(named, this.c.id, this.c.version, body, *noted).select_from(this.join(item, true()))
    return rows.order_by(this.c.version)


def _completed(row: Any) -> Any:
    if "completed" not in row.c:
        return cast(null(), BigInteger())
    path = literal_column("'completed'", Text()), literal_column("'1'", Text())  # of [clock, version, client]
    noted = cast(func.jsonb_extract_path_text(row.c.clocks, *path), BigInteger())
    return case((row.c.completed, func.coalesce(noted, row.c.created_version)))
