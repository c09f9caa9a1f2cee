"""A connection to Postgres: how it is opened, how it is given up, and what may be prepared on it."""

import asyncio
import logging
import select
from contextlib import suppress
from functools import cached_property
from typing import Any, Final, TypeVar

import psycopg
from psycopg import AsyncConnection, IsolationLevel, capabilities, waiting
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import make_url

from backend.sql import DIALECT

log = logging.getLogger("tend.sql")

CONNECT_SECONDS: Final = 15  # a sleeping compute takes a moment to wake
CANCEL_SECONDS: Final = 1.0  # for telling the server to stop; an answer that is late is late already
# A peer that vanished without a word: found out in a minute at rest, in 15 s while something is under way.
TCP: Final = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 15_000}

AWAY: Final = {"08", "53", "57", "58"}  # classes: the connection, the server's resources, its operator, its machine
READ_ONLY: Final = "25006"  # a replica, or a primary that is to be one no longer: refused, and nothing was done
ENDED: Final = {"25P03", "25P04"}  # by a timeout of the role or the database for transactions, with the connection
BUSY: Final = {"55P03", "57014"}  # lock and statement timeouts, where the role or the database sets them
UNPREPARED: Final = {"0A000", "26000", "42P05"}
"""What is said of a prepared statement before anything of it was done: its table has changed, it is not there, or
its name is taken."""

T = TypeVar("T")


class Connection(AsyncConnection):
    """Given up in the middle, it is closed at once. psycopg would wait for the server, up to ten seconds more."""

    async def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:  # noqa: ASYNC109
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                with suppress(psycopg.Error):
                    await self.cancel_safe(timeout=CANCEL_SECONDS)
                await self.close()
            raise

    @cached_property
    def _poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return poll

    @property
    def is_quiet(self) -> bool:
        """Nothing came while it rested. Whoever closes it, says so on it: then there is something to read."""
        return not self._poll.poll(0)


async def opened(address: dict[str, Any], prepare_threshold: int | None) -> Connection:
    """In AUTOCOMMIT. Nothing but the name goes into the startup packet: a pooler would drop it, or refuse it.

    Raises psycopg.OperationalError.
    """
    connection = await Connection.connect(
        **{**TCP, **address},
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
        application_name="tend",
        prepare_threshold=prepare_threshold,
    )
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
    return connection


def is_at_rest(connection: Connection) -> bool:
    """The server has answered to the end, and nothing is open: what it refused did not happen."""
    return connection.info.transaction_status == TransactionStatus.IDLE


def arguments(url: str) -> dict[str, Any]:
    """What psycopg connects with."""
    _, found = DIALECT.create_connect_args(make_url(url))
    return dict(found)


def is_away(error: psycopg.Error) -> bool:
    """Whether it is the database or the way to it, and not what was asked."""
    state = error.sqlstate
    # libpq's own words, or psycopg's: "received 2 results" where PgBouncer adds an error of its own to the server's.
    if state is None:
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError))
    return state not in BUSY and (state[:2] in AWAY or state == READ_ONLY or state in ENDED)


async def keeps_prepared(address: dict[str, Any]) -> bool:
    """Whether a prepared statement is still the same one in the next transaction.

    Behind PgBouncer before 1.22, or with its `max_prepared_statements` at 0, it may be another connection's
    statement of the same name, and run without a word. So: yes when Postgres itself is at the other end (its
    process has the number that the connection was told), or when what is between gives the statement a name of its
    own, as PgBouncer does that keeps them, and libpq can tell it when one is over (17 and later).
    """
    connection = await opened(address, prepare_threshold=1)  # with None, it would prepare nothing when told to
    try:
        cursor = await connection.execute("SELECT pg_backend_pid()")
        row = await cursor.fetchone()
        if row and row[0] == connection.info.backend_pid:
            return True
        if not capabilities.has_send_close_prepared():
            return False
        return await _are_renamed(connection)
    finally:
        await connection.close()


async def _are_renamed(connection: Connection) -> bool:
    probe = "SELECT name FROM pg_prepared_statements WHERE statement ~ 'pg_prepared_statements'"
    try:
        async with connection.transaction():  # one server for all of it
            names = [name for (name,) in await (await connection.execute(probe, prepare=True)).fetchall()]
            ours = [name for name in names if name.startswith("_pg3_")]
            for name in ours:
                await connection.execute(f'DEALLOCATE "{name}"', prepare=False)
    except psycopg.errors.DuplicatePreparedStatement:  # another connection's, so they are shared
        return False
    return bool(names) and not ours
