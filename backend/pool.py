"""Connections at rest: the one that rested last goes out first, so that those beyond the need grow old and are closed.

Whoever takes one has had a place before (`db.py`), so there are never more than the places. psycopg_pool
would keep callers waiting until their deadline when the database is away, and try again ever more
seldom; SQLAlchemy's pool costs 80 µs a turn, this 5.
"""

import asyncio
import contextlib
import logging
import time
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.pq import TransactionStatus

from backend.connection import Connection, keeps_prepared, opened

log = logging.getLogger("tend.sql")

IDLE_SECONDS: Final = 30  # a connection that rested for longer is pinged when taken out
PING_SECONDS: Final = 2
RECYCLE_SECONDS: Final = 240  # older ones are closed: a Neon compute sleeps after 300, and cuts them off
PATIENCE_SECONDS: Final = 10  # a restart or a compute that wakes is waited for; longer is away
PREPARE_AFTER: Final = 5  # times that a connection has run the same statement


class _Rested(NamedTuple):
    connection: Connection
    since: float


class Pool:
    """`prepared_statements`: None asks the database, once, whether they are kept (`connection.py`)."""

    def __init__(self, *, prepared_statements: bool | None, waits: bool, **address: Any) -> None:
        self._address = address
        self._waits = waits
        self._prepared = prepared_statements
        self._asking = asyncio.Lock()
        self._resting: list[_Rested] = []
        self._born: dict[Connection, float] = {}
        self.made = 0  # connections, since the worker began
        self._away_since: float | None = None
        self._away_until = 0.0

    async def take(self) -> Connection:
        """Raises psycopg.OperationalError when the database cannot be reached.

        Nothing of the caller's was sent yet. So one that was closed meanwhile is replaced, and if the pool `waits`,
        it does so for a database that went away less than `PATIENCE_SECONDS` ago.
        """
        while self._resting:
            connection, since = self._resting.pop()
            now = time.monotonic()
            try:
                if now - self._born[connection] < RECYCLE_SECONDS:
                    if now - since < IDLE_SECONDS and connection.is_quiet:
                        return connection
                    if await _answers(connection):
                        return connection
                    await self.close()  # then the others are most likely cut off as well
            except BaseException:  # the deadline may come while it is pinged
                await self._end(connection)
                raise
            await self._end(connection)
        return await self._new()

    @property
    def is_away(self) -> bool:
        """The database, since it was last asked for a connection."""
        return self._away_since is not None

    @property
    def open(self) -> int:
        return len(self._born)

    async def give_back(self, connection: Connection) -> None:
        """One that broke, or that is in the middle of something, is closed instead."""
        if connection.info.transaction_status == TransactionStatus.IDLE:
            now = time.monotonic()
            self._resting.append(_Rested(connection, now))
            while now - self._resting[0].since > RECYCLE_SECONDS:
                await self._end(self._resting.pop(0).connection)
            return
        await self._end(connection)
        if connection.broken:
            await self.close()

    def renew(self) -> None:
        """Those that are open are replaced when they are next taken."""
        self._born = dict.fromkeys(self._born, float("-inf"))

    async def close(self) -> None:
        while self._resting:
            await self._end(self._resting.pop().connection)

    async def _new(self) -> Connection:
        pause = 0.05
        while True:
            try:
                if self._prepared is None:
                    await self._ask()
                connection = await opened(self._address, PREPARE_AFTER if self._prepared else None)
            except psycopg.OperationalError:
                if not self._may_wait():
                    raise
            else:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1)
        self._born[connection] = time.monotonic()
        self.made += 1
        if self._away_since is not None:
            log.warning("The database is back after %.1f s", self._born[connection] - self._away_since)
            self._away_since = None
        return connection

    async def _ask(self) -> None:
        async with self._asking:
            if self._prepared is None:
                self._prepared = await keeps_prepared(self._address)
                if not self._prepared:
                    log.warning("The pooler in front of the database keeps no prepared statements: not used")

    def _may_wait(self) -> bool:
        """Everybody waits while it has only just gone; when it stays away, they are told so at once."""
        now = time.monotonic()
        if self._away_since is None or now > self._away_until:
            if self._away_since is None:
                log.warning("The database cannot be reached")
            self._away_since = now
        self._away_until = now + 3 * PATIENCE_SECONDS  # nobody asked for so long: what is now may be another outage
        return self._waits and now - self._away_since < PATIENCE_SECONDS

    async def _end(self, connection: Connection) -> None:
        self._born.pop(connection, None)
        with contextlib.suppress(psycopg.Error):
            await connection.close()


async def _answers(connection: Connection) -> bool:
    try:
        async with asyncio.timeout(PING_SECONDS):
            await connection.execute("")
    except (psycopg.Error, TimeoutError):
        return False
    return True
