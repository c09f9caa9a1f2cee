"""One moment of a database: what its tables hold, and a dump of that very moment, whoever writes meanwhile."""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

import psycopg
from psycopg import IsolationLevel
from psycopg.sql import SQL, Composable, Composed, Identifier

from backend.operations import envelopes
from backend.operations.clients import BackupError, Server
from backend.operations.manifests import DUMP, TABLES, Bar, Figures, File, Manifest, Step, Tables

LOCK_SECONDS: Final = 60  # a migration may hold the tables; a backup does not wait behind one for ever

# Text must be the same wherever it is made.
AS_TEXT: Final = SQL(
    "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; "
    "SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL search_path = ''; "
    "SET LOCAL row_security = off; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
)
# Unlogged tables are empty after a crash as well, so nothing is lost with them. What an extension made comes with it.
# Generated columns are computed anew, perhaps by another version of Postgres with other stemmers.
COLUMNS: Final = SQL(
    "SELECT n.nspname AS schema, c.relname AS name, pg_table_size(c.oid) AS size, array("
    "SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "AND a.attgenerated = '' ORDER BY a.attnum) AS columns "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
    "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid "
    "AND d.deptype = 'e') ORDER BY 1, 2"
)
# The sum does not depend on the order of the rows, as sorting them would ask for, and counts equal rows, as XOR would
# not. SHA-256 is the same in every version and on every machine, which nobody promises of `hashtextextended`, and
# works where MD5 is forbidden; it took no longer, since most of the time goes into making the text.
FIGURES: Final = SQL(
    "SELECT count(*) AS rows, coalesce(sum(octet_length(row)), 0) AS size, coalesce(sum("
    "('x' || encode(substr(sha256(convert_to(row, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint), 0)::text AS checksum "
    "FROM (SELECT ROW({columns})::text AS row FROM ONLY {table} t) rows"
)

Ask = Callable[[Composable], Sequence[dict[str, Any]]]
"""Sends a query, and gives its rows."""


def as_json(query: Composable) -> Composed:
    """One line, one value: what psql too can hand over."""
    return SQL("SELECT coalesce(jsonb_agg(to_jsonb(answer)), '[]')::text FROM ({}) answer").format(query)


def figures(ask: Ask, bar: Bar, doing: str) -> dict[str, Figures]:
    tables = ask(COLUMNS)
    step = bar(doing, sum(table["size"] for table in tables))
    found = {}
    for table in tables:
        columns = SQL(", ").join(Identifier("t", column) for column in table["columns"])
        query = FIGURES.format(columns=columns, table=Identifier(table["schema"], table["name"]))
        found[f"{table['schema']}.{table['name']}"] = Figures(**ask(query)[0])
        step(table["size"])
    return found


def take(server: Server, folder: Path, recipients: Sequence[str], bar: Bar) -> Manifest:
    """Writes the dump and what the tables hold. Raises BackupError."""
    connection = server.connection
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True

    def ask(query: Composable) -> list[dict[str, Any]]:
        row = connection.execute(as_json(query)).fetchone()
        found: list[dict[str, Any]] = json.loads(row[0]) if row else []
        return found

    made_at = datetime.now(UTC)
    try:
        with connection.transaction():
            connection.execute(AS_TEXT)
            connection.execute(SQL("SET LOCAL lock_timeout = {}").format(f"{LOCK_SECONDS}s"))
            if server.version >= 17:
                connection.execute("SET LOCAL transaction_timeout = 0")
            migration = ask(SQL("SELECT version_num FROM public.alembic_version"))[0]["version_num"]
            snapshot = ask(SQL("SELECT pg_export_snapshot() AS name"))[0]["name"]
            tables = figures(ask, bar, "Reading the tables")
            sizes = {f"{table['schema']}.{table['name']}": table["size"] for table in ask(COLUMNS)}
            suffix = ".age" if recipients else ""
            dump = _dump(server, snapshot, folder / (DUMP + suffix), recipients, sizes, bar)
    except (psycopg.errors.UndefinedTable, IndexError):
        raise BackupError("This database has no tables of Tend's: run `tend migrate` first.") from None
    except psycopg.Error as error:
        raise BackupError(f"The database could not be read: {str(error).splitlines()[0]}") from None
    told = envelopes.write(BytesIO(Tables.dump_json(tables)), folder / (TABLES + suffix), recipients)
    return Manifest(
        tend=version("tend"),
        migration=migration,
        postgres=connection.info.parameter_status("server_version") or "",
        database=connection.info.dbname,
        made_at=made_at,
        encrypted=bool(recipients),
        files={"database.dump": dump, "tables.json": told},
    )


def _dump(
    server: Server, snapshot: str, path: Path, recipients: Sequence[str], sizes: dict[str, int], bar: Bar
) -> File:
    """Through a pipe: nothing is on a disk before it is encrypted, and a process that is killed leaves nothing plain.

    pg_dump's directory format writes plain files. Its parallel jobs are one a table, and almost everything is in one.
    """
    command = server.command(
        "pg_dump",
        "--format=custom",
        f"--snapshot={snapshot}",
        "--no-unlogged-table-data",
        f"--lock-wait-timeout={LOCK_SECONDS}s",
        "--verbose",
    )
    said: list[str] = []
    process = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=server.environment
    )
    assert process.stdout
    assert process.stderr
    step = bar("Writing the dump", sum(sizes.values()))
    listener = threading.Thread(target=_follow, args=(process.stderr, sizes, step, said))
    listener.start()
    try:
        written = envelopes.write(process.stdout, path, recipients)
        process.wait()
    finally:
        process.kill()
        process.wait()
        listener.join()
        process.stdout.close()
        process.stderr.close()
    if process.returncode:
        raise BackupError("pg_dump failed: " + (said[-1] if said else f"exit code {process.returncode}"))
    return written


def _follow(stderr: IO[bytes], sizes: dict[str, int], step: Step, said: list[str]) -> None:
    """pg_dump tells which table it begins; the one before it is done then."""
    before = None
    for line in stderr:
        text = line.decode(errors="replace").rstrip()
        if begun := re.search(r'dumping contents of table "(.+)"', text):
            step(sizes.get(before, 0) if before else 0)
            before = begun[1]
        elif "error:" in text or "detail:" in text:
            said.append(text)
    if before:
        step(sizes.get(before, 0))
