"""Postgres's own programs (pg_dump, pg_restore, psql) and their way to the server.

No password stands on a command line, where everybody on the machine could read it (`ps`): libpq takes it from the
environment, which only the same user sees.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from backend import embedded
from backend.connection import CONNECT_SECONDS, arguments
from backend.errors import TendError
from backend.operations import relay

COMMAND: Final = "tend command"  # what Postgres calls these connections; those of the service are `tend`
PROGRAMS: Final = ("pg_dump", "pg_restore", "psql")


class BackupError(TendError):
    """A backup was not made, is not sound, or was not restored; the message says what to do."""


@dataclass(frozen=True)
class Server:
    """A database that was reached, with programs that know its version, and the environment that leads them there."""

    connection: Connection
    programs: Path
    environment: dict[str, str]
    more: tuple[str, ...]
    """What has no environment variable, as options."""

    @property
    def version(self) -> int:
        return self.connection.info.server_version // 10_000

    def command(self, program: str, *options: str) -> list[str]:
        return [str(self.programs / program), "--no-password", *self.more, *options]


@contextmanager
def reached(url: str) -> Iterator[Server]:
    """Raises BackupError."""
    given = {"connect_timeout": CONNECT_SECONDS, **arguments(url), "application_name": COMMAND}
    try:
        connection = psycopg.connect(**given, autocommit=True)
    except psycopg.OperationalError as error:
        raise BackupError(
            f"The database cannot be reached: {str(error).splitlines()[0]}\nIs its address right?"
        ) from None
    with connection, ExitStack() as stack:
        programs = _programs_for(connection.info.server_version // 10_000)
        if connection.pgconn.ssl_in_use:
            try:
                host = stack.enter_context(relay.relayed(connection))
            except relay.TLSError as error:
                raise BackupError(str(error)) from None
            tls = ("ssl", "channel_binding", "hostaddr", "require_auth")
            given = {name: value for name, value in given.items() if not name.startswith(tls)}
            given |= {"host": host, "port": relay.PORT, "sslmode": "disable"}
        if connection.info.password:  # from a password file too, which knows the server by its own name alone
            given["password"] = connection.info.password
        yield Server(connection, programs, *_environment(given))


def _environment(address: dict[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    known = {option.keyword.decode(): option for option in Conninfo.get_defaults()}
    environment, more = {**os.environ, "PGCLIENTENCODING": "UTF8"}, {}
    if address.get("sslmode") == "disable":  # what else is said of TLS would be refused or asked for
        environment = {
            name: value for name, value in environment.items() if not name.startswith(("PGSSL", "PGCHANNEL"))
        }
    for name, value in address.items():
        option = known[name]
        if option.envvar:
            environment[option.envvar.decode()] = str(value)
        elif option.dispchar == b"*":
            raise BackupError(f"{name} cannot be handed to pg_dump without being seen by others: use a key without it.")
        else:
            more[name] = value
    return environment, (f"--dbname={make_conninfo(**more)}",) if more else ()


def _programs_for(server: int) -> Path:
    """The wheel's, else those on the PATH. None may be older than the server (pg_dump refuses it as well)."""
    seen = []
    for folder in _folders():
        version = _version(folder)
        if version >= server:
            return folder
        seen.append(f"{version} in {folder}")
    raise BackupError(
        f"The server is Postgres {server}, and pg_dump, pg_restore and psql must be at least as new; found: "
        f"{', '.join(seen) or 'none'}. Install Postgres {server}'s client programs and put them on the PATH."
    )


def _folders() -> Iterator[Path]:
    with suppress(embedded.EmbeddedError):
        yield embedded.programs()
    if found := shutil.which("pg_dump"):
        folder = Path(found).parent
        if all((folder / program).exists() for program in PROGRAMS):
            yield folder


def _version(folder: Path) -> int:
    said = subprocess.run([str(folder / "pg_dump"), "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    number = re.search(r"\d+", said.stdout)
    return int(number[0]) if number else 0
