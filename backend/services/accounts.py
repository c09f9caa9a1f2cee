"""Who somebody is: registration, sign-in and the families of refresh tokens.

These tables have no wall: they are asked by address or by token, before there is a user.
"""

from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Interval,
    LargeBinary,
    Text,
    Update,
    Uuid,
    and_,
    bindparam,
    cast,
    exists,
    func,
    insert,
    literal_column,
    select,
    true,
    update,
)

from backend.db import Database
from backend.door import Query, as_json, iso, statement, text_of
from backend.errors import NotSignedIn
from backend.models import RefreshToken, Session, SyncState, User, table
from backend.schemas.accounts import Register
from backend.schemas.scalars import normal_email
from backend.scope import Scope, account_gone
from backend.security import digest, hash_password, new_id, refresh_token, verify_password

USERS, SESSIONS, TOKENS, COUNTERS = table(User), table(Session), table(RefreshToken), table(SyncState)
GRACE = cast(literal_column("'10 seconds'"), Interval())
CLOCK = func.clock_timestamp()


class SignedIn(NamedTuple):
    """Who, and how they will be known: the access token is made of it."""

    user_id: UUID
    session_id: UUID
    timezone: str
    language: str
    refresh_token: str


def email_key(email: str) -> str:
    """What makes two addresses the same, however they are written. What is no address is only itself."""
    try:
        return normal_email(email).casefold()
    except ValueError:
        return email.casefold()


async def register(database: Database, wanted: Register) -> str:
    """The account as JSON. A taken address is the database's to refuse."""
    hashed = await hash_password(wanted.password)
    return await open_account(database, wanted.email, wanted.name, hashed, wanted.timezone, wanted.language)


async def open_account(
    database: Database,
    email: str,
    name: str,
    password_hash: str | None,
    timezone: str = "UTC",
    language: str = "en",
) -> str:
    values = {
        "id": new_id(),
        "email": email,
        "email_key": email_key(email),
        "name": name,
        "password_hash": password_hash,
        "timezone": timezone,
        "language": language,
    }
    rows = await database.write(_open_account(), {f"new_{name}": value for name, value in values.items()})
    return str(rows[0].body)


async def sign_in(database: Database, email: str, password: str, lifetime: timedelta) -> SignedIn:
    """Raises NotSignedIn, in the same words and after the same time whatever was wrong."""
    found = await database.read(_credentials(), {"in_key": email_key(email)})
    fits, better = await verify_password(password, found[0].password_hash if found else None)
    if not fits:
        raise NotSignedIn("The address or the password is wrong.")
    user = found[0]
    if better:
        await database.write(_rehash(), {"in_user": user.id, "set_hash": better})
    return await begin_session(database, user.id, user.timezone, user.language, lifetime)


async def begin_session(
    database: Database, user_id: UUID, timezone: str, language: str, lifetime: timedelta
) -> SignedIn:
    """A new family of refresh tokens, for whoever has shown who they are."""
    token, session_id = refresh_token(), new_id()
    values = {"in_user": user_id, "new_id": session_id, "new_digest": digest(token), "in_lifetime": lifetime}
    await database.write(_begin_session(), values)
    return SignedIn(user_id, session_id, timezone, language, token)


async def refresh(database: Database, token: str, successor: str, idle: timedelta) -> SignedIn:
    """The next pair. Raises NotSignedIn, and ends the whole family when a used token came back.

    The immediate predecessor of the current token is forgiven for 10 seconds: an answer that was lost
    can be asked for again, and brings the same successor.
    """
    values = {"in_digest": digest(token), "in_successor": digest(successor), "in_idle": idle}
    rows = await database.write(_rotate(), values)
    if not rows:
        rows = await database.write(_forgive_or_end(), values)
    if not rows:
        raise NotSignedIn("The refresh token is not valid. Sign in again.", token_sent=True)
    user = rows[0]
    return SignedIn(user.user_id, user.session_id, user.timezone, user.language, successor)


async def is_alive(database: Database, session_id: UUID, user_id: UUID) -> bool:
    return bool(await database.read(_alive(), {"in_session": session_id, "in_user": user_id}))


async def sign_out(mine: Scope) -> None:
    await mine.database.write(_end_session(), {"in_session": mine.session_id})


async def me(mine: Scope) -> str:
    rows = await mine.database.read(_account(), {"in_user": mine.user_id})
    if not rows:
        raise account_gone()
    return str(rows[0].body)


def _shown(row: Any) -> list[ColumnElement[Any]]:
    return [row.id, row.email, row.name, row.timezone, row.language, row.is_verified, iso(row.created_at)]


@statement
def _open_account() -> Query:
    names = ("id", "email", "email_key", "name", "password_hash", "timezone", "language")
    new = {name: bindparam(f"new_{name}", type_=USERS.c[name].type) for name in names}
    made = insert(USERS).values(new).returning(*USERS.c).cte("made")
    counter = insert(COUNTERS).from_select(["user_id"], select(made.c.id), include_defaults=False).cte("counter")
    item = as_json(made, _shown(made.c))
    opened = select(text_of(item)).select_from(made.join(item, true())).add_cte(counter)
    return opened.execution_options(crosses_users="a new account has no owner yet")


@statement
def _credentials() -> Query:
    wanted = USERS.c.email_key == bindparam("in_key", type_=Text())
    return select(USERS.c.id, USERS.c.password_hash, USERS.c.timezone, USERS.c.language).where(wanted)


@statement
def _rehash() -> Update:
    this = USERS.c.id == bindparam("in_user", type_=Uuid())
    return update(USERS).where(this).values(password_hash=bindparam("set_hash", type_=Text()))


@statement
def _begin_session() -> Query:
    lifetime = bindparam("in_lifetime", type_=Interval())
    begun = (
        insert(SESSIONS)
        .values(
            id=bindparam("new_id", type_=Uuid()),
            user_id=bindparam("in_user", type_=Uuid()),
            expires_at=CLOCK + lifetime,
        )
        .returning(SESSIONS.c.id)
        .cte("begun")
    )
    return select(begun.c.id).add_cte(_given("new_digest", begun.c.id))


def _given(digest_name: str, session_id: ColumnElement[UUID]) -> CTE:
    """The next token of a session."""
    row = select(bindparam(digest_name, type_=LargeBinary()), session_id)
    return insert(TOKENS).from_select(["digest", "session_id"], row, include_defaults=False).cte("token")


def _known_by(source: CTE) -> Query:
    """Whose session it is, as SignedIn has it."""
    known = source.join(USERS, USERS.c.id == source.c.user_id)
    return select(source.c.user_id, source.c.session_id, USERS.c.timezone, USERS.c.language).select_from(known)


def _living() -> ColumnElement[bool]:
    return and_(SESSIONS.c.ended_at.is_(None), SESSIONS.c.expires_at > CLOCK)


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
            _living(),
        )
        .values(used_at=CLOCK)
        .returning(SESSIONS.c.id.label("session_id"), SESSIONS.c.user_id)
        .cte("used")
    )
    touched = update(SESSIONS).where(SESSIONS.c.id == used.c.session_id).values(last_used_at=CLOCK).cte("touched")
    return _known_by(used).add_cte(_given("in_successor", used.c.session_id), touched)


@statement
def _forgive_or_end() -> Query:
    """For a token that is used or unknown: its session, if it may be forgiven; else the family ends."""
    following = TOKENS.alias("following")
    current = exists().where(
        following.c.digest == bindparam("in_successor", type_=LargeBinary()), following.c.used_at.is_(None)
    )
    presented = (
        select(
            SESSIONS.c.user_id,
            SESSIONS.c.id.label("session_id"),
            and_(_living(), TOKENS.c.used_at > CLOCK - GRACE, current).label("forgiven"),
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
        .cte("ended")
    )
    return _known_by(presented).where(presented.c.forgiven).add_cte(ended)


@statement
def _alive() -> Query:
    this = SESSIONS.c.id == bindparam("in_session", type_=Uuid())
    return select(SESSIONS.c.id).where(this, SESSIONS.c.user_id == bindparam("in_user", type_=Uuid()), _living())


@statement
def _end_session() -> Update:
    this = SESSIONS.c.id == bindparam("in_session", type_=Uuid())
    return update(SESSIONS).where(this, SESSIONS.c.ended_at.is_(None)).values(ended_at=CLOCK)


@statement
def _account() -> Query:
    this = select(*USERS.c).where(USERS.c.id == bindparam("in_user", type_=Uuid())).subquery("this")
    item = as_json(this, _shown(this.c))
    return select(text_of(item)).select_from(this.join(item, true()))
