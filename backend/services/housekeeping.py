"""What goes away by itself: once an hour, by whichever worker comes first, and by `tend clean`.

Never while nobody uses the service for less than a day: a database that sleeps when it is left alone would
be woken for it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Interval, Table, bindparam, delete, or_, select, tuple_

from backend.db import Database
from backend.errors import Unavailable
from backend.models import AuditEvent, Confirmation, table
from backend.services import activity, idempotency, keys, throttles, tombstones, trash, webhook_log
from backend.services.access_tokens import TOKENS as ACCESS_TOKENS
from backend.services.accounts import USERS
from backend.services.sessions import SESSIONS
from backend.services.sessions import TOKENS as REFRESH_TOKENS
from backend.services.throttles import Limit, Try
from backend.state import State
from backend.statements import CLOCK, Query, statement
from backend.turns import unasked

log = logging.getLogger("tend")

EVENTS, CONFIRMATIONS = table(AuditEvent), table(Confirmation)
CLAIM: Final = Limit("housekeeping", 1, 3_600)
LOOK_SECONDS: Final = 600
LEFT_ALONE_SECONDS: Final = 86_400
FORGOTTEN: Final = timedelta(days=30)  # sessions that ended; refresh tokens that were used
AUDITED: Final = timedelta(days=366)
BATCH: Final = 5_000  # rows a statement
PURGE: Final = "what is over goes away for everybody at once"


async def regularly(state: State) -> None:
    """As long as the worker lives."""
    done = time.monotonic()
    while True:
        await asyncio.sleep(LOOK_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311 # nosec B311
        if state.database.used_at > done or time.monotonic() - done > LEFT_ALONE_SECONDS:
            with unasked():
                state.later.start(once_an_hour(state.database))
            done = time.monotonic()


async def once_an_hour(database: Database) -> bool:
    """Whether it was this worker's turn."""
    claimed, _ = await throttles.count(database, Try(CLAIM, ()))
    if claimed > CLAIM.most:
        return False
    await clean(database)
    return True


async def clean(database: Database) -> None:
    """Accounts whose grace is over go first, and with them everything of theirs.

    In batches, each with a deadline of its own; what cannot be done now does not keep the rest.
    """
    for gone, age in ((_accounts, None), (_sessions, FORGOTTEN), (_refresh_tokens, FORGOTTEN), (_events, AUDITED)):
        await _all_of(database, gone(), {"age": age} if age else {})
    await _all_of(database, _access_tokens(), {"age": FORGOTTEN})
    await _all_of(database, _confirmations(), {})
    await _all_of(database, _idempotency_keys(), {"age": idempotency.KEPT})
    for purge in (activity.purge, throttles.purge, keys.purge, trash.empty_old, tombstones.purge, webhook_log.purge):
        with suppress(Unavailable):
            await purge(database)


async def _all_of(database: Database, batch: Query, values: Mapping[str, Any]) -> None:
    try:
        while await database.write(batch, values, many=True):
            pass
    except Unavailable as error:
        log.warning("Not all that is over could be deleted: %s", error.detail)


def _gone(table: Table, key: ColumnElement[Any], over: ColumnElement[bool]) -> Query:
    these = select(key).where(over).limit(BATCH)
    deleted = delete(table).where(key.in_(these)).returning(key).cte("deleted")
    # A row when there was one, whatever their number.
    return select(deleted).limit(1).execution_options(crosses_users=PURGE)


@statement
def _accounts() -> Query:
    """One at a time: it can take all their tasks along. Another worker's is left to it."""
    over = select(USERS.c.id).where(USERS.c.ends_at <= CLOCK).limit(1).with_for_update(skip_locked=True)
    gone = delete(USERS).where(USERS.c.id.in_(over)).returning(USERS.c.id).cte("gone")
    return select(gone.c.id).execution_options(crosses_users=PURGE)


def _before() -> ColumnElement[Any]:
    return CLOCK - bindparam("age", type_=Interval())


@statement
def _sessions() -> Query:
    over = or_(SESSIONS.c.ended_at < _before(), SESSIONS.c.expires_at < _before())
    return _gone(SESSIONS, SESSIONS.c.id, over)


@statement
def _refresh_tokens() -> Query:
    return _gone(REFRESH_TOKENS, REFRESH_TOKENS.c.digest, REFRESH_TOKENS.c.used_at < _before())


@statement
def _access_tokens() -> Query:
    return _gone(ACCESS_TOKENS, ACCESS_TOKENS.c.id, ACCESS_TOKENS.c.expires_at < _before())


@statement
def _confirmations() -> Query:
    return _gone(CONFIRMATIONS, CONFIRMATIONS.c.digest, CONFIRMATIONS.c.expires_at < CLOCK)


@statement
def _idempotency_keys() -> Query:
    table = idempotency.KEYS
    both = table.c.user_id, table.c.key  # another user's same key may be younger
    these = select(*both).where(table.c.created_at < _before()).limit(BATCH)
    deleted = delete(table).where(tuple_(*both).in_(these)).returning(table.c.key).cte("deleted")
    return select(deleted).limit(1).execution_options(crosses_users=PURGE)


@statement
def _events() -> Query:
    return _gone(EVENTS, EVENTS.c.id, EVENTS.c.at < _before())
