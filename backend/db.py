"""One worker's way to the database: a few connections behind a fair queue, and a deadline on everything.

AUTOCOMMIT is the base, so that a single statement is a single trip; transactions are the option.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncRawCursor
from sqlalchemy import event

from backend import wall
from backend.config import Settings
from backend.connection import READ_ONLY, UNPREPARED, Connection, arguments, is_at_rest, is_away
from backend.pool import Pool
from backend.sql import Row, Sql, sql_of
from backend.turns import GONE, UNABLE, BrokenOff, Turn, Turns

if TYPE_CHECKING:  # only scripts use them, and they take a tenth of a second to import
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlmodel.ext.asyncio.session import AsyncSession

log = logging.getLogger("tend.sql")

MANY: Final = 6  # times the deadline, for a batch: a thousand long texts take a while to index
EXPLAIN: Final = b"EXPLAIN (FORMAT JSON) "
READS: Final = 3  # times that a read is sent, when its connection breaks

Values = Mapping[str, Any]


class Database:
    """The connections of one worker. `close` it in the loop that used it.

    `waits`: for a database that has only just gone away.
    """

    def __init__(self, settings: Settings, *, waits: bool = True) -> None:
        if settings.database_url is None:
            raise ValueError("DATABASE_URL is not set; `tend serve` starts an embedded Postgres and sets it")
        self._url = settings.database_url
        known = None if settings.prepared_statements == "auto" else settings.prepared_statements
        self._pool = Pool(prepared_statements=known, waits=waits, **arguments(self._url))
        self._turns = Turns(self._pool, settings.pool_size, settings.database_timeout_seconds)
        self.usage = self._turns.usage
        self.watchers: list[Callable[[str, Sequence[Any]], None]] = []
        """Told the text and the values of each statement before it is sent."""
        self.ended: list[Callable[[Sql, Values, float, BaseException | None], None]] = []
        """Told of each statement when it is over: its values, how many seconds it took, and what it failed with."""
        if settings.sql_echo:
            log.setLevel(logging.INFO)
            if not log.hasHandlers():
                log.addHandler(logging.StreamHandler())
            self.watchers.append(_echo)

    async def read(self, statement: Any, values: Values) -> Sequence[Row]:
        """One statement's rows. Asked again when the connection broke."""
        sql = sql_of(statement)
        async with self._turns.take(values.get("owner")) as turn:
            return await self._answered(turn, sql, values, READS)

    async def write(
        self, statement: Any, values: Values, *, many: bool = False, repeatable: bool = False
    ) -> Sequence[Row]:
        """One statement, committed when this returns.

        When the connection breaks after it was sent, nobody knows whether it was committed: raises Unsettled. What
        is `repeatable`, since a second time it would be refused (new rows with their ids), is sent once more first.
        `many` rows may take `MANY` times as long.
        """
        sql = sql_of(statement)
        async with self._turns.take(values.get("owner"), MANY if many else 1, writes=True) as turn:
            return await self._answered(turn, sql, values, 2 if repeatable else 1)

    @asynccontextmanager
    async def transaction(self, owner: UUID) -> AsyncIterator["Transaction"]:
        """READ COMMITTED; commits at the end of the block, rolls back when an error leaves it.

        Raises BrokenOff when it may be run again as it was, and Unsettled when nobody knows whether it was committed.
        """
        async with self._turns.take(owner, MANY, writes=True) as turn:
            connection = await self._pool.take()
            try:
                async with connection.transaction():
                    yield Transaction(self, connection)
                    turn.sent = True  # COMMIT is next
            except psycopg.Error as error:
                settled = is_at_rest(connection)
                self._renew_after(error)
                turn.sent = turn.sent and not settled
                if error.sqlstate not in UNPREPARED and (not is_away(error) or turn.sent):
                    raise
                self._turns.tell(error)
                raise BrokenOff(UNABLE if settled else GONE, retry_after=2) from error
            finally:
                await self._pool.give_back(connection)

    @asynccontextmanager
    async def session(self, owner: UUID) -> AsyncIterator["AsyncSession"]:
        """For scripts that read: ad-hoc statements, each of which the wall reads before it is sent."""
        from sqlmodel.ext.asyncio.session import AsyncSession

        async with AsyncSession(self.guarded.execution_options(owner=owner)) as session:
            yield session

    @cached_property
    def engine(self) -> "AsyncEngine":
        """Connections of their own, in AUTOCOMMIT, for the operator's commands."""
        from sqlalchemy.ext.asyncio import create_async_engine
        from sqlalchemy.pool import NullPool

        return create_async_engine(
            self._url,
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
            hide_parameters=True,
            # Behind PgBouncer the sixth time of a statement could come to a connection that has it already.
            connect_args={"prepare_threshold": None},
        )

    @cached_property
    def guarded(self) -> "AsyncEngine":
        engine = self.engine.execution_options()
        event.listen(engine.sync_engine, "before_execute", wall.watch)
        event.listen(engine.sync_engine, "before_cursor_execute", wall.refuse_driver_sql)
        return engine

    @property
    def used_at(self) -> float:
        """When it was last asked, by the monotonic clock."""
        return self._turns.last_at

    @property
    def connections(self) -> tuple[int, int]:
        """How many are open, and how many were made since the worker began."""
        return self._pool.open, self._pool.made

    async def explain(self, sql: Sql, values: Values) -> Any:
        """The plan for these values, as Postgres's JSON has it; the statement is not run."""
        explained = sql._replace(text=EXPLAIN + sql.text, row=tuple)
        async with self._turns.take(None) as turn:
            ((plan,),) = await self._answered(turn, explained, values, 1)
        return plan[0]["Plan"]

    async def close(self) -> None:
        await self._pool.close()

    async def _answered(self, turn: Turn, sql: Sql, values: Values, tries: int) -> Sequence[Row]:
        """Sent again, on another connection, when one breaks: `tries` times in all.

        And once more when it led to a server that only reads: nothing was done, and a new one may find the primary.
        """
        renewed = False
        while True:
            connection = await self._pool.take()
            tries -= 1
            try:
                return await self._prepared_or_not(connection, turn, sql, values)
            except psycopg.Error as error:
                turn.unsure = turn.sent
                if error.sqlstate == READ_ONLY and not renewed:
                    renewed = True
                elif tries < 1 or not is_away(error):
                    raise
            finally:
                await self._pool.give_back(connection)

    async def _prepared_or_not(self, connection: Connection, turn: Turn, sql: Sql, values: Values) -> Sequence[Row]:
        turn.sent = True
        try:
            return await self.sent(connection, sql, values)
        except psycopg.Error as error:
            turn.sent = turn.unsure or not is_at_rest(connection)
            self._renew_after(error)
            if error.sqlstate not in UNPREPARED:
                raise
        turn.sent = True
        return await self.sent(connection, sql, values, prepare=False)

    def _renew_after(self, error: psycopg.Error) -> None:
        """What is prepared is no longer right, or the server no longer the one that may be written to."""
        if error.sqlstate in UNPREPARED or error.sqlstate == READ_ONLY:
            self._pool.renew()

    async def sent(
        self, connection: Connection, sql: Sql, values: Values, *, prepare: bool | None = None
    ) -> Sequence[Row]:
        bound = sql.bound(values)
        for watch in self.watchers:
            watch(sql.text.decode(), bound)
        make_row = sql.row or tuple
        cursor = AsyncRawCursor(connection, row_factory=lambda _cursor: make_row)
        began, failure = time.perf_counter(), None
        try:
            await cursor.execute(sql.text, bound, prepare=prepare)
            return await cursor.fetchall() if sql.row else []
        except BaseException as error:
            failure = error
            raise
        finally:
            seconds = time.perf_counter() - began
            self.usage.statements += 1
            self.usage.statement_seconds += seconds
            for tell in self.ended:
                tell(sql, values, seconds, failure)


class Transaction:
    def __init__(self, database: Database, connection: Connection) -> None:
        self._database = database
        self._connection = connection

    def savepoint(self) -> AbstractAsyncContextManager[object]:
        """An error that leaves the block undoes what was done in it, and the transaction goes on."""
        return self._connection.transaction()

    async def run(self, statement: Any, values: Values) -> Sequence[Row]:
        return await self._database.sent(self._connection, sql_of(statement), values)


def _echo(text: str, values: Sequence[Any]) -> None:
    log.info("%s %r", text, values)
