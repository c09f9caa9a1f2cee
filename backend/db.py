"""Engines and sessions.

One pool, small and without overflow, behind a fair queue: SQLAlchemy's own lets a newcomer take a
connection that somebody has waited for. AUTOCOMMIT is the base, so that a single statement is a single
trip; transactions are the option.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final
from uuid import UUID
from weakref import WeakValueDictionary

import psycopg
from sqlalchemy import Row, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.util.concurrency import greenlet_spawn
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import wall
from backend.config import Settings
from backend.errors import Unavailable

IDLE_SECONDS: Final = 30  # a connection that sat idle for longer is pinged when taken out
RECYCLE_SECONDS: Final = 240  # a Neon compute sleeps after 300; closing first wins the race

MANY: Final = 6  # times the deadline, for a batch: a thousand long texts take a while to index
AGAIN: Final = {"40001", "40P01"}
BUSY: Final = {"55P03", "57014"}  # lock and statement timeouts, where the role or the database sets them

Values = Mapping[str, Any]


class Database:
    """The pool of one worker. `close` it in the loop that used it."""

    def __init__(self, settings: Settings) -> None:
        if settings.database_url is None:
            raise ValueError("DATABASE_URL is not set; `tend serve` starts an embedded Postgres and sets it")
        connect: dict[str, Any] = {"connect_timeout": 15, "application_name": "tend"}
        if not settings.prepared_statements:
            connect["prepare_threshold"] = None
        self.engine = create_async_engine(
            settings.database_url,
            connect_args=connect,
            isolation_level="AUTOCOMMIT",
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.database_timeout_seconds,
            pool_recycle=RECYCLE_SECONDS,
            pool_use_lifo=True,
            echo=settings.sql_echo,
            hide_parameters=not settings.sql_echo,  # they are the users' own, and end in logs
        )
        _ping_the_idle(self.engine.sync_engine)
        self._transactions = self.engine.execution_options(isolation_level="READ COMMITTED")
        self._ad_hoc = self.engine.execution_options()
        event.listen(self._ad_hoc.sync_engine, "before_execute", wall.watch)
        event.listen(self._ad_hoc.sync_engine, "before_cursor_execute", wall.refuse_driver_sql)
        self._size = settings.pool_size
        self._gate = asyncio.Semaphore(self._size)
        self._shares: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._deadline = settings.database_timeout_seconds

    async def read(self, statement: Any, values: Values) -> Sequence[Row[Any]]:
        """One statement's rows. Asked once more when the connection had been closed meanwhile."""
        async with self._turn(values.get("owner")):
            try:
                return await greenlet_spawn(_rows, self.engine.sync_engine, wall.checked(statement), values)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return await greenlet_spawn(_rows, self.engine.sync_engine, statement, values)

    async def write(self, statement: Any, values: Values, *, many: bool = False) -> Sequence[Row[Any]]:
        """One statement, committed when this returns. Never sent twice: it could have arrived.

        `many` rows may take `MANY` times as long.
        """
        async with self._turn(values.get("owner"), MANY if many else 1):
            return await greenlet_spawn(_rows, self.engine.sync_engine, wall.checked(statement), values)

    @asynccontextmanager
    async def transaction(self, owner: UUID) -> AsyncIterator["Transaction"]:
        """READ COMMITTED; commits at the end of the block, rolls back when an error leaves it.

        Raises BrokenOff when it may be run again as it was.
        """
        async with self._turn(owner, MANY), self._transactions.begin() as connection:
            yield Transaction(connection)

    @asynccontextmanager
    async def session(self, owner: UUID) -> AsyncIterator[AsyncSession]:
        """For scripts that read: ad-hoc statements, each of which the wall reads before it is sent."""
        async with AsyncSession(self._ad_hoc.execution_options(owner=owner)) as session:
            yield session

    async def close(self) -> None:
        await self.engine.dispose()

    @asynccontextmanager
    async def _turn(self, owner: UUID | None, patience: int = 1) -> AsyncIterator[None]:
        """A place at the pool, and a deadline for all that follows. Raises Unavailable.

        One user has at most half of the pool at once, so that nobody can keep the others waiting.
        """
        half = max(1, self._size // 2)
        share = self._shares.setdefault(owner, asyncio.Semaphore(half)) if owner else nullcontext()
        try:
            async with asyncio.timeout(self._deadline * patience), share, self._gate:
                yield
        except (TimeoutError, PoolTimeout):
            raise Unavailable("The database did not answer in time. Try again.") from None
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            if state in AGAIN:
                raise BrokenOff from error
            if state in BUSY:
                raise Unavailable("The database is busy with other changes. Try again.") from error
            if error.connection_invalidated or _is_away(error):
                raise Unavailable("The database cannot be reached. Try again.", retry_after=2) from error
            raise
        except DisconnectionError as error:
            raise Unavailable("The database cannot be reached. Try again.", retry_after=2) from error


class BrokenOff(Unavailable):
    """Serialization failure or deadlock: nothing happened, and it may be tried again."""

    def __init__(self) -> None:
        super().__init__("Too many changes at once. Try again.")


class Transaction:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def run(self, statement: Any, values: Values) -> Sequence[Row[Any]]:
        result = await self._connection.execute(wall.checked(statement), dict(values))
        return result.all() if result.returns_rows else []


def _rows(engine: Engine, statement: Any, values: Values) -> Sequence[Row[Any]]:
    """The whole read in one greenlet: a switch a statement instead of one a call."""
    with engine.connect() as connection:
        result = connection.execute(statement, dict(values))
        return result.all() if result.returns_rows else []


def _is_away(error: DBAPIError) -> bool:
    """Nothing but a failure of the connection, the server's end or its lack of room (classes 08, 53, 57)."""
    state = getattr(error.orig, "sqlstate", None)
    return isinstance(error, OperationalError | InterfaceError) and (state is None or state[:2] in {"08", "53", "57"})


def _ping_the_idle(engine: Engine) -> None:
    @event.listens_for(engine, "checkin")
    def rest(_connection: Any, record: Any) -> None:
        record.info["rested"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ping(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("rested", time.monotonic()) > IDLE_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except psycopg.Error as error:
                raise DisconnectionError("closed while idle") from error
