"""Sessions: sign-ins on devices, each the family of its refresh tokens.

These tables have no wall: most of their statements are sent before there is a user.
"""

from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Interval,
    LargeBinary,
    Uuid,
    and_,
    bindparam,
    cast,
    extract,
    func,
    insert,
    select,
    true,
    update,
)

from backend.db import Database
from backend.errors import NotFound, NotSignedIn
from backend.models import RefreshToken, Session, User, table
from backend.scope import Scope
from backend.security.opaque import digest, new_id, refresh_token
from backend.services import audit
from backend.services.audit import Caller, Event, noted
from backend.statements import CLOCK, Query, as_json, iso, statement, text_of
from backend.wall import OWNER

USERS, SESSIONS, TOKENS = table(User), table(Session), table(RefreshToken)
MOST: Final = 100
"""Living sessions of a user. One more ends the one that was used longest ago."""
NOT_YET: Final = "nobody is signed in yet"


class SignedIn(NamedTuple):
    """Who, and how they will be known: the access token is made of it."""

    user_id: UUID
    session_id: UUID
    timezone: str
    language: str
    signed_in_at: float  # seconds since 1970: when they last showed who they are
    refresh_token: str


class Known(NamedTuple):
    """Whose session or token it is, as the account is now."""

    user_id: UUID
    timezone: str
    language: str
    scopes: frozenset[str]
    token_id: UUID | None = None


async def begin(
    database: Database,
    user_id: UUID,
    lifetime: timedelta,
    caller: Caller,
    *,
    device: str = "",
    how: str = "password",
    password_hash: str | None = None,
) -> SignedIn:
    """A new family of refresh tokens, for whoever has shown who they are.

    `password_hash` is the account's as it was then. Raises NotSignedIn when it is another by now, or the account is
    disabled, about to end, or gone: who was put out meanwhile stays out.
    """
    token, session_id = refresh_token(), new_id()
    values = {
        "in_user": user_id,
        "new_id": session_id,
        "new_digest": digest(token),
        "new_device": device or caller.device,
        "new_address": caller.address,
        "in_lifetime": lifetime,
        "was_hash": password_hash,
    }
    event = Event("signed_in", caller, {"session": str(session_id), "how": how})
    rows = await audit.write(database, _begin(), values, event)
    if not rows:
        raise NotSignedIn("The account was changed meanwhile. Sign in again.")
    return SignedIn._make((*rows[0], token))


ALL_SCOPES: Final = frozenset({"tasks:read", "tasks:write", "account"})


async def look_up(database: Database, session_id: UUID, user_id: UUID) -> Known | None:
    """None when it has ended, or the account is disabled or gone."""
    rows = await database.read(_alive(), {"in_session": session_id, "in_user": user_id})
    return Known(user_id, rows[0].timezone, rows[0].language, ALL_SCOPES) if rows else None


async def mine_now(mine: Scope, idle: timedelta) -> list[str]:
    """JSON, one a living session, last used first."""
    rows = await mine.read(_listed(), {"in_session": mine.session_id, "in_idle": idle})
    return [row.body for row in rows]


async def end(mine: Scope, session_id: UUID, caller: Caller) -> None:
    """Raises NotFound when it is not there, has ended, or is somebody else's."""
    event = Event("session_ended", caller, {"session": str(session_id)})
    if not await audit.write(mine, _end(), {"in_session": session_id}, event):
        raise NotFound("There is no such session.")


async def sign_out(mine: Scope, caller: Caller) -> None:
    """Ends the session that asks."""
    event = Event("signed_out", caller, {"session": str(mine.session_id)})
    await audit.write(mine, _end(), {"in_session": mine.session_id}, event)


async def end_others(mine: Scope, caller: Caller) -> int:
    """All but the one that asks. Their number."""
    rows = await audit.write(
        mine, _end_others(), {"in_session": mine.session_id}, Event("other_sessions_ended", caller)
    )
    return len(rows)


def alive(*columns: ColumnElement[Any]) -> Query:
    """Of sessions that let somebody in."""
    account = and_(USERS.c.id == SESSIONS.c.user_id, USERS.c.disabled_at.is_(None))
    return select(*columns).select_from(SESSIONS.join(USERS, account)).where(living())


def living() -> ColumnElement[bool]:
    return and_(SESSIONS.c.ended_at.is_(None), SESSIONS.c.expires_at > CLOCK)


def epoch(moment: ColumnElement[Any]) -> ColumnElement[int]:
    """Whole seconds since 1970, never in the future (a cast alone would round up)."""
    return cast(func.floor(extract("epoch", moment)), BigInteger())


def account_of(owner: Any) -> tuple[ColumnElement[bool], ...]:
    """One that is neither disabled nor about to end."""
    return USERS.c.id == owner, USERS.c.disabled_at.is_(None), USERS.c.ends_at.is_(None)


@statement
def _begin() -> Query:
    owner = bindparam("in_user", type_=Uuid())
    new = {name: bindparam(f"new_{name}", type_=SESSIONS.c[name].type) for name in ("id", "device", "address")}
    same = USERS.c.password_hash.is_not_distinct_from(bindparam("was_hash", type_=USERS.c.password_hash.type))
    living_one = account_of(owner)
    user = select(USERS.c.id, USERS.c.timezone, USERS.c.language).where(*living_one, same).cte("user")
    expires = CLOCK + bindparam("in_lifetime", type_=Interval())
    row = select(user.c.id, *new.values(), expires)
    begun = (
        insert(SESSIONS)
        .from_select(["user_id", *new, "expires_at"], row, include_defaults=False)
        .returning(SESSIONS.c.id, SESSIONS.c.user_id, SESSIONS.c.created_at)
        .cte("begun")
    )
    known = (
        select(begun.c.user_id, begun.c.id, user.c.timezone, user.c.language, epoch(begun.c.created_at).label("at"))
        .select_from(begun.join(user, true()))
        .add_cte(given("new_digest", begun.c.id), noted(begun, begun.c.user_id), _crowded_out(owner))
    )
    return known.execution_options(crosses_users=NOT_YET)


def _crowded_out(owner: ColumnElement[UUID]) -> CTE:
    theirs = (
        select(SESSIONS.c.id)
        .where(SESSIONS.c.user_id == owner, living())
        .order_by(SESSIONS.c.last_used_at.desc())
        .offset(MOST - 1)
    )
    return update(SESSIONS).where(SESSIONS.c.id.in_(theirs)).values(ended_at=CLOCK).cte("crowded_out")


def given(digest_name: str, session_id: ColumnElement[UUID]) -> CTE:
    """The next token of a session."""
    row = select(bindparam(digest_name, type_=LargeBinary()), session_id)
    return insert(TOKENS).from_select(["digest", "session_id"], row, include_defaults=False).cte("token")


@statement
def _alive() -> Query:
    this = SESSIONS.c.id == bindparam("in_session", type_=Uuid())
    theirs = SESSIONS.c.user_id == bindparam("in_user", type_=Uuid())
    return alive(USERS.c.timezone, USERS.c.language).where(this, theirs)


@statement
def _listed() -> Query:
    used_lately = SESSIONS.c.last_used_at > CLOCK - bindparam("in_idle", type_=Interval())
    current = (SESSIONS.c.id == bindparam("in_session", type_=Uuid())).label("is_current")
    theirs = select(*SESSIONS.c, current).where(SESSIONS.c.user_id == OWNER, living(), used_lately).subquery("theirs")
    shown: list[ColumnElement[Any]] = [
        theirs.c.id,
        theirs.c.device,
        theirs.c.address,
        func.coalesce(theirs.c.is_current, False).label("is_current"),
    ]
    shown += [iso(theirs.c[name]) for name in ("created_at", "last_used_at", "expires_at")]
    item = as_json(theirs, shown)
    listed = select(text_of(item)).select_from(theirs.join(item, true()))
    return listed.order_by(theirs.c.last_used_at.desc(), theirs.c.id)


@statement
def _end() -> Query:
    return _ended(SESSIONS.c.id == bindparam("in_session", type_=Uuid()))


@statement
def _end_others() -> Query:
    return _ended(SESSIONS.c.id != bindparam("in_session", type_=Uuid()))


def _ended(which: ColumnElement[bool]) -> Query:
    ended = ending(OWNER, which)
    return select(ended.c.user_id).add_cte(noted(ended, ended.c.user_id))


def ending(owner: ColumnElement[UUID], which: ColumnElement[bool] | None = None) -> CTE:
    """Part of a statement: the owner's sessions end, all or some."""
    criteria = [SESSIONS.c.user_id == owner, living(), *([] if which is None else [which])]
    return update(SESSIONS).where(*criteria).values(ended_at=CLOCK).returning(SESSIONS.c.user_id).cte("ended")
