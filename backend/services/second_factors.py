"""Codes of an authenticator app beside the password (TOTP, RFC 6238), and recovery codes in their place."""

import hmac
import logging
import time
from typing import Any, Final
from uuid import UUID

import pyotp
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    LargeBinary,
    Text,
    Update,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import Insert as Upsert

from backend.db import Database
from backend.errors import Conflict, NotAllowed, NotFound, NotSignedIn, Unavailable
from backend.models import RecoveryCode, SecondFactor, table
from backend.scope import Scope
from backend.security.opaque import digest, normal_recovery_code, recovery_code
from backend.security.sealing import Broken, Seal
from backend.services import audit, throttles
from backend.services.accounts import USERS, email_key
from backend.services.audit import Caller, Event, noted
from backend.services.sessions import NOT_YET
from backend.services.throttles import Try
from backend.state import State
from backend.statements import CLOCK, Query, as_json, iso, statement, text_of
from backend.wall import OWNER

log = logging.getLogger("tend")

FACTORS, CODES = table(SecondFactor), table(RecoveryCode)
STEP_SECONDS: Final = 30
RECOVERY_CODES: Final = 10
PURPOSE: Final = "second factor"


async def begin(mine: Scope, seal: Seal, email: str) -> tuple[str, str]:
    """A new secret, and its address for a QR code. It counts when `confirm` has seen a code of it.

    Raises Conflict when there is one that counts.
    """
    secret = pyotp.random_base32()
    if not await mine.write(_begin(), {"new_secret": seal.close(PURPOSE, secret.encode())}):
        raise Conflict("A second factor is on. Turn it off before another one is begun.")
    return secret, pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name="Tend")


async def confirm(mine: Scope, state: State, code: str, caller: Caller) -> list[str]:
    """Turns it on. Recovery codes, which are nowhere kept. Raises NotAllowed for a wrong code, TooMany, Conflict."""
    tried = Try(throttles.CODE, (str(mine.user_id),))
    await throttles.take(state.database, tried)
    found = await mine.read(_secret(), {})
    if not found or found[0].confirmed_at is not None:
        raise Conflict("There is no second factor to confirm. Begin one first.")
    step = _step_of(_opened(state.seal, found[0].secret), code)
    if step is None:
        raise NotAllowed("The code is wrong. Is the clock of your phone right?")
    codes = [recovery_code() for _ in range(RECOVERY_CODES)]
    values = {"set_step": step, "was_secret": found[0].secret, "codes": [digest(each) for each in codes]}
    if not await audit.write(mine, _confirm(), values, Event("second_factor_on", caller)):
        raise Conflict("There is no second factor to confirm. Begin one first.")
    state.later.start(throttles.give_back(state.database, tried))  # it is on: nothing may keep the codes back
    return codes


async def renew_codes(mine: Scope, caller: Caller) -> list[str]:
    """In place of those before. Raises NotFound when no second factor is on."""
    codes = [recovery_code() for _ in range(RECOVERY_CODES)]
    values = {"codes": [digest(each) for each in codes]}
    if not await audit.write(mine, _renew_codes(), values, Event("recovery_codes_renewed", caller)):
        raise NotFound("No second factor is on.")
    return codes


async def turn_off(mine: Scope, caller: Caller) -> None:
    """Raises NotFound when none is on."""
    if not await audit.write(mine, _turn_off(), {}, Event("second_factor_off", caller)):
        raise NotFound("No second factor is on.")


async def turn_off_for(database: Database, email: str) -> bool:
    """By the operator, who has made sure of who asks. False when no such account has one."""
    event = Event("second_factor_off", Caller("", "operator"))
    return bool(await audit.write(database, _turn_off_for(), {"in_key": email_key(email)}, event))


async def shown(mine: Scope) -> str:
    """Whether it is on, since when, and how many recovery codes are left, as JSON."""
    rows = await mine.read(_shown(), {})
    return str(rows[0].body)


async def take_code(state: State, user_id: UUID, code: str, caller: Caller) -> None:
    """A code of the app, once, or a recovery code, once. Raises NotSignedIn, and TooMany."""
    tries = Try(throttles.CODE_DAY, (str(user_id),)), Try(throttles.CODE, (str(user_id),))
    await throttles.take(state.database, *tries)
    if recovery := normal_recovery_code(code):
        values = {"in_user": user_id, "in_digest": digest(recovery)}
        event = Event("recovery_code_used", caller)
        used = bool(await audit.write(state.database, _use_recovery_code(), values, event))
    else:
        used = await _use_code(state, user_id, code)
    if not used:
        await audit.write(state.database, _note_failure(), {"in_user": user_id}, Event("second_factor_failed", caller))
        raise NotSignedIn("The code is wrong, or was used already.")
    state.later.start(throttles.give_back(state.database, *tries))


async def _use_code(state: State, user_id: UUID, code: str) -> bool:
    found = await state.database.read(_secret_of(), {"in_user": user_id})
    step = _step_of(_opened(state.seal, found[0].secret), code) if found else None
    if step is None:
        return False
    values = {"in_user": user_id, "set_step": step, "was_secret": found[0].secret}
    return bool(await state.database.write(_use_step(), values))


async def reseal(database: Database, seal: Seal) -> int:
    """All secrets, under the newest JWT_SECRET; their number. Raises Broken."""
    found = await database.read(_all(), {})
    for row in found:
        values = {"in_user": row.user_id, "was_secret": row.secret, "set_secret": seal.again(row.secret)}
        await database.write(_reseal(), values)
    return len(found)


def _opened(seal: Seal, secret: str) -> str:
    try:
        return seal.open(PURPOSE, secret).decode()
    except Broken:
        log.error("A second factor was sealed under another JWT_SECRET: set JWT_SECRET_FORMER, and `tend keys reseal`.")
        raise Unavailable("Codes cannot be checked at the moment.", retry_after=60) from None


def _step_of(secret: str, code: str) -> int | None:
    """The step whose code it is: that of now, the one before, or the one after (RFC 6238, section 5.2)."""
    typed, now = code.replace(" ", ""), int(time.time()) // STEP_SECONDS
    totp = pyotp.TOTP(secret)
    for step in (now, now - 1, now + 1):
        if hmac.compare_digest(totp.at(step * STEP_SECONDS).encode(), typed.encode()):
            return step
    return None


@statement
def _begin() -> Insert:
    row = select(OWNER, bindparam("new_secret", type_=Text()))
    new = Upsert(FACTORS).from_select(["user_id", "secret"], row, include_defaults=False)
    begun = new.on_conflict_do_update(
        index_elements=["user_id"],
        set_={"secret": new.excluded.secret, "last_step": 0, "created_at": CLOCK},
        where=FACTORS.c.confirmed_at.is_(None),
    )
    return begun.returning(FACTORS.c.user_id)


@statement
def _secret() -> Query:
    return select(FACTORS.c.secret, FACTORS.c.confirmed_at).where(FACTORS.c.user_id == OWNER)


@statement
def _secret_of() -> Query:
    this = FACTORS.c.user_id == bindparam("in_user", type_=Uuid()), FACTORS.c.confirmed_at.is_not(None)
    return select(FACTORS.c.secret).where(*this)


@statement
def _use_step() -> Query:
    """No code twice, whoever comes first."""
    step = bindparam("set_step", type_=BigInteger())
    this = FACTORS.c.user_id == bindparam("in_user", type_=Uuid()), FACTORS.c.last_step < step, _same_secret()
    used = update(FACTORS).where(*this).values(last_step=step).returning(FACTORS.c.user_id).cte("used")
    return select(used.c.user_id)


@statement
def _use_recovery_code() -> Query:
    this = (
        CODES.c.user_id == bindparam("in_user", type_=Uuid()),
        CODES.c.digest == bindparam("in_digest", type_=LargeBinary()),
    )
    used = delete(CODES).where(*this).returning(CODES.c.user_id).cte("used")
    known = select(used.c.user_id).add_cte(noted(used, used.c.user_id))
    return known.execution_options(crosses_users=NOT_YET)


@statement
def _note_failure() -> Query:
    this = FACTORS.c.user_id == bindparam("in_user", type_=Uuid())
    tried = select(FACTORS.c.user_id).where(this).cte("tried")
    known = select(tried.c.user_id).add_cte(noted(tried, tried.c.user_id))
    return known.execution_options(crosses_users=NOT_YET)


def _same_secret() -> ColumnElement[bool]:
    """Still the one whose code was seen."""
    return FACTORS.c.secret == bindparam("was_secret", type_=Text())


def _with_new_codes(source: Any) -> Query:
    """`source` gives the owner; its recovery codes take the place of those before."""
    new = (
        func.unnest(bindparam("codes", type_=ARRAY(LargeBinary()))).table_valued("digest", name="new").render_derived()
    )
    former = delete(CODES).where(CODES.c.user_id == source.c.user_id).cte("former")
    rows = select(source.c.user_id, new.c.digest).select_from(source.join(new, true()))
    added = insert(CODES).from_select(["user_id", "digest"], rows, include_defaults=False).cte("added")
    return select(source.c.user_id).add_cte(former, added, noted(source, OWNER))


@statement
def _confirm() -> Query:
    step = bindparam("set_step", type_=BigInteger())
    this = FACTORS.c.user_id == OWNER, FACTORS.c.confirmed_at.is_(None), _same_secret()
    new = {"confirmed_at": CLOCK, "last_step": step}
    return _with_new_codes(update(FACTORS).where(*this).values(new).returning(FACTORS.c.user_id).cte("confirmed"))


@statement
def _renew_codes() -> Query:
    on = select(FACTORS.c.user_id).where(FACTORS.c.user_id == OWNER, FACTORS.c.confirmed_at.is_not(None))
    return _with_new_codes(on.cte("on_now"))


@statement
def _turn_off() -> Query:
    this = FACTORS.c.user_id == OWNER, FACTORS.c.confirmed_at.is_not(None)
    off = delete(FACTORS).where(*this).returning(FACTORS.c.user_id).cte("turned_off")
    codes = delete(CODES).where(CODES.c.user_id == off.c.user_id).cte("codes")
    return select(off.c.user_id).add_cte(codes, noted(off, OWNER))


@statement
def _turn_off_for() -> Query:
    whose = select(USERS.c.id).where(USERS.c.email_key == bindparam("in_key", type_=Text())).scalar_subquery()
    off = delete(FACTORS).where(FACTORS.c.user_id == whose).returning(FACTORS.c.user_id).cte("turned_off")
    codes = delete(CODES).where(CODES.c.user_id == off.c.user_id).cte("codes")
    done = select(off.c.user_id).add_cte(codes, noted(off, off.c.user_id))
    return done.execution_options(crosses_users="the operator is nobody's owner")


@statement
def _all() -> Query:
    return select(FACTORS.c.user_id, FACTORS.c.secret)


@statement
def _reseal() -> Update:
    this = FACTORS.c.user_id == bindparam("in_user", type_=Uuid()), _same_secret()
    return update(FACTORS).where(*this).values(secret=bindparam("set_secret", type_=Text()))


@statement
def _shown() -> Query:
    on = select(FACTORS.c.confirmed_at).where(FACTORS.c.user_id == OWNER).scalar_subquery()
    left = select(func.count()).where(CODES.c.user_id == OWNER).scalar_subquery()
    row = select(on.label("since"), left.label("recovery_codes_left")).subquery("this")
    item = as_json(row, [row.c.since.is_not(None).label("is_on"), iso(row.c.since), row.c.recovery_codes_left])
    return select(text_of(item)).select_from(row.join(item, true()))
