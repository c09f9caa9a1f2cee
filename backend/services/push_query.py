"""What a push asks of the database: statements for the transaction that holds the counter's row."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Insert,
    LargeBinary,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    delete,
    extract,
    func,
    insert,
    literal_column,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from backend.models import SyncReceipt, table
from backend.services.pulling import CLIENTS
from backend.services.synced import ENTITIES
from backend.statements import CLOCK, COUNTER, Query, as_json, statement, text_of
from backend.wall import OWNER

RECEIPTS: Final = table(SyncReceipt)


@statement
def lock() -> Query:
    """The first, and of its own: what is read after it is not older than the lock."""
    now = cast(extract("epoch", CLOCK) * literal_column("1000000"), BigInteger).label("now")
    return select(COUNTER.c.seq, COUNTER.c.epoch, now).where(COUNTER.c.user_id == OWNER).with_for_update(key_share=True)


@statement
def known() -> Query:
    """Rows of (last_n, n, digest, result): the receipts from `in_first` to `in_last`, or one of nulls."""
    here = CLIENTS.c.user_id == COUNTER.c.user_id, CLIENTS.c.client_id == bindparam("in_client", type_=Uuid())
    theirs = (
        RECEIPTS.c.user_id == CLIENTS.c.user_id,
        RECEIPTS.c.client_id == CLIENTS.c.client_id,
        RECEIPTS.c.n.between(bindparam("in_first", type_=BigInteger()), bindparam("in_last", type_=BigInteger())),
    )
    known = COUNTER.outerjoin(CLIENTS, and_(*here)).outerjoin(RECEIPTS, and_(*theirs))
    columns = CLIENTS.c.last_n, RECEIPTS.c.n, RECEIPTS.c.digest, RECEIPTS.c.result
    return select(*columns).select_from(known).where(COUNTER.c.user_id == OWNER)


@statement
def rows() -> Query:
    """Rows of (entity, id, clocks, body): those of `ids` that live and can be changed."""
    ids = func.any(bindparam("ids", type_=ARRAY(Uuid())))
    found = []
    for name, entity in ENTITIES.items():
        row = entity.kind.table
        if "clocks" not in row.c:
            continue
        living = row.c.user_id == OWNER, row.c.deleted_at.is_(None), row.c.id == ids
        this = select(*row.c).where(*living).subquery(name)
        item = as_json(this, entity.kind.shown(this.c))
        named = literal_column(f"'{name}'", Text()).label("entity")
        found.append(select(named, this.c.id, this.c.clocks, text_of(item)).select_from(this.join(item, true())))
    return union_all(*found)  # type: ignore[return-value]


@statement
def keep(first: bool) -> Insert:
    """The receipts, and how far the device has come; those that it acknowledges go."""
    client, last_n = bindparam("in_client", type_=Uuid()), bindparam("in_last_n", type_=BigInteger())
    begun = select(OWNER.label("user_id"), client.label("client_id"), last_n.label("last_n"), CLOCK.label("at"))
    come = (
        insert(CLIENTS).from_select(["user_id", "client_id", "last_n", "last_seen_at"], begun, include_defaults=False)
        if first
        else update(CLIENTS)
        .where(CLIENTS.c.user_id == OWNER, CLIENTS.c.client_id == client)
        .values(last_n=last_n, last_seen_at=CLOCK)
    )
    heard = RECEIPTS.c.client_id == client, RECEIPTS.c.n <= bindparam("in_ack", type_=BigInteger())
    forgotten = delete(RECEIPTS).where(RECEIPTS.c.user_id == OWNER, *heard)
    arrays: dict[str, Any] = {"n": ARRAY(BigInteger()), "digest": ARRAY(LargeBinary()), "result": ARRAY(Text())}
    given = (
        func.unnest(*(bindparam(f"in_{name}", type_=kind) for name, kind in arrays.items()))
        .table_valued(*arrays, name="given")
        .render_derived()
    )
    rows = select(
        OWNER.label("user_id"), client.label("client_id"), given.c.n, given.c.digest, cast(given.c.result, JSONB)
    )
    names = ["user_id", "client_id", "n", "digest", "result"]
    kept = insert(RECEIPTS).from_select(names, rows, include_defaults=False)
    return kept.add_cte(come.cte("come"), forgotten.cte("forgotten"))
