"""The ring of signing keys: kept sealed in the database, read by every worker, turned by `tend keys`."""

import logging
import time
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Delete,
    Insert,
    Integer,
    Text,
    Update,
    bindparam,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import Insert as Upsert

from backend.db import Database
from backend.errors import Unavailable
from backend.models import SigningKey, table
from backend.security.opaque import kid_of
from backend.security.sealing import Broken, Seal
from backend.security.tokens import CLOCK_SKEW, Algorithm, Key, Keys, new_secret
from backend.services import second_factors, webhooks
from backend.services.sessions import epoch
from backend.state import State
from backend.statements import CLOCK, SECOND, Query, statement

KEYS = table(SigningKey)
FRESH_SECONDS: Final = 10  # that a worker believes its ring
PUBLISHED_SECONDS: Final = (
    120  # that a new key is shown before it signs: others keep /.well-known/jwks.json for a minute
)
SKEW_SECONDS: Final = 60  # between the clocks of the database and of a worker
PURPOSE: Final = "signing key"

log = logging.getLogger("tend")


class Listed(NamedTuple):
    algorithm: str
    number: int
    kid: str
    signs_from: datetime
    former_until: datetime


async def current(state: State) -> Keys:
    """The ring as it was at most 10 seconds ago: one small statement a worker in that time, when anybody asks.

    Raises Unavailable, also when the configured secrets do not open it.
    """
    if time.monotonic() - state.ring_read_at > FRESH_SECONDS:
        async with state.ring_turn:  # nobody goes on with a ring that was not read yet
            if time.monotonic() - state.ring_read_at > FRESH_SECONDS:
                state.ring_opens = await _opens(state)
                state.ring_read_at = time.monotonic()
    if not state.ring_opens:
        raise Unavailable("The signing keys cannot be opened; `tend doctor` says why.", retry_after=FRESH_SECONDS)
    return state.keys


async def _opens(state: State) -> bool:
    try:
        await read(state.database, state.seal, state.keys)
    except Broken:
        log.error(
            "The signing keys were sealed under another JWT_SECRET: nobody can sign in. Set JWT_SECRET_FORMER to the "
            "one before, or begin anew with `tend keys rotate --at-once`."
        )
        return False
    return True


async def read(database: Database, seal: Seal, keys: Keys) -> None:
    """Puts the ring in. The first key of a family that the configured secret cannot serve is made here.

    Raises Broken.
    """
    rows = await database.read(_ring(), {"in_algorithm": keys.algorithm})
    if not rows and keys.algorithm != "HS256":
        await rotate(database, seal, keys.algorithm, keys.lifetime, at_once=True)
        rows = await database.read(_ring(), {"in_algorithm": keys.algorithm})
    opened = ((seal.open(PURPOSE, row.sealed), row) for row in rows)
    keys.put([Key(secret, keys.algorithm, row.signs_from, row.former_until) for secret, row in opened])


async def rotate(database: Database, seal: Seal, algorithm: Algorithm, lifetime: int, *, at_once: bool = False) -> bool:
    """A new key, which signs after `PUBLISHED_SECONDS`; those before it are read until their last token has expired.

    `at_once`: it signs now, and no former key is believed any more. False when another was quicker.
    """
    secret = new_secret(algorithm)
    published = -SKEW_SECONDS if at_once else PUBLISHED_SECONDS
    values = {
        "in_algorithm": algorithm,
        "new_kid": kid_of(secret),
        "new_sealed": seal.close(PURPOSE, secret),
        "signs_after": published,
        "former_for": published if at_once else published + lifetime + CLOCK_SKEW,
    }
    added = bool(await database.write(_add(), values))
    if at_once:
        await purge(database)  # perhaps sealed under a secret that is lost
    return added


async def listed(database: Database) -> list[Listed]:
    return [Listed(*row) for row in await database.read(_all(), {})]


async def purge(database: Database) -> None:
    """Keys before one that has outlived them."""
    await database.write(_purge(), {})


async def reseal(database: Database, seal: Seal) -> int:
    """Everything that is sealed, under the newest secret; the number of things. Raises Broken."""
    done = 0
    for row in await database.read(_sealed_keys(), {}):
        values = {"in_algorithm": row.algorithm, "in_number": row.number, "set_sealed": seal.again(row.sealed)}
        await database.write(_reseal_key(), values)
        done += 1
    return done + await second_factors.reseal(database, seal) + await webhooks.reseal(database, seal)


@statement
def _ring() -> Query:
    return (
        select(
            KEYS.c.sealed,
            epoch(KEYS.c.signs_from).label("signs_from"),
            epoch(KEYS.c.former_until).label("former_until"),
        )
        .where(_of(), ~_outlived())
        .order_by(KEYS.c.number)
    )


def _of() -> Any:
    return KEYS.c.algorithm == bindparam("in_algorithm", type_=Text())


@statement
def _add() -> Insert:
    algorithm = bindparam("in_algorithm", type_=Text())
    number = select(func.coalesce(func.max(KEYS.c.number), 0) + 1).where(_of()).scalar_subquery()
    seconds = {name: bindparam(name, type_=Integer()) for name in ("signs_after", "former_for")}
    row = select(
        algorithm,
        number,
        bindparam("new_kid", type_=Text()),
        bindparam("new_sealed", type_=Text()),
        CLOCK + seconds["signs_after"] * SECOND,
        CLOCK + seconds["former_for"] * SECOND,
    )
    names = ["algorithm", "number", "kid", "sealed", "signs_from", "former_until"]
    insert = Upsert(KEYS).from_select(names, row, include_defaults=False)
    return insert.on_conflict_do_nothing(index_elements=["algorithm", "number"]).returning(KEYS.c.number)


@statement
def _all() -> Query:
    shown = [KEYS.c[name] for name in Listed._fields]
    return select(*shown).order_by(KEYS.c.algorithm, KEYS.c.number)


@statement
def _purge() -> Delete:
    return delete(KEYS).where(_outlived())


def _outlived() -> ColumnElement[bool]:
    """A later one says that those before it are not read any more: nor need they be opened."""
    later = KEYS.alias("later")
    outlived = select(later.c.number).where(
        later.c.algorithm == KEYS.c.algorithm, later.c.number > KEYS.c.number, later.c.former_until < CLOCK
    )
    return outlived.correlate(KEYS).exists()


@statement
def _sealed_keys() -> Query:
    return select(KEYS.c.algorithm, KEYS.c.number, KEYS.c.sealed)


@statement
def _reseal_key() -> Update:
    this = (
        KEYS.c.algorithm == bindparam("in_algorithm", type_=Text()),
        KEYS.c.number == bindparam("in_number", type_=Integer()),
    )
    return update(KEYS).where(*this).values(sealed=bindparam("set_sealed", type_=Text()))
