"""What somebody changes about their own account, and tells them by mail where it could be somebody else."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Interval, Text, Uuid, bindparam, select, true, update

from backend.errors import NotAllowed
from backend.rules import messages
from backend.schemas.accounts import AccountPatch, PasswordChange, Register
from backend.scope import Scope, account_gone
from backend.security.passwords import hash_password, verify_password
from backend.services import audit, confirmations, relearning, throttles
from backend.services.accounts import USERS, contact_of, email_key, me, open_account, shown
from backend.services.audit import Caller, Event, noted
from backend.services.confirmations import no_mail, notify, taking_back
from backend.services.recognition import REMEMBERED_SECONDS
from backend.services.sessions import SESSIONS, ending
from backend.services.throttles import Try
from backend.state import State
from backend.statements import CLOCK, Query, as_json, iso, statement, text_of
from backend.wall import OWNER


async def register(state: State, wanted: Register, caller: Caller) -> str:
    """The account as JSON; a token to verify its address is mailed. A taken address is the database's to refuse."""
    hashed = await hash_password(wanted.password)
    body = await open_account(state.database, wanted.email, wanted.name, hashed, wanted.timezone, wanted.language)
    Event("registered", caller).log(UUID(json.loads(body)["id"]))
    if state.mailer.offered:
        state.later.start(confirmations.send(state, "verify", email_key(wanted.email)))
    return body


async def edit(mine: Scope, state: State, patch: AccountPatch, caller: Caller) -> str:
    """The account as JSON. With `language` sent, all tasks are of it when this returns, whatever they were before."""
    sent = patch.sent()
    if not sent:
        return await me(mine)
    if "language" in sent:
        await throttles.take(state.database, Try(throttles.LANGUAGE, (str(mine.user_id),)))
    values = {f"set_{name}": value for name, value in sent.items()}
    event = Event("account_changed", caller, {"fields": sorted(sent)})
    rows = await audit.write(mine, _edit(frozenset(sent)), values, event)
    if not rows:
        raise account_gone()
    if "language" in sent:
        await relearning.all_texts(mine, sent["language"])
        # Once more, for what another worker made meanwhile, which believed the former language a little longer.
        state.later.start(relearning.all_texts(mine, sent["language"]), after=REMEMBERED_SECONDS + 1)
    return str(rows[0].body)


async def _tell_of_password(mine: Scope, state: State, caller: Caller) -> None:
    contact = await contact_of(mine)
    if contact.is_verified:  # else it may be somebody's who knows of nothing
        notify(state, messages.password_changed(contact.email, contact.name, datetime.now(UTC), caller.address))


async def tell_of_second_factor(mine: Scope, state: State, *, on: bool) -> None:
    contact = await contact_of(mine)
    if contact.is_verified:
        notify(state, messages.second_factor_changed(contact.email, contact.name, on))


async def change_email(mine: Scope, state: State, email: str, caller: Caller) -> None:
    """Nothing changes before the new address is confirmed. Raises NotOffered and TooMany."""
    if not state.mailer.offered:
        raise no_mail()
    tries = Try(throttles.MAIL_ADDRESS, (caller.address,)), Try(throttles.MAIL, (str(mine.user_id),))
    await throttles.take(state.database, *tries)
    contact = await contact_of(mine)
    await audit.write(mine, audit.note(), {}, Event("email_change_asked", caller))
    state.later.start(confirmations.send(state, "change", contact.email_key, email))


async def end(mine: Scope, state: State, caller: Caller) -> str:
    """When it will end, as JSON: its sessions end now, and its tokens are refused until then."""
    grace = timedelta(days=state.settings.account_grace_days)
    rows = await audit.write(mine, _end(), {"in_grace": grace}, Event("account_ending", caller))
    if not rows:
        raise account_gone()
    notify(state, messages.account_ending(rows[0].email, rows[0].name, rows[0].ends_at))
    return str(rows[0].body)


async def change_password(mine: Scope, state: State, wanted: PasswordChange, caller: Caller) -> None:
    """The other sessions end with it. Raises NotAllowed when the current password is another, and TooMany."""
    tried = Try(throttles.PASSWORD, (str(mine.user_id),))
    await throttles.take(state.database, tried)
    found = await mine.read(_password(), {})
    fits, _ = await verify_password(wanted.current_password, found[0].password_hash if found else None)
    if not fits:
        await audit.write(mine, audit.note(), {}, Event("password_change_failed", caller))
        raise NotAllowed("The current password is wrong.")
    values = {
        "set_hash": await hash_password(wanted.new_password),
        "was_hash": found[0].password_hash,
        "in_session": mine.session_id,
    }
    if not await audit.write(mine, _change_password(), values, Event("password_changed", caller)):
        raise NotAllowed("The password was changed meanwhile.")
    state.later.start(throttles.give_back(state.database, tried))
    state.later.start(_tell_of_password(mine, state, caller))


@statement
def _edit(sent: frozenset[str]) -> Query:
    new: dict[str, Any] = {name: bindparam(f"set_{name}", type_=USERS.c[name].type) for name in sorted(sent)}
    this = update(USERS).where(USERS.c.id == OWNER).values({**new, "updated_at": CLOCK})
    changed = this.returning(*USERS.c).cte("changed")
    item = as_json(changed, shown(changed.c))
    edited = select(changed.c.id.label("user_id"), text_of(item)).select_from(changed.join(item, true()))
    return edited.add_cte(noted(changed, OWNER))


@statement
def _end() -> Query:
    this = update(USERS).where(USERS.c.id == OWNER)
    ending_at = this.values(ends_at=CLOCK + bindparam("in_grace", type_=Interval()), updated_at=CLOCK)
    changed = ending_at.returning(USERS.c.id.label("user_id"), USERS.c.email, USERS.c.name, USERS.c.ends_at)
    ended = changed.cte("changed")
    item = as_json(ended, [iso(ended.c.ends_at)])
    columns = ended.c.user_id, ended.c.email, ended.c.name, ended.c.ends_at, text_of(item)
    done = select(*columns).select_from(ended.join(item, true()))
    return done.add_cte(ending(ended.c.user_id), noted(ended, OWNER))


@statement
def _password() -> Query:
    return select(USERS.c.password_hash).where(USERS.c.id == OWNER)


@statement
def _change_password() -> Query:
    """Only if it is still the one that was verified."""
    this = USERS.c.id == OWNER, USERS.c.password_hash == bindparam("was_hash", type_=Text())
    new = {"password_hash": bindparam("set_hash", type_=Text()), "updated_at": CLOCK}
    changed = update(USERS).where(*this).values(new).returning(USERS.c.id.label("user_id")).cte("changed")
    others = ending(changed.c.user_id, SESSIONS.c.id != bindparam("in_session", type_=Uuid()))
    return select(changed.c.user_id).add_cte(others, taking_back(changed.c.user_id), noted(changed, OWNER))
