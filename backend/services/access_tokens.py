"""Personal access tokens: for programs, with as much as they need and no longer than they need it."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, LargeBinary, Uuid, and_, bindparam, delete, func, insert, select, true

from backend.db import Database
from backend.errors import Conflict, Invalid, NotFound
from backend.models import AccessToken, User, table
from backend.schemas.access_tokens import DEFAULT_DAYS, MOST_DAYS, AccessTokenCreate
from backend.scope import Scope
from backend.security.opaque import digest, new_id, personal_token
from backend.services import audit
from backend.services.audit import Caller, Event, noted
from backend.services.sessions import Known, account_of
from backend.statements import CLOCK, Query, as_json, iso, statement, text_of
from backend.wall import OWNER

TOKENS, USERS = table(AccessToken), table(User)
MOST: Final = 50
HINT_CHARACTERS: Final = 4


async def create(mine: Scope, wanted: AccessTokenCreate, caller: Caller) -> tuple[UUID, str, str]:
    """Its id, the token itself, which is nowhere kept, and JSON of the rest. Raises Invalid and Conflict."""
    now = datetime.now(UTC)
    expires_at = wanted.expires_at or now + timedelta(days=DEFAULT_DAYS)
    if not now < expires_at <= now + timedelta(days=MOST_DAYS, hours=1):
        raise Invalid.at("body", "expires_at", msg=f"expected a time within the next {MOST_DAYS} days")
    token, token_id = personal_token(), new_id()
    values = {
        "new_id": token_id,
        "new_name": wanted.name,
        "new_digest": digest(token),
        "new_hint": token[-HINT_CHARACTERS:],
        "new_scopes": sorted(wanted.scopes),
        "new_expires_at": expires_at,
    }
    detail = {"token": str(token_id), "name": wanted.name, "scopes": values["new_scopes"]}
    rows = await audit.write(mine, _create(), values, Event("token_created", caller, detail))
    if not rows:
        raise Conflict(f"There are {MOST} tokens already. Revoke those that are not needed.")
    return token_id, token, str(rows[0].body)


async def look_up(database: Database, token: str) -> Known | None:
    """None when it was revoked, has expired, or the account is disabled, about to end, or gone."""
    rows = await database.read(_by_digest(), {"in_digest": digest(token)})
    return (
        Known(rows[0].user_id, rows[0].timezone, rows[0].language, frozenset(rows[0].scopes), rows[0].id)
        if rows
        else None
    )


async def mine_now(mine: Scope) -> list[str]:
    """JSON, one a token that has not expired, newest first."""
    return [row.body for row in await mine.read(_listed(), {})]


async def revoke(mine: Scope, token_id: UUID, caller: Caller) -> None:
    """Raises NotFound when it is not there, or somebody else's."""
    event = Event("token_revoked", caller, {"token": str(token_id)})
    if not await audit.write(mine, _revoke(), {"in_token": token_id}, event):
        raise NotFound("There is no such token.")


def _shown(row: Any) -> list[Any]:
    named = [row.id, row.name, row.hint, row.scopes]
    return [*named, iso(row.created_at), iso(row.last_used_at), iso(row.expires_at)]


@statement
def _create() -> Query:
    names = ("id", "name", "digest", "hint", "scopes", "expires_at")
    new = [bindparam(f"new_{name}", type_=TOKENS.c[name].type) for name in names]
    others = TOKENS.alias("others")
    few = select(func.count()).where(others.c.user_id == OWNER, others.c.expires_at > CLOCK).scalar_subquery() < MOST
    row = select(OWNER, *new).where(few)
    made = insert(TOKENS).from_select(["user_id", *names], row, include_defaults=False).returning(*TOKENS.c).cte("made")
    item = as_json(made, _shown(made.c))
    shown = select(made.c.user_id, text_of(item)).select_from(made.join(item, true()))
    return shown.where(made.c.user_id == OWNER).add_cte(noted(made, OWNER))


@statement
def _by_digest() -> Query:
    this = TOKENS.c.digest == bindparam("in_digest", type_=LargeBinary())
    return alive(TOKENS.c.user_id, TOKENS.c.id, TOKENS.c.scopes, USERS.c.timezone, USERS.c.language).where(this)


def alive(*columns: ColumnElement[Any]) -> Query:
    """Of tokens that let somebody in."""
    account = and_(*account_of(TOKENS.c.user_id))
    return select(*columns).select_from(TOKENS.join(USERS, account)).where(TOKENS.c.expires_at > CLOCK)


@statement
def _listed() -> Query:
    theirs = select(*TOKENS.c).where(TOKENS.c.user_id == OWNER, TOKENS.c.expires_at > CLOCK).subquery("theirs")
    item = as_json(theirs, _shown(theirs.c))
    return select(text_of(item)).select_from(theirs.join(item, true())).order_by(theirs.c.id.desc())


@statement
def _revoke() -> Query:
    this = TOKENS.c.id == bindparam("in_token", type_=Uuid()), TOKENS.c.user_id == OWNER
    gone = delete(TOKENS).where(*this).returning(TOKENS.c.user_id).cte("gone")
    return select(gone.c.user_id).add_cte(noted(gone, gone.c.user_id))
