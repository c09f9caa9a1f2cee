"""Accounts: opened, changed, ended. Who holds one signs in by `sign_in.py`.

The table has no wall: it is asked by address, before there is a user.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    Text,
    bindparam,
    case,
    func,
    insert,
    null,
    select,
    true,
    update,
)

from backend.db import Database
from backend.models import OutsideIdentity, SyncState, User, table
from backend.schemas.scalars import normal_email
from backend.scope import Scope, account_gone
from backend.security.opaque import new_id
from backend.services import audit
from backend.services.audit import Caller, Event, noted
from backend.services.sessions import ending
from backend.sql import Row
from backend.statements import CLOCK, Query, as_json, iso, statement, text_of
from backend.wall import OWNER

USERS, COUNTERS, IDENTITIES = table(User), table(SyncState), table(OutsideIdentity)
OPERATOR: Final = "the operator is nobody's owner"
MOST_TYPED: Final = 1_000  # characters of an address, however it was written


def email_key(email: str) -> str:
    """What makes two addresses the same, however they are written. What is no address is only itself."""
    if len(email) > MOST_TYPED:
        return ""  # no account's: normalizing it would cost more than it is worth
    try:
        return normal_email(email).casefold()
    except ValueError:
        return email.casefold()


async def open_account(
    database: Database,
    email: str,
    name: str,
    password_hash: str | None,
    timezone: str = "UTC",
    language: str = "en",
    *,
    is_verified: bool = False,
    identity: Mapping[str, Any] | None = None,
) -> str:
    """The account as JSON. `identity`: that of a provider (identities.py), which comes or fails with it."""
    values = {
        "id": new_id(),
        "email": email,
        "email_key": email_key(email),
        "name": name,
        "password_hash": password_hash,
        "timezone": timezone,
        "language": language,
        "is_verified": is_verified,
    }
    opening = {f"new_{name}": value for name, value in {**values, **(identity or {})}.items()}
    rows = await database.write(_open_account(identity is not None), opening)
    return str(rows[0].body)


async def me(mine: Scope) -> str:
    rows = await mine.read(_account(), {})
    if not rows:
        raise account_gone()
    return str(rows[0].body)


async def set_disabled(database: Database, email: str, disabled: bool) -> bool:
    """By the operator. Its sessions end when it is disabled. False when there is no such account."""
    event = Event("account_disabled" if disabled else "account_enabled", Caller("", "operator"))
    values = {"in_key": email_key(email), "in_disabled": disabled}
    return bool(await audit.write(database, _set_disabled(), values, event))


async def contact_of(mine: Scope) -> Row:
    rows = await mine.read(_contact(), {})
    if not rows:
        raise account_gone()
    return rows[0]


def shown(row: Any) -> list[ColumnElement[Any]]:
    return [row.id, row.email, row.name, row.timezone, row.language, row.is_verified, iso(row.created_at)]


@statement
def _open_account(from_outside: bool) -> Query:
    names = ("id", "email", "email_key", "name", "password_hash", "timezone", "language", "is_verified")
    new = {name: bindparam(f"new_{name}", type_=USERS.c[name].type) for name in names}
    made = insert(USERS).values(new).returning(*USERS.c).cte("made")
    counter = insert(COUNTERS).from_select(["user_id"], select(made.c.id), include_defaults=False).cte("counter")
    item = as_json(made, shown(made.c))
    opened = select(text_of(item)).select_from(made.join(item, true())).add_cte(counter)
    if from_outside:
        opened = opened.add_cte(_identity_of(made))
    return opened.execution_options(crosses_users="a new account has no owner yet")


def _identity_of(made: CTE) -> CTE:
    names = {"id": "identity_id", "issuer": "issuer", "subject": "subject", "provider": "provider"}
    names["email"] = "identity_email"
    new = [bindparam(f"new_{name}", type_=IDENTITIES.c[column].type) for column, name in names.items()]
    row = select(made.c.id, *new)
    return insert(IDENTITIES).from_select(["user_id", *names], row, include_defaults=False).cte("identity")


@statement
def _account() -> Query:
    this = select(*USERS.c).where(USERS.c.id == OWNER).subquery("this")
    item = as_json(this, shown(this.c))
    return select(text_of(item)).select_from(this.join(item, true()))


@statement
def _contact() -> Query:
    return select(USERS.c.email, USERS.c.email_key, USERS.c.name, USERS.c.is_verified).where(USERS.c.id == OWNER)


@statement
def _set_disabled() -> Query:
    disabled = bindparam("in_disabled", type_=Boolean())
    this = USERS.c.email_key == bindparam("in_key", type_=Text())
    since = case((disabled, func.coalesce(USERS.c.disabled_at, CLOCK)), else_=null())
    changed = update(USERS).where(this).values(disabled_at=since).returning(USERS.c.id.label("user_id")).cte("changed")
    ended = ending(changed.c.user_id, disabled)
    done = select(changed.c.user_id).add_cte(ended, noted(changed, changed.c.user_id))
    return done.execution_options(crosses_users=OPERATOR)
