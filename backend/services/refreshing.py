"""The next pair of tokens of a session, for the refresh token before it."""

from datetime import timedelta

from sqlalchemy import (
    CTE,
    Interval,
    LargeBinary,
    and_,
    bindparam,
    cast,
    exists,
    literal_column,
    select,
    true,
    update,
)

from backend.db import Database
from backend.errors import NotSignedIn
from backend.security.opaque import digest
from backend.services.audit import Caller, Event, noted
from backend.services.sessions import NOT_YET, SESSIONS, TOKENS, USERS, SignedIn, epoch, given, living
from backend.statements import CLOCK, Query, statement

GRACE = cast(literal_column("'10 seconds'"), Interval())


async def refresh(database: Database, token: str, successor: str, idle: timedelta, caller: Caller) -> SignedIn:
    """The next pair. Raises NotSignedIn, and ends the whole family when a used token came back.

    The immediate predecessor of the current token is forgiven for 10 seconds: an answer that was lost
    can be asked for again, and brings the same successor.
    """
    values = {"in_digest": digest(token), "in_successor": digest(successor), "in_idle": idle}
    rows = await database.write(_rotate(), values)
    if not rows:
        reused = Event("refresh_token_reused", caller)
        rows = await database.write(_forgive_or_end(), {**values, **reused.values})
        if rows and not rows[0].forgiven:
            reused.log(rows[0].user_id)
            rows = []
    if not rows:
        raise NotSignedIn("The refresh token is not valid. Sign in again.", token_sent=True)
    return SignedIn._make((*rows[0][:5], successor))


def _known_by(source: CTE) -> Query:
    """Whose session it is, as SignedIn has it."""
    known = source.join(USERS, and_(USERS.c.id == source.c.user_id, USERS.c.disabled_at.is_(None)))
    at = epoch(source.c.created_at).label("signed_in_at")
    return select(source.c.user_id, source.c.session_id, USERS.c.timezone, USERS.c.language, at).select_from(known)


@statement
def _rotate() -> Query:
    """One winner, however many ask at once: only one of them finds it unused."""
    idle = bindparam("in_idle", type_=Interval())
    used = (
        update(TOKENS)
        .where(
            TOKENS.c.digest == bindparam("in_digest", type_=LargeBinary()),
            TOKENS.c.used_at.is_(None),
            TOKENS.c.created_at > CLOCK - idle,
            TOKENS.c.session_id == SESSIONS.c.id,
            living(),
        )
        .values(used_at=CLOCK)
        .returning(SESSIONS.c.id.label("session_id"), SESSIONS.c.user_id, SESSIONS.c.created_at)
        .cte("used")
    )
    touched = update(SESSIONS).where(SESSIONS.c.id == used.c.session_id).values(last_used_at=CLOCK).cte("touched")
    return _known_by(used).add_cte(given("in_successor", used.c.session_id), touched)


@statement
def _forgive_or_end() -> Query:
    """For a token that is used or unknown: whose it was, and whether it is forgiven; if not, the family ends."""
    following = TOKENS.alias("following")
    current = exists().where(
        following.c.digest == bindparam("in_successor", type_=LargeBinary()), following.c.used_at.is_(None)
    )
    presented = (
        select(
            SESSIONS.c.user_id,
            SESSIONS.c.id.label("session_id"),
            SESSIONS.c.created_at,
            and_(living(), TOKENS.c.used_at > CLOCK - GRACE, current).label("forgiven"),
        )
        .select_from(TOKENS.join(SESSIONS, SESSIONS.c.id == TOKENS.c.session_id))
        .where(TOKENS.c.digest == bindparam("in_digest", type_=LargeBinary()), TOKENS.c.used_at.is_not(None))
        .cte("presented")
    )
    ended = (
        update(SESSIONS)
        .where(
            SESSIONS.c.id == presented.c.session_id,
            presented.c.forgiven.is_not(true()),
            SESSIONS.c.ended_at.is_(None),
        )
        .values(ended_at=CLOCK)
        .returning(SESSIONS.c.user_id)
        .cte("ended")
    )
    known = _known_by(presented).add_columns(presented.c.forgiven).add_cte(ended, noted(ended, ended.c.user_id))
    return known.execution_options(crosses_users=NOT_YET)
