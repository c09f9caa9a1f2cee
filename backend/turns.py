"""Turns at the database: places at the pool, a deadline on all that is done with one, and words for what goes wrong."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

import psycopg

from backend.connection import BUSY, UNPREPARED, is_away
from backend.errors import Unavailable, Unsettled
from backend.pool import Pool

log = logging.getLogger("tend.sql")

AGAIN: Final = {"40001", "40P01"}
TOLD_SECONDS: Final = 10  # between two lines in the log about the same trouble, however many requests it meets

LATE: Final = "The database did not answer in time. Try again."
GONE: Final = "The database cannot be reached. Try again."
UNABLE: Final = "The database cannot do this now. Try again."  # read-only, or its disk is full


def is_of_the_way(error: psycopg.Error) -> bool:
    """Whether it says something of the database or the way to it: the same statement might well do another time."""
    return is_away(error) or (error.sqlstate or "") in {*AGAIN, *BUSY, *UNPREPARED}


_UNASKED: ContextVar[bool] = ContextVar("unasked", default=False)


@contextmanager
def unasked() -> Iterator[None]:
    """What is done within it, and by tasks that begin there, nobody has asked for: it is no use of the database."""
    token = _UNASKED.set(True)
    try:
        yield
    finally:
        _UNASKED.reset(token)


class BrokenOff(Unavailable):
    """Serialization failure, deadlock, a connection that broke before COMMIT: nothing happened, try again."""


class Crowded(Unavailable):
    """No place came free in time."""


class Turn:
    """What was done with a place at the pool."""

    __slots__ = ("sent", "unsure")

    def __init__(self) -> None:
        self.sent = False  # what would change something, and whether it did is not known
        self.unsure = False  # of a try before this one: what becomes of this one does not settle it


@dataclass(slots=True)
class Usage:
    """Of one worker's pool, since it began; times in seconds."""

    size: int
    waiting: int = 0  # for a place
    in_use: int = 0  # places
    turns: int = 0
    waited: float = 0.0
    statements: int = 0
    statement_seconds: float = 0.0
    asked: int = 0  # turns that have ended, without what is `unasked`

    def begin(self, waited: float) -> bool:
        self.waiting -= 1
        self.in_use += 1
        self.turns += 1
        self.waited += waited
        return True

    def end(self, began: bool) -> None:
        if began:
            self.in_use -= 1
        else:
            self.waiting -= 1


class Turns:
    """`size` places, of which one user has at most half at once, so that nobody can keep the others waiting."""

    def __init__(self, pool: Pool, size: int, seconds: float) -> None:
        self._pool = pool
        self._gate = asyncio.Semaphore(size)
        self._shares: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._share = max(1, size // 2)
        self._seconds = seconds
        self._told: dict[str, float] = {}  # monotonic
        self.usage = Usage(size)
        self.last_at = time.monotonic()

    @asynccontextmanager
    async def take(self, owner: UUID | None, patience: int = 1, *, writes: bool = False) -> AsyncIterator[Turn]:
        """A place, and a deadline for all that follows, waiting included; `patience` times as long as usual.

        Raises Unavailable, BrokenOff and, for what `writes`, Unsettled.
        """
        turn = Turn()
        asked, began = time.monotonic(), False
        self._note_use()
        self.usage.waiting += 1
        try:
            async with asyncio.timeout(self._seconds * patience), self._share_of(owner), self._gate:
                began = self.usage.begin(time.monotonic() - asked)
                yield turn
        except TimeoutError:
            self._tell("late", f"no answer in {self._seconds * patience:g} s")
            if writes and turn.sent:
                raise Unsettled from None
            if not began:
                raise Crowded(LATE) from None
            raise Unavailable(GONE if self._pool.is_away else LATE) from None
        except psycopg.Error as error:
            state = error.sqlstate
            if state not in BUSY and state not in AGAIN and not is_away(error):
                raise
            if state not in AGAIN:
                self.tell(error)
            if writes and turn.sent:
                raise Unsettled from error
            if state in AGAIN:
                raise BrokenOff("Too many changes at once. Try again.") from error
            if state in BUSY:
                raise Unavailable("The database is busy with other changes. Try again.") from error
            raise Unavailable(UNABLE if state and not turn.sent else GONE, retry_after=2) from error
        finally:
            self.usage.end(began)
            self.usage.asked += self._note_use()  # now a change is committed

    def _note_use(self) -> bool:
        if _UNASKED.get():
            return False
        self.last_at = time.monotonic()
        return True

    def tell(self, error: psycopg.Error) -> None:
        """For the operator: what the clients' 503 are about. Postgres's words here never hold a statement's values."""
        self._tell(error.sqlstate or "no code", error.diag.message_primary or "the connection broke")

    def _tell(self, state: str, trouble: str) -> None:
        now = time.monotonic()
        if now - self._told.get(state, float("-inf")) > TOLD_SECONDS:
            self._told[state] = now
            log.warning("The database failed a request (%s): %s", state, trouble)

    def _share_of(self, owner: UUID | None) -> "asyncio.Semaphore | nullcontext[None]":
        if owner is None:
            return nullcontext()
        share = self._shares.get(owner)
        if share is None:
            share = self._shares[owner] = asyncio.Semaphore(self._share)
        return share
