"""From a backup to a database, in one transaction: all of it, compared and with new epochs, or nothing.

pg_restore makes SQL of the dump and psql sends it. Its own parallel jobs would need several transactions, and what an
interrupted one left would have to be cleaned up; with two jobs it was an eighth faster.
"""

import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import IO, Any, Final, NoReturn

from psycopg.sql import SQL, Composable

from backend.operations import envelopes
from backend.operations.clients import BackupError, Server
from backend.operations.envelopes import Identities
from backend.operations.manifests import CHUNK_BYTES, Backup, Bar, Figures, Tables
from backend.operations.snapshots import AS_TEXT, COLUMNS, as_json, figures

NEW_EPOCHS: Final = SQL("UPDATE public.sync_state SET epoch = gen_random_uuid()")
"""The counters went back, and count once more what they counted before: without another epoch a version, an ETag or a
cursor from before would be taken for right."""

# Owners, grants and publications are the server's, and their roles need not be there; comments on extensions are
# their owner's to make.
OPTIONS: Final = (
    *("--no-owner", "--no-privileges", "--no-comments", "--no-tablespaces"),
    *("--no-publications", "--no-subscriptions", "--no-security-labels"),
)
HEAD_BYTES: Final = 4096
LOCK_SECONDS: Final = 10.0  # whoever uses the target's tables for longer has not been stopped
# Knows nothing of what an extension made, or of other schemas. An index goes with its table.
EMPTY: Final = SQL("""DO $$
DECLARE made record;
BEGIN
    FOR made IN
        SELECT o.type, o.identity FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) o
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'public'::regnamespace AND d.deptype = 'n'
        AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
        AND o.type = ANY ('{table,view,materialized view,foreign table,sequence,function,procedure,aggregate,type,
            text search configuration,text search dictionary}')
    LOOP
        EXECUTE format('DROP %s IF EXISTS %s CASCADE', made.type, made.identity);
    END LOOP;
END $$""")


def has_tables(server: Server) -> bool:
    return bool(server.connection.execute(COLUMNS).fetchone())


def connected(server: Server) -> int:
    """How many connections of the service's there are to this database, at work or idle."""
    row = server.connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND (application_name = 'tend' OR application_name LIKE 'tend - %')"  # as PgBouncer may write it
    ).fetchone()
    return int(row[0]) if row else 0


def tables_of(backup: Backup, identities: Identities) -> dict[str, Figures]:
    """What the tables held. The first thing that needs the private key. Raises BackupError."""
    content = BytesIO()
    envelopes.read(backup.path("tables.json"), content, identities)
    return Tables.validate_json(content.getvalue())


def restore(backup: Backup, server: Server, identities: Identities, bar: Bar, *, replace: bool) -> None:
    """Raises BackupError, and then the target is as it was."""
    expected = tables_of(backup, identities)
    left = sum(table.size for table in expected.values())
    step = bar("Restoring", left)
    with _session(server) as session:
        session.send(SQL("BEGIN; SET LOCAL client_min_messages = warning"))
        session.send(SQL("SET LOCAL lock_timeout = {}").format(f"{LOCK_SECONDS * 1000:.0f}ms"))
        if replace:
            session.send(EMPTY)
        with _script(backup, server, identities) as script:
            head = script.read(HEAD_BYTES)
            if server.version < 17:  # which does not know it
                head = head.replace(b"SET transaction_timeout = 0;\n", b"", 1)
            session.write(head)
            while chunk := script.read(CHUNK_BYTES):
                session.write(chunk)
                step(min(len(chunk), left))
                left -= min(len(chunk), left)
            step(left)  # the size as text is nearly that of the script
        session.send(AS_TEXT)
        found = figures(session.ask, bar, "Comparing the tables")
        for name, table in expected.items():
            if found.get(name) != table:
                rows = found[name].rows if name in found else "no"
                raise BackupError(
                    f"The table {name} came out with {rows} rows, other than the {table.rows:,} that were backed up. "
                    "Nothing was restored: use another backup."
                )
        session.send(NEW_EPOCHS)
        session.send(SQL("ANALYZE"))
        session.commit()


class _Session:
    """psql, told what to do as it goes on: it commits when we say so, and a connection that ends rolls back."""

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self.process = process
        self.errors = errors

    def write(self, data: bytes) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except BrokenPipeError:
            self._fail()

    def send(self, query: Composable) -> None:
        self.write(query.as_bytes() + b";\n")

    def ask(self, query: Composable) -> list[dict[str, Any]]:
        assert self.process.stdout
        self.send(as_json(query))
        line = b""
        while not line.startswith(b"["):  # before it come answers to the script's own SELECTs
            line = self.process.stdout.readline()
            if not line:
                self._fail()
        found: list[dict[str, Any]] = json.loads(line)
        return found

    def commit(self) -> None:
        assert self.process.stdin
        self.write(b"COMMIT;\n")
        self.process.stdin.close()
        try:
            failed = self.process.wait()
        except KeyboardInterrupt:
            raise _open_question("Interrupted") from None
        if failed:
            if "ERROR:" not in (said := self._said()):  # it was not refused
                raise _open_question(f"The connection broke ({said})")
            self._fail()

    def _said(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip()

    def _fail(self) -> NoReturn:
        self.process.wait()
        said = self._said()
        reason = next((line for line in said.splitlines() if "ERROR:" in line or "FATAL:" in line), said)
        advice = "Stop the service, which uses its tables, and try again." if "lock timeout" in reason else ""
        raise BackupError(f"The database did not take it: {reason}\nNothing was restored. {advice}".rstrip())


def _open_question(what: str) -> BackupError:
    return BackupError(
        f"{what} while all was being committed: whether it was restored is not known. Look at the target, or restore "
        "again with --replace."
    )


@contextmanager
def _session(server: Server) -> Iterator[_Session]:
    options = ("--no-psqlrc", "--quiet", "--no-align", "--tuples-only")
    variables = ("--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse")  # no rows in messages
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603
            server.command("psql", *options, *variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=server.environment,
        )
        try:
            yield _Session(process, errors)
        finally:
            _end(process)


@contextmanager
def _script(backup: Backup, server: Server, identities: Identities) -> Iterator[IO[bytes]]:
    """The dump as SQL. Raises BackupError at its end when it was not whole."""
    failures: list[BaseException] = []
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603
            [str(server.programs / "pg_restore"), "--file=-", *OPTIONS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdin
        assert process.stdout
        feeder = threading.Thread(target=_feed, args=(backup, process.stdin, identities, failures))
        feeder.start()
        try:
            yield process.stdout
            process.wait()
            feeder.join()
            errors.seek(0)
            if failures:
                raise failures[0]
            if process.returncode:
                said = errors.read().decode(errors="replace").splitlines() or ["pg_restore failed"]
                raise BackupError(f"The dump cannot be read: {said[-1]}\nNothing was restored: use another backup.")
        finally:
            process.kill()
            feeder.join()
            _end(process)


def _feed(backup: Backup, target: IO[bytes], identities: Identities, failures: list[BaseException]) -> None:
    try:
        with target:
            envelopes.read(backup.path("database.dump"), target, identities)
    except BrokenPipeError:  # pg_restore ended, and says why
        pass
    except BaseException as error:
        failures.append(error)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with suppress(BrokenPipeError):
                pipe.close()
