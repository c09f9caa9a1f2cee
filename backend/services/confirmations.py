"""Tokens that are mailed: whoever brings one back reads that address. Good once, for a while, kept as a digest.

What is asked for is looked up and sent when the answer is on its way: it tells neither by its words nor by its
time whether there is an account.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Interval,
    LargeBinary,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import Insert as Upsert

from backend.errors import Invalid, NotOffered
from backend.models import AccessToken, Confirmation, RecoveryCode, SecondFactor, table
from backend.rules import messages
from backend.rules.messages import Message
from backend.schemas.accounts import PasswordReset
from backend.security.opaque import digest, refresh_token
from backend.security.passwords import hash_password
from backend.services import audit, throttles
from backend.services.accounts import IDENTITIES, USERS, email_key
from backend.services.audit import Caller, Event, noted
from backend.services.sessions import NOT_YET, ending
from backend.services.throttles import Try
from backend.services.webhooks import switching_off
from backend.state import State
from backend.statements import CLOCK, Query, statement

CONFIRMATIONS, TOKENS = table(Confirmation), table(AccessToken)
FACTORS, CODES = table(SecondFactor), table(RecoveryCode)
MINUTE = cast(literal_column("'1 minute'"), Interval())
MINUTES: Final = {"verify": 24 * 60, "change": 24 * 60, "reset": 60}
_MESSAGES: Final[dict[str, Callable[[str, str, str, int], Message]]] = {
    "verify": messages.verify_email,
    "change": messages.verify_email,
    "reset": messages.reset_password,
}


async def ask(state: State, purpose: str, email: str, caller: Caller) -> None:
    """`verify` or `reset`. Raises NotOffered and TooMany, for every address alike."""
    if not state.mailer.offered:
        raise no_mail()
    key = email_key(email)
    tries = Try(throttles.MAIL_ADDRESS, (caller.address,)), Try(throttles.MAIL, (purpose, key, caller.address))
    await throttles.take(state.database, *tries)
    state.later.start(send(state, purpose, key))


async def send(state: State, purpose: str, key: str, new_email: str | None = None) -> None:
    """To the account's own address, or to a new one that is to become it. Nothing, when there is no such account."""
    token = refresh_token()
    values = {
        "in_key": key,
        "in_purpose": purpose,
        "in_email": new_email,
        "new_digest": digest(token),
        "in_minutes": MINUTES[purpose],
    }
    for row in await state.database.write(_add(purpose), values):
        await _send(state, _MESSAGES[purpose](row.email, row.name, token, MINUTES[purpose]))


def no_mail() -> NotOffered:
    return NotOffered("This server sends no mail: its operator has not set SMTP_URL.")


def notify(state: State, message: Message) -> None:
    """Of what has happened already: without mail, it happened all the same, and no answer fails for it."""
    state.later.start(_send(state, message))


async def _send(state: State, message: Message) -> None:
    """Unless so many went to that address within the hour that somebody must mean it no good."""
    sent, _ = await throttles.count(state.database, Try(throttles.MAIL_TO, (email_key(message.to),)))
    if sent <= throttles.MAIL_TO.most:
        with suppress(NotOffered):
            state.mailer.send(message)


async def confirm_email(state: State, token: str, caller: Caller) -> None:
    """The address is verified, and becomes the account's if it is a new one. Raises Invalid, and Conflict."""
    found = await state.database.read(_pending(), {"in_digest": digest(token), "in_purposes": ["verify", "change"]})
    if not found:
        raise _not_good()
    (pending,) = found
    changes = pending.purpose == "change"
    kind = "email_changed" if changes else "email_verified"
    values = {
        "in_digest": digest(token),
        "in_purposes": [pending.purpose],
        "set_email_key": email_key(pending.email),
        "was_email": pending.now,
    }
    if not await audit.write(state.database, _confirm_email(), values, Event(kind, caller)):
        raise _not_good()
    if changes:
        notify(state, messages.email_changed(pending.now, pending.name, pending.email))


async def reset_password(state: State, wanted: PasswordReset, caller: Caller) -> UUID:
    """Whose it was. Raises Invalid.

    Sessions, personal tokens, identities elsewhere and other mailed tokens end: whoever had got in is out. So does a
    second factor of an address that was never verified: it was somebody else's.
    """
    values: dict[str, Any] = {"in_digest": digest(wanted.token), "in_purposes": ["reset"]}
    found = await state.database.read(_pending(), values)
    if not found:
        raise _not_good()
    values["set_hash"] = await hash_password(wanted.new_password)
    done = await audit.write(state.database, _reset_password(), values, Event("password_reset", caller))
    if not done:
        raise _not_good()
    notify(state, messages.password_changed(found[0].now, found[0].name, found[0].at, caller.address))
    return UUID(str(done[0].user_id))


def _not_good() -> Invalid:
    return Invalid.at("body", "token", msg="not one that was mailed, used already, or too old; ask for another")


@statement
def _add(purpose: str) -> Query:
    """Takes the place of the one before it."""
    wanted = [USERS.c.email_key == bindparam("in_key", type_=Text()), USERS.c.disabled_at.is_(None)]
    if purpose == "verify":
        wanted.append(USERS.c.is_verified.is_(False))
    to = bindparam("in_email", type_=Text()) if purpose == "change" else USERS.c.email
    user = select(USERS.c.id, USERS.c.name, to.label("email")).where(*wanted).cte("user")
    expires = CLOCK + bindparam("in_minutes") * MINUTE
    kind = bindparam("in_purpose", type_=Text())
    row = select(user.c.id, kind, bindparam("new_digest", type_=LargeBinary()), user.c.email, expires)
    names = ["user_id", "purpose", "digest", "email", "expires_at"]
    new = Upsert(CONFIRMATIONS).from_select(names, row, include_defaults=False)
    newer = {name: new.excluded[name] for name in names[2:]}
    added = new.on_conflict_do_update(index_elements=names[:2], set_=newer).cte("added")
    return select(user.c.email, user.c.name).add_cte(added).execution_options(crosses_users=NOT_YET)


def _good() -> list[Any]:
    return [
        CONFIRMATIONS.c.digest == bindparam("in_digest", type_=LargeBinary()),
        CONFIRMATIONS.c.purpose == func.any(bindparam("in_purposes", type_=ARRAY(Text()))),
        CONFIRMATIONS.c.expires_at > CLOCK,
    ]


@statement
def _pending() -> Query:
    account = and_(USERS.c.id == CONFIRMATIONS.c.user_id, USERS.c.disabled_at.is_(None))
    shown = CONFIRMATIONS.c.purpose, CONFIRMATIONS.c.email, USERS.c.email.label("now"), USERS.c.name, CLOCK.label("at")
    return select(*shown).select_from(CONFIRMATIONS.join(USERS, account)).where(*_good())


def _used() -> CTE:
    """One winner: it is gone afterwards."""
    shown = CONFIRMATIONS.c.user_id, CONFIRMATIONS.c.email, CONFIRMATIONS.c.digest
    return delete(CONFIRMATIONS).where(*_good()).returning(*shown).cte("used")


def taking_back(owner: ColumnElement[UUID], which: ColumnElement[bool] | None = None) -> CTE:
    """Part of a statement: the owner's mailed tokens are good no more, all or some."""
    these = [CONFIRMATIONS.c.user_id == owner, *([] if which is None else [which])]
    return delete(CONFIRMATIONS).where(*these).cte("taken_back")


def _changed(used: CTE, new: Mapping[str, Any], *which: ColumnElement[bool]) -> CTE:
    this = update(USERS).where(USERS.c.id == used.c.user_id, *which).values({**new, "updated_at": CLOCK})
    return this.returning(USERS.c.id.label("user_id")).cte("changed")


@statement
def _confirm_email() -> Query:
    used = _used()
    new = {
        "email": used.c.email,
        "email_key": bindparam("set_email_key", type_=Text()),
        "is_verified": True,
    }
    changed = _changed(used, new, USERS.c.email == bindparam("was_email", type_=Text()))
    # What was mailed to the former address opens nothing any more.
    others = taking_back(changed.c.user_id, CONFIRMATIONS.c.digest != used.c.digest)
    done = select(changed.c.user_id).add_cte(others, noted(changed, changed.c.user_id))
    return done.execution_options(crosses_users=NOT_YET)


@statement
def _reset_password() -> Query:
    used = _used()
    # Whoever reads the address has it: a mail to it was answered.
    new = {
        "password_hash": bindparam("set_hash", type_=Text()),
        "is_verified": USERS.c.is_verified | (USERS.c.email == used.c.email),
    }
    changed = _changed(used, new, USERS.c.email == used.c.email)
    theirs = changed.c.user_id
    revoked = delete(TOKENS).where(TOKENS.c.user_id == theirs).cte("revoked")
    unproven = select(USERS.c.id).where(USERS.c.id == theirs, USERS.c.is_verified.is_(False)).scalar_subquery()
    factor = delete(FACTORS).where(FACTORS.c.user_id == unproven).cte("factor")
    codes = delete(CODES).where(CODES.c.user_id == unproven).cte("codes")
    unlinked = delete(IDENTITIES).where(IDENTITIES.c.user_id == theirs).cte("unlinked")
    ended = (
        ending(theirs),
        revoked,
        unlinked,
        switching_off(theirs, "password_reset"),
        factor,
        codes,
        taking_back(theirs, CONFIRMATIONS.c.digest != used.c.digest),
    )
    done = select(theirs).add_cte(*ended, noted(changed, theirs))
    return done.execution_options(crosses_users=NOT_YET)
