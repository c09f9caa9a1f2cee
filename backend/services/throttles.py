"""How often somebody may try, counted in Postgres so that it holds over all workers.

A count belongs to a window that begins with the first try; what is counted, and for whom, is a digest.
"""

import hashlib
from typing import Final, NamedTuple

from sqlalchemy import (
    Delete,
    Insert,
    Integer,
    LargeBinary,
    Update,
    bindparam,
    case,
    cast,
    delete,
    extract,
    func,
    update,
)
from sqlalchemy.dialects.postgresql import Insert as Upsert

from backend.db import Database
from backend.errors import TooMany
from backend.models import Throttle, table
from backend.statements import CLOCK, SECOND, statement

THROTTLES = table(Throttle)


class Limit(NamedTuple):
    name: str
    most: int
    seconds: int


class Try(NamedTuple):
    """Something that is limited, and for whom."""

    limit: Limit
    whom: tuple[str, ...]

    @property
    def key(self) -> bytes:
        return hashlib.sha256("\0".join((self.limit.name, *self.whom)).encode()).digest()


SIGN_IN: Final = Limit("sign-in", 10, 900)
"""Tries of one account from one address, in 15 minutes."""
ADDRESS: Final = Limit("sign-in-address", 100, 900)
"""Tries from one address, of whatever accounts: there may be an office behind it."""
PASSWORD: Final = Limit("password", 10, 900)
"""Tries of a signed-in user to name the password."""
LANGUAGE: Final = Limit("language", 10, 3_600)
"""Changes of a user's language, each of which writes all their tasks anew."""
CODE_DAY: Final = Limit("second-factor-day", 50, 86_400)
CODE: Final = Limit("second-factor", 10, 900)
"""Wrong codes of one account: one in a million is right, and three at a time."""
MAIL: Final = Limit("mail", 5, 3_600)
"""Mails to one account from one address."""
MAIL_TO: Final = Limit("mail-to", 20, 3_600)
"""Mails to one recipient, whoever has them sent; past it they are not sent, and nobody is told."""
MAIL_ADDRESS: Final = Limit("mail-address", 30, 3_600)
CONFIRM: Final = Limit("confirm", 30, 900)
"""Mailed tokens that are brought back from one address, right or wrong: each that is right costs a hash."""
OUTSIDE: Final = Limit("outside", 120, 900)
"""Ways to providers and back from one address: each may be a call to the provider."""
REGISTER: Final = Limit("register", 100, 3_600)
"""Accounts from one address."""


async def take(database: Database, *tries: Try) -> None:
    """Counts each, before it is known how it ends. Raises TooMany at the first that is over its limit.

    The widest comes first: whoever is over it leaves no further row here. What a narrower one refuses is given back
    to the wider: one program with an old password does not lock its whole address.
    """
    for place, each in enumerate(tries):
        times, wait = await count(database, each)
        if times > each.limit.most:
            await give_back(database, *tries[:place])
            raise TooMany("Too many tries. Wait a while.", each.limit.name, each.limit.most, each.limit.seconds, wait)


async def count(database: Database, one: Try, times: int = 1) -> tuple[int, int]:
    """How often in this window, these times included, and how many seconds it lasts. Past the limit it stands still."""
    values = {"in_key": one.key, "in_seconds": one.limit.seconds, "in_times": times, "in_most": one.limit.most + times}
    (row,) = await database.write(_count(), values)
    return row.count, row.wait


async def give_back(database: Database, *tries: Try) -> None:
    """For what ended well: only what failed counts."""
    for each in tries:
        await database.write(_give_back(), {"in_key": each.key})


async def purge(database: Database) -> None:
    await database.write(_purge(), {})


@statement
def _count() -> Insert:
    seconds = bindparam("in_seconds", type_=Integer())
    row = {
        "key": bindparam("in_key", type_=LargeBinary()),
        "count": bindparam("in_times", type_=Integer()),
        "until": CLOCK + seconds * SECOND,
    }
    insert = Upsert(THROTTLES).values(row)
    over = THROTTLES.c.until <= CLOCK
    more = func.least(THROTTLES.c.count + insert.excluded.count, bindparam("in_most", type_=Integer()))
    counted = insert.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "count": case((over, insert.excluded.count), else_=more),
            "until": case((over, insert.excluded.until), else_=THROTTLES.c.until),
        },
    )
    wait = cast(func.ceil(extract("epoch", THROTTLES.c.until - CLOCK)), Integer()).label("wait")
    return counted.returning(THROTTLES.c.count, wait)


@statement
def _give_back() -> Update:
    this = THROTTLES.c.key == bindparam("in_key", type_=LargeBinary()), THROTTLES.c.count > 0
    return update(THROTTLES).where(*this).values(count=THROTTLES.c.count - 1)


@statement
def _purge() -> Delete:
    return delete(THROTTLES).where(THROTTLES.c.until < CLOCK)
