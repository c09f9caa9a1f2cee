"""A run of migrations: alone, patient with others, and never long in anybody's way.

Who waits for a table's lock keeps all waiting who come after. So a migration waits for a second or so (its
`lock_timeout`), gives up, lets them pass, and is tried again.
"""

import time
from collections.abc import Callable, Set
from typing import Final

from alembic.migration import MigrationContext
from sqlalchemy import Connection, bindparam, func, select, text
from sqlalchemy.exc import OperationalError, PendingRollbackError

LOCK: Final = 0x74656E64  # "tend", among the database's advisory locks
PATIENCE: Final = 300.0  # seconds: for another deployment, and for a table's lock
PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between two tries; the last one again and again
POLL: Final = 0.5  # seconds
AGAIN: Final = {"55P03", "40P01"}  # no lock in time, and a deadlock: nothing was changed

SESSION: Final = (
    "SET lock_timeout = '5s'",  # for a migration that says nothing
    "SET statement_timeout = 0",  # the role's own would be for requests
    "SET idle_session_timeout = 0",
    "SET client_connection_check_interval = '1s'",  # a killed deployment's statement, and its lock, end with it
)

OLDEST: Final = text(
    "SELECT pid, application_name, extract(epoch FROM clock_timestamp() - xact_start)::int AS seconds "
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend' AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1"
)

Say = Callable[[str], None]


class GaveUp(Exception):
    """Others were in the way for too long. What was done is whole; the next run goes on after it."""


def ahead(connection: Connection, known: Set[str]) -> str | None:
    """The database's migration, when it is none of the `known` ones and comes after them: this code was rolled back."""
    found = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    return found if found and found not in known and found > max(known) else None


def run(connection: Connection, migrations: Callable[[], None], say: Say, patience: float = PATIENCE) -> None:
    """Runs `migrations` under the lock, and again when a table was busy. Raises GaveUp after `patience` seconds.

    Each try goes on where the last one stopped. The lock is the session's, since an index that is built
    concurrently ends the transaction; it ends with the connection, whatever happens.
    """
    _wait_for_the_lock(connection, say, patience)
    deadline, tries = time.monotonic() + patience, 0
    while True:
        try:
            for setting in SESSION:
                connection.execute(text(setting))
            connection.commit()
            return migrations()
        except PendingRollbackError as error:  # Alembic's, which ends a block on a connection that was cut off
            raise error.__context__ or error from None
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in AGAIN:
                raise
            connection.rollback()
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            tries += 1
            oldest = _oldest(connection)
            if time.monotonic() + pause > deadline:
                raise GaveUp(f"The migration did not get its lock in {tries} tries. {oldest}Run it again.") from error
        say(f"A table is busy, and nothing waits behind the migration now. {oldest}Trying again in {pause:g} s …")
        time.sleep(pause)


def _wait_for_the_lock(connection: Connection, say: Say, patience: float) -> None:
    """Asked for again and again: a statement that waits for it would be a transaction, and whoever has the lock and
    builds an index concurrently waits for all of those to end.
    """
    deadline, told = time.monotonic() + patience, False
    got = select(func.pg_try_advisory_lock(bindparam("lock", LOCK)))
    while True:
        mine = connection.execute(got).scalar_one()
        connection.commit()
        if mine:
            return
        if time.monotonic() > deadline:
            raise GaveUp(f"Another deployment has been migrating this database for {patience:g} s. Run it again later.")
        if not told:
            say(f"Another deployment migrates this database; waiting for it, at most {patience:g} s …")
            told = True
        time.sleep(POLL)


def _oldest(connection: Connection) -> str:
    """Who may be in the way. Other roles' transactions are seen by those who may read all statistics."""
    row = connection.execute(OLDEST).first()
    connection.commit()
    if row is None:
        return ""
    name = f" ({row.application_name})" if row.application_name else ""
    return f"The oldest transaction is that of process {row.pid}{name}, open for {row.seconds} s. "
