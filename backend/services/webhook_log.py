"""What was delivered to a webhook, and what waits: to be looked at, and sent again."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Interval,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    true,
    tuple_,
    update,
)

from backend.db import Database
from backend.errors import Conflict, NotFound
from backend.rules.webhooks import TEST
from backend.schemas.lists import Walked
from backend.scope import Scope
from backend.security.opaque import new_id
from backend.services.walking import listed_rows, walked
from backend.services.webhooks import ANEW, DELIVERIES, HOOKS, missing, of_this, this
from backend.statements import CLOCK, Query, as_json, iso, statement, text_of
from backend.wall import OWNER

KEPT: Final = cast(literal_column("'7 days'"), Interval())
MOST_WAITING: Final = 100
BATCH: Final[Any] = literal_column("5000", Integer())


async def newest(mine: Scope, hook_id: UUID, asked: Walked) -> tuple[list[str], str | None]:
    """JSON, one a delivery, and a cursor to those before. Raises NotFound, and Invalid for the cursor."""
    values = {"in_webhook": hook_id}
    return await walked(mine, _newest, asked, f"deliveries of {hook_id}", values, missing())


async def read(mine: Scope, hook_id: UUID, delivery_id: UUID) -> str:
    """JSON, with what is sent. Raises NotFound."""
    rows = await mine.read(_one(), {"in_webhook": hook_id, "in_delivery": delivery_id})
    if not rows:
        raise _gone()
    return str(rows[0].body)


async def again(mine: Scope, hook_id: UUID, delivery_id: UUID) -> str:
    """Puts it in front of what waits; JSON. Raises NotFound."""
    rows = await mine.write(_again(), {"in_webhook": hook_id, "in_delivery": delivery_id})
    if not rows:
        raise _gone()
    return str(rows[0].body)


async def remove(mine: Scope, hook_id: UUID, delivery_id: UUID) -> None:
    """From the log, or from what waits: it is not sent. Raises NotFound."""
    if not await mine.write(_remove(), {"in_webhook": hook_id, "in_delivery": delivery_id}):
        raise _gone()


async def test(mine: Scope, hook_id: UUID) -> str:
    """Puts a message behind what waits; JSON. Raises NotFound, and Conflict while too much waits."""
    rows = await mine.write(_test(), {"in_webhook": hook_id, "new_id": new_id()})
    if not rows:
        raise missing()
    if rows[0].body is None:
        raise Conflict(f"{MOST_WAITING} messages wait to be delivered. Try again when they are.")
    return str(rows[0].body)


async def purge(database: Database) -> None:
    """What was delivered more than a week ago."""
    while await database.write(_purge(), {}, many=True):
        pass


def _gone() -> NotFound:
    return NotFound("There is no such delivery; they are kept for a week.")


def _shown(row: Any) -> list[ColumnElement[Any]]:
    delivered, pending = (literal_column(f"'{status}'", Text()) for status in ("delivered", "pending"))
    status = case((row.delivered_at.is_(None), pending), else_=delivered).label("status")
    return [row.id, row.type, status, row.attempts, row.tries, iso(row.created_at), iso(row.delivered_at)]


def _that() -> tuple[ColumnElement[bool], ...]:
    return *of_this(), DELIVERIES.c.id == bindparam("in_delivery", type_=Uuid())


@statement
def _newest(after: bool) -> Query:
    wanted = select(*DELIVERIES.c, cast(DELIVERIES.c.id, Text()).label("key")).where(*of_this())
    if after:
        wanted = wanted.where(DELIVERIES.c.id < bindparam("after_id", type_=Uuid()))
    ordered = wanted.order_by(DELIVERIES.c.id.desc()).limit(bindparam("in_limit", type_=Integer()))
    found = ordered.subquery("found")
    hook = select(HOOKS.c.user_id).where(*this()).subquery("hook")
    return listed_rows(found, as_json(found, _shown(found.c)), hook.outerjoin(found, true()), falling=True)


@statement
def _one() -> Query:
    found = select(*DELIVERIES.c).where(*_that()).subquery("found")
    item = as_json(found, [*_shown(found.c), found.c.body])
    return select(text_of(item)).select_from(found.join(item, true()))


@statement
def _again() -> Query:
    put = update(DELIVERIES).where(*_that()).values(delivered_at=null()).returning(*DELIVERIES.c).cte("put")
    item = as_json(put, _shown(put.c))
    return select(text_of(item)).select_from(put.join(item, true())).add_cte(_at_once())


@statement
def _remove() -> Query:
    """What comes behind one that waited, is tried at once."""
    gone = delete(DELIVERIES).where(*_that()).returning(*DELIVERIES.c).cte("gone")
    these = *this(), HOOKS.c.user_id == gone.c.user_id, gone.c.delivered_at.is_(None)
    return select(gone.c.id).add_cte(update(HOOKS).where(*these).values(ANEW).cte("at_once"))


@statement
def _test() -> Query:
    """A row for each webhook that is there, without a body when too much waits."""
    hook = select(HOOKS.c.user_id, HOOKS.c.id).where(*this()).cte("hook")
    waiting = DELIVERIES.alias("waiting")
    theirs = waiting.c.user_id == OWNER, waiting.c.webhook_id == hook.c.id, waiting.c.delivered_at.is_(None)
    few = select(func.count()).where(*theirs).scalar_subquery() < MOST_WAITING
    said = func.jsonb_build_object(
        *_pairs("type", literal_column(f"'{TEST}'", Text())),
        *_pairs("timestamp", iso(CLOCK)),
        *_pairs("data", func.jsonb_build_object(*_pairs("webhook_id", hook.c.id))),
    )
    message = bindparam("new_id", type_=Uuid()), literal_column(f"'{TEST}'", Text()), cast(said, Text())
    row = select(hook.c.user_id, hook.c.id, *message).where(few)
    names = ["user_id", "webhook_id", "id", "type", "body"]
    made = insert(DELIVERIES).from_select(names, row, include_defaults=False).returning(*DELIVERIES.c).cte("made")
    item = as_json(made, _shown(made.c))
    body = case((made.c.id.is_not(None), text_of(item))).label("body")
    return select(body).select_from(hook.outerjoin(made, true()).outerjoin(item, true())).add_cte(_at_once())


def _at_once() -> CTE:
    """Whoever asks for a message has mended the receiver, and waits. A try that is under way does not count."""
    return update(HOOKS).where(*this()).values(next_try_at=CLOCK).cte("at_once")


def _pairs(name: str, value: Any) -> tuple[Any, Any]:
    return literal_column(f"'{name}'", Text()), value


@statement
def _purge() -> Query:
    key = DELIVERIES.c.user_id, DELIVERIES.c.webhook_id, DELIVERIES.c.id
    over = DELIVERIES.c.delivered_at < CLOCK - KEPT  # asked again of a row that waited: somebody may want it again
    these = select(*key).where(over).limit(BATCH)
    gone = delete(DELIVERIES).where(tuple_(*key).in_(these), over).returning(DELIVERIES.c.id).cte("gone")
    why = "what is over goes away for everybody at once"
    return select(gone.c.id).limit(literal_column("1", Integer())).execution_options(crosses_users=why)
