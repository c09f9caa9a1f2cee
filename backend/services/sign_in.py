"""Signing in: the throttle, the password, and what the trail keeps of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from sqlalchemy import Text, Update, Uuid, and_, bindparam, select, update

from backend.errors import NotSignedIn, SecondFactorNeeded, Unavailable
from backend.rules import messages
from backend.schemas.accounts import SecondFactorCode, TokenForm
from backend.security.opaque import digest
from backend.security.passwords import MOST_WAITING, verify_password
from backend.services import audit, challenges, second_factors, sessions, throttles
from backend.services.accounts import USERS, email_key
from backend.services.audit import Caller, Event, noted
from backend.services.challenges import FirstFactor
from backend.services.confirmations import notify
from backend.services.second_factors import FACTORS
from backend.services.sessions import NOT_YET, SignedIn
from backend.services.throttles import Try
from backend.sql import Row
from backend.state import State
from backend.statements import CLOCK, Query, statement

MOST_OF_AN_ADDRESS: Final = 60  # sign-ins that wait, of the 100 places that there are


async def with_password(state: State, form: TokenForm, caller: Caller) -> SignedIn:
    """Raises NotSignedIn, in the same words and after the same time whatever was wrong, TooMany, and Unavailable.

    What a failure leaves in the trail is written when the answer is on its way: for an address without an
    account there is nothing to write, and the time would tell.
    """
    database, key = state.database, email_key(form.username)
    tries = Try(throttles.ADDRESS, (caller.address,)), Try(throttles.SIGN_IN, (key, caller.address))
    async with _turn(state, caller):
        await throttles.take(database, *tries)
        found = await database.read(_credentials(), {"in_key": key})
        fits, better = await verify_password(form.password, found[0].password_hash if found else None)
        if not fits:
            state.later.start(_failed(state, key, Event("sign_in_failed", caller)))
            raise NotSignedIn("The address or the password is wrong.")
        user, hashed = found[0], found[0].password_hash
        await throttles.give_back(database, *tries)
        if better:
            await database.write(_rehash(), {"in_user": user.id, "set_hash": better, "was_hash": hashed})
            hashed = better
        return await begin(state, user, hashed, caller, form.device, "password")


@asynccontextmanager
async def _turn(state: State, caller: Caller) -> AsyncIterator[None]:
    """A few sign-ins at a time, so that a burst leaves the database to the others; the rest wait here.

    One address has a part of the places that wait. Raises Unavailable when they are taken.
    """
    waiting = state.signing_in
    if waiting[caller.address] >= MOST_OF_AN_ADDRESS or waiting.total() >= MOST_WAITING:
        raise Unavailable("Too many people sign in at once. Try again.", retry_after=2)
    waiting[caller.address] += 1
    try:
        async with state.sign_ins:
            yield
    finally:
        waiting[caller.address] -= 1
        if not waiting[caller.address]:
            del waiting[caller.address]


async def with_code(state: State, sent: SecondFactorCode, caller: Caller) -> SignedIn:
    """After the challenge. Raises NotSignedIn and TooMany."""
    first = challenges.challenged(state.seal, sent.challenge)
    found = await state.database.read(_by_id(), {"in_user": first.user_id})
    if not found or _stamp(found[0].password_hash) != first.stamp:
        raise NotSignedIn("The account was changed meanwhile. Sign in again.")
    await second_factors.take_code(state, first.user_id, sent.code, caller)
    return await _begin(state, found[0], found[0].password_hash, caller, first.device, f"{first.how} and code")


async def begin(state: State, user: Row, hashed: str | None, caller: Caller, device: str, how: str) -> SignedIn:
    """For whoever has shown the first factor; `hashed` is the password's hash of then.

    Raises SecondFactorNeeded where there is another.
    """
    if user.has_second_factor and user.disabled_at is None:
        first = FirstFactor(user.id, how, device, _stamp(hashed))
        raise SecondFactorNeeded(challenges.challenge(state.seal, first))
    return await _begin(state, user, hashed, caller, device, how)


def _stamp(hashed: str | None) -> str:
    """Another one after the password was changed."""
    return digest(hashed or "").hex()


async def _begin(state: State, user: Row, hashed: str | None, caller: Caller, device: str, how: str) -> SignedIn:
    """An account that was to end is kept."""
    if user.disabled_at is not None:
        raise NotSignedIn("This account was disabled by those who run this server.")
    lifetime = timedelta(days=state.settings.refresh_max_days)
    if user.ends_at is not None:
        kept = await audit.write(state.database, _keep(), {"in_user": user.id}, Event("account_kept", caller))
        if not kept:
            raise NotSignedIn("The account is gone.")
        notify(state, messages.account_kept(user.email, user.name))
    return await sessions.begin(state.database, user.id, lifetime, caller, device=device, how=how, password_hash=hashed)


async def _failed(state: State, key: str, event: Event) -> None:
    rows = await audit.write(state.database, _note_failure(), {"in_key": key}, event)
    if not rows:
        event.log(None)


@statement
def _credentials() -> Query:
    return known_user().where(USERS.c.email_key == bindparam("in_key", type_=Text()))


@statement
def _by_id() -> Query:
    return known_user().where(USERS.c.id == bindparam("in_user", type_=Uuid()))


def known_user() -> Query:
    """What `begin` has to know of whoever signs in."""
    on = and_(FACTORS.c.user_id == USERS.c.id, FACTORS.c.confirmed_at.is_not(None))
    shown = [USERS.c[name] for name in ("id", "email", "name", "password_hash", "disabled_at", "ends_at")]
    factor = FACTORS.c.confirmed_at.is_not(None).label("has_second_factor")
    return select(*shown, factor).select_from(USERS.outerjoin(FACTORS, on))


@statement
def _rehash() -> Update:
    this = (
        USERS.c.id == bindparam("in_user", type_=Uuid()),
        USERS.c.password_hash == bindparam("was_hash", type_=Text()),
    )
    return update(USERS).where(*this).values(password_hash=bindparam("set_hash", type_=Text()))


@statement
def _keep() -> Query:
    this = USERS.c.id == bindparam("in_user", type_=Uuid()), USERS.c.ends_at > CLOCK
    kept = update(USERS).where(*this).values(ends_at=None).returning(USERS.c.id.label("user_id")).cte("kept")
    known = select(kept.c.user_id).add_cte(noted(kept, kept.c.user_id))
    return known.execution_options(crosses_users=NOT_YET)


@statement
def _note_failure() -> Query:
    wanted = USERS.c.email_key == bindparam("in_key", type_=Text())
    tried = select(USERS.c.id.label("user_id")).where(wanted).cte("tried")
    known = select(tried.c.user_id).add_cte(noted(tried, tried.c.user_id))
    return known.execution_options(crosses_users=NOT_YET)
