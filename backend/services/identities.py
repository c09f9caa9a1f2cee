"""Who somebody is elsewhere: accounts that are signed in to through an OpenID provider.

An account is never found by its address: a provider that is careless about addresses would open it. Whoever has an
account already signs in to it and links the other identity.
"""

import hmac
import json
from contextlib import suppress
from typing import Final
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import Text, Uuid, bindparam, delete, exists, insert, or_, select, true

from backend.errors import Conflict, NotAllowed, NotFound, NotSignedIn
from backend.outside import Identity
from backend.schemas.outside import ComeBack, OutsideBegin
from backend.schemas.scalars import normal_email
from backend.scope import Changing, Scope
from backend.security.opaque import new_id
from backend.security.sealing import Broken
from backend.services import audit, sign_in, throttles
from backend.services.accounts import IDENTITIES, USERS, open_account
from backend.services.audit import Caller, Event, noted
from backend.services.sessions import SignedIn
from backend.services.throttles import Try
from backend.sql import Row
from backend.state import State
from backend.statements import Query, as_json, iso, statement, text_of
from backend.wall import OWNER

FLOW_SECONDS: Final = 600
MOST: Final = 20
_FLOW: Final = "way to a provider and back"


async def begin(state: State, provider: str, wanted: OutsideBegin, caller: Caller) -> tuple[str, str]:
    """Where to send somebody, and the sealed flow that their client brings back. Raises TooMany."""
    await throttles.take(state.database, Try(throttles.OUTSIDE, (caller.address,)))
    begun = await state.outside.begin(provider, wanted.redirect_uri)
    kept = [provider, wanted.redirect_uri, begun.state, begun.nonce, begun.code_verifier]
    return begun.authorization_url, state.seal.close(_FLOW, json.dumps(kept).encode())


async def finish(state: State, provider: str, back: ComeBack, caller: Caller) -> SignedIn:
    """Signs in to the account of that identity, or opens one. Raises NotSignedIn, NotAllowed, Conflict, TooMany."""
    identity = await _come_back(state, provider, back, caller)
    whose = {"in_issuer": identity.issuer, "in_subject": identity.subject}
    found = await state.database.read(_user_of(), whose)
    if not found:
        await _open(state, provider, identity)
        found = await state.database.read(_user_of(), whose)
    if not found:
        raise Conflict("This address has an account. Sign in to it, and link the other identity there.")
    return await sign_in.begin(state, found[0], found[0].password_hash, caller, back.device, provider)


async def link(mine: Scope, state: State, provider: str, back: ComeBack, caller: Caller) -> tuple[UUID, str]:
    """Its id, and JSON. Raises Conflict when it is somebody's already."""
    identity = await _come_back(state, provider, back, caller)
    values = {f"new_{name}": value for name, value in _row_of(provider, identity).items()}
    event = Event("identity_linked", caller, {"provider": provider})
    try:
        rows = await audit.write(mine, _link(), values, event)
    except UniqueViolation:
        raise Conflict("This identity is linked already, to this account or another.") from None
    if not rows:
        raise Conflict(f"There are {MOST} identities already. Unlink one first.")
    return rows[0].id, str(rows[0].body)


async def unlink(mine: Scope, identity_id: UUID, caller: Caller) -> None:
    """Raises NotFound, and Conflict when there would be no way left to sign in."""
    event = Event("identity_unlinked", caller, {"identity": str(identity_id)})

    async def work(changing: Changing) -> bool:
        """Behind the lock: two at once would each leave the other's as the way in."""
        return bool(await changing.run(_unlink(), {"in_identity": identity_id, **event.values}))

    if await mine.change(work, at_most=1):
        event.log(mine.user_id)
        return
    if await mine.read(_one(), {"in_identity": identity_id}):
        raise Conflict("It is the only way to sign in. Choose a password first (`POST /v1/auth/password-reset`).")
    raise NotFound("There is no such identity.")


async def mine_now(mine: Scope) -> list[str]:
    """JSON, one an identity, oldest first."""
    return [row.body for row in await mine.read(_listed(), {})]


async def _come_back(state: State, provider: str, back: ComeBack, caller: Caller) -> Identity:
    """The flow was begun here, for this provider, and by whoever comes back (RFC 9700, section 2.1)."""
    await throttles.take(state.database, Try(throttles.OUTSIDE, (caller.address,)))
    try:
        kept = json.loads(state.seal.open(_FLOW, back.flow, seconds=FLOW_SECONDS))
    except Broken:
        raise _not_begun_here() from None
    begun_with, redirect_uri, begun_state, nonce, verifier = kept
    if begun_with != provider or not hmac.compare_digest(begun_state.encode(), back.state.encode()):
        raise _not_begun_here()
    return await state.outside.finish(
        provider, redirect_uri, back.code, code_verifier=verifier, nonce=nonce, iss=back.iss
    )


def _not_begun_here() -> NotSignedIn:
    return NotSignedIn("This sign-in was not begun here, or too long ago. Begin again.")


async def _open(state: State, provider: str, identity: Identity) -> None:
    """Nothing when the address has an account, which another request of theirs may just have opened."""
    if not identity.email or not identity.email_verified:
        raise NotAllowed("The provider does not vouch for your address, and an account needs one.")
    try:
        email = normal_email(identity.email)
    except ValueError:
        raise NotAllowed("The provider gave an address that is none.") from None
    name = (identity.name or email.partition("@")[0])[:100]
    with suppress(UniqueViolation):
        row = _row_of(provider, identity)
        await open_account(state.database, email, name, None, is_verified=True, identity=row)


def _row_of(provider: str, identity: Identity) -> dict[str, object]:
    return {
        "identity_id": new_id(),
        "issuer": identity.issuer,
        "subject": identity.subject,
        "provider": provider,
        "identity_email": identity.email if identity.email_verified else None,
    }


@statement
def _user_of() -> Query:
    this = (
        IDENTITIES.c.issuer == bindparam("in_issuer", type_=Text()),
        IDENTITIES.c.subject == bindparam("in_subject", type_=Text()),
    )
    return sign_in.known_user().where(USERS.c.id == IDENTITIES.c.user_id, *this)


@statement
def _link() -> Query:
    others = IDENTITIES.alias("others")
    few = select(others.c.id).where(others.c.user_id == OWNER).offset(MOST - 1).exists()
    names = ("issuer", "subject", "provider")
    row = select(
        OWNER,
        bindparam("new_identity_id", type_=Uuid()),
        bindparam("new_identity_email", type_=Text()),
        *(bindparam(f"new_{name}", type_=Text()) for name in names),
    ).where(~few)
    new = insert(IDENTITIES).from_select(["user_id", "id", "email", *names], row, include_defaults=False)
    made = new.returning(*IDENTITIES.c).cte("made")
    item = as_json(made, _shown(made.c))
    linked = select(made.c.user_id, made.c.id, text_of(item)).select_from(made.join(item, true()))
    return linked.where(made.c.user_id == OWNER).add_cte(noted(made, OWNER))


@statement
def _unlink() -> Query:
    others = IDENTITIES.alias("others")
    another = exists().where(others.c.user_id == OWNER, others.c.id != bindparam("in_identity", type_=Uuid()))
    password = exists().where(USERS.c.id == OWNER, USERS.c.password_hash.is_not(None))
    this = IDENTITIES.c.id == bindparam("in_identity", type_=Uuid()), IDENTITIES.c.user_id == OWNER
    gone = delete(IDENTITIES).where(*this, or_(another, password)).returning(IDENTITIES.c.user_id).cte("gone")
    return select(gone.c.user_id).add_cte(noted(gone, OWNER))


@statement
def _one() -> Query:
    this = IDENTITIES.c.id == bindparam("in_identity", type_=Uuid()), IDENTITIES.c.user_id == OWNER
    return select(IDENTITIES.c.id).where(*this)


@statement
def _listed() -> Query:
    theirs = select(*IDENTITIES.c).where(IDENTITIES.c.user_id == OWNER).subquery("theirs")
    item = as_json(theirs, _shown(theirs.c))
    return select(text_of(item)).select_from(theirs.join(item, true())).order_by(theirs.c.created_at, theirs.c.id)


def _shown(row: Row) -> list[Row]:
    return [row.id, row.provider, row.issuer, row.email, iso(row.created_at)]
