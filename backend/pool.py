"""Connections at rest: the one that rested last goes out first, so that those beyond the need grow old and are closed.

Whoever takes one has had a place before (`db.py`), so there are never more than the places. psycopg_pool
would keep callers waiting until their deadline when the database is away, and try again ever more
seldom; SQLAlchemy's pool costs 80 µs a turn, this 5.
"""

import contextlib
import time
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection, IsolationLevel
from psycopg.pq import TransactionStatus

IDLE_SECONDS: Final = 30  # a connection that rested for longer is pinged when taken out
RECYCLE_SECONDS: Final = 240  # older ones are closed: a Neon compute sleeps after 300, and cuts them off
CONNECT_SECONDS: Final = 15  # a sleeping compute takes a moment to wake


class _Rested(NamedTuple):
    connection: AsyncConnection
    since: float


class Pool:
    def __init__(self, *, prepared_statements: bool, **address: Any) -> None:
        self._address = address
        self._prepare_threshold = 5 if prepared_statements else None
        self._resting: list[_Rested] = []
        self._born: dict[AsyncConnection, float] = {}

    async def take(self) -> AsyncConnection:
        """Raises psycopg.OperationalError when the database cannot be reached."""
        while self._resting:
            connection, since = self._resting.pop()
            now = time.monotonic()
            try:
                if now - self._born[connection] < RECYCLE_SECONDS and (
                    now - since < IDLE_SECONDS or await _answers(connection)
                ):
                    return connection
            except BaseException:  # the deadline may come while it is pinged
                await self._end(connection)
                raise
            await self._end(connection)
        connection = await AsyncConnection.connect(
            **self._address,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="tend",
            prepare_threshold=self._prepare_threshold,
        )
        await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
        self._born[connection] = time.monotonic()
        return connection

    async def give_back(self, connection: AsyncConnection) -> None:
        """One that broke, or that is in the middle of something, is closed instead."""
        if connection.info.transaction_status == TransactionStatus.IDLE:
            now = time.monotonic()
            self._resting.append(_Rested(connection, now))
            while now - self._resting[0].since > RECYCLE_SECONDS:
                await self._end(self._resting.pop(0).connection)
            return
        await self._end(connection)
        if connection.broken:  # then those that rest are most likely cut off as well
            await self.close()

    async def close(self) -> None:
        while self._resting:
            await self._end(self._resting.pop().connection)

    async def _end(self, connection: AsyncConnection) -> None:
        self._born.pop(connection, None)
        with contextlib.suppress(psycopg.Error):
            await connection.close()


async def _answers(connection: AsyncConnection) -> bool:
    try:
        await connection.execute("")
    except psycopg.Error:
        return False
    return True
