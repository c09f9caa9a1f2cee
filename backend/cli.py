"""The command line: `tend --help`."""

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from logging.config import dictConfig
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
import uvicorn
from alembic import command
from alembic.config import Config as Alembic
from psycopg.errors import UndefinedColumn, UndefinedTable
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import OperationalError

from backend import config, draining, embedded, orphans
from backend.config import Settings
from backend.errors import TendError, Unavailable
from backend.operations import accounts, backups, distribute, keys
from backend.operations.doctor import doctor
from backend.rules.text import counted
from backend.telemetry import logs
from backend.terminal import console, database, errors, fail, interruptible

ROOT: Final = Path(__file__).resolve().parent.parent
BACKLOG: Final = 2048
GRACEFUL_SECONDS: Final = 5  # for requests that are under way when a signal comes
# Before a worker that does not answer its supervisor is replaced. With uvicorn's 5, one that starts on a busy or a
# small machine is killed before it is there, and the next as well: half a core takes five to import.
STUCK_SECONDS: Final = 60

log = logging.getLogger("tend")
_signals: Final[list[int]] = []  # that came

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Tend, a task manager's backend. Settings come from the environment or `.env`; see `.env.example`.",
)
app.add_typer(keys.app, name="keys")
app.add_typer(accounts.app, name="account")
app.command()(accounts.clean)
app.command()(doctor)
app.add_typer(backups.app)  # without a name: its commands are `tend`'s own
app.command()(distribute.distribute)


def main() -> None:
    """Runs a command; what can go wrong on purpose is a line on stderr and exit code 1."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)  # the terminal was closed
    try:
        app()
    except (config.SettingsError, embedded.EmbeddedError) as error:
        fail(str(error))
    except (UndefinedTable, UndefinedColumn):
        fail("The database is not at this code's migration. Run `tend migrate` first.")
    except TendError as error:
        fail(f"{error.detail}\nIs its address right?" if isinstance(error, Unavailable) else error.detail)
    except OperationalError as error:
        fail(f"The database cannot be reached: {str(error.orig).splitlines()[0]}\nIs its address right?")


def _stop(number: int, _frame: Any) -> NoReturn:
    """The signal unwinds like an exception, so that whatever was started is stopped."""
    _signals.append(number)
    sys.exit(128 + number)


def _note(number: int, _frame: Any) -> None:
    """While what serves is imported, where an exception may be raised in a callback and be lost in it."""
    _signals.append(number)


def upgrade(say: Callable[[str], None] = errors.print) -> None:
    """To the newest migration, on the direct connection if there is one. One of a newer release stays where it is."""
    alembic = Alembic(ROOT / "alembic.ini", attributes={"configure_logging": False, "say": say, "leave_newer": True})
    command.upgrade(alembic, "head")


def _version(asked: bool) -> None:
    if asked:
        console.print(f"tend {version('tend')}")
        raise typer.Exit


@app.callback()
def options(
    _asked: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    until_parent_exits: Annotated[
        bool, typer.Option(help="Stop when the process that started this one is gone (used by `make run`).")
    ] = False,
) -> None:
    """Serve the API: start the embedded Postgres if DATABASE_URL is not set, migrate, listen.

    Honours HOST, PORT, DATA_DIR, DATABASE_URL and WEB_CONCURRENCY. Ctrl-C or SIGTERM ends everything
    within seconds.
    """
    parent = os.getppid()
    settings = config.load()
    dictConfig(logs.config(settings))
    say = log.info if settings.logs_json else errors.print
    listener = _listen(settings)
    try:
        with database(make=True, say=say) as ready:
            upgrade(say)
            _announce(ready, listener)
            _run(ready, listener, parent if until_parent_exits else None)
    finally:
        listener.close()
    say("Stopped.")


def _listen(settings: Settings) -> socket.socket:
    """First of all, so that a taken port is told before anything was started."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)  # at once: until then, another could bind the same
    except OSError as error:
        fail(f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. Choose another HOST or PORT.")
    listener.set_inheritable(True)
    return listener


def _announce(settings: Settings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 # nosec B104
    shown = everywhere.get(host, f"[{host}]" if ":" in host else host)
    base = f"http://{shown}:{port}"
    if settings.logs_json:
        log.info("Tend is at %s", base)
        return
    console.print(f"\n[bold]Tend is at {base}[/bold]", soft_wrap=True)
    console.print(f"Try it at     {base}/docs", soft_wrap=True)
    console.print(
        "Sign up with  "
        f"curl -H 'Content-Type: application/json' {base}/v1/auth/register \\\n"
        '                -d \'{"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}\'',
        soft_wrap=True,
        markup=False,
    )
    console.print("Stop with     Ctrl-C\n")


def _run(settings: Settings, listener: socket.socket, parent: int | None) -> None:
    if parent is not None:
        orphans.follow(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _note)  # until uvicorn has its own
    from backend.peers import Limits, raise_file_limit
    from backend.protocol import protocol

    raise_file_limit()
    server = uvicorn.Config(
        "backend.main:create_app",
        factory=True,
        workers=settings.web_concurrency,
        access_log=False,  # it would write paths and queries; ACCESS_LOG is telemetry's
        log_config=logs.config(settings),
        log_level=settings.log_level,
        server_header=False,
        http=protocol(Limits.of(settings)),
        timeout_keep_alive=ceil(settings.keep_alive_seconds),
        proxy_headers=False,  # it would believe everybody on this machine; see TRUSTED_PROXIES
        ws="none",
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        timeout_worker_healthcheck=STUCK_SECONDS,
    )
    with suppress(KeyboardInterrupt, SystemExit):  # uvicorn raises the signal again after a clean end
        if settings.web_concurrency > 1:
            os.environ["TEND_WORKER_OF"] = str(os.getpid())
            with _counting(settings):
                draining.Supervisor(server, [listener], _signals).run()
        else:
            draining.Server(server, _signals).run(sockets=[listener])


@contextmanager
def _counting(settings: Settings) -> Iterator[None]:
    """A folder in which the workers count, so that any of them can tell the sums; none where nobody can ask."""
    if not settings.offers_metrics:
        yield
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="tend-metrics-")
    except OSError:
        fail("Several workers need a folder to count in, and no temporary one can be written to: set TMPDIR to one.")
    with folder as name:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = name
        yield


@app.command()
def migrate() -> None:
    """Bring the database to this code's migration; safe to run again, and while the service runs.

    A database that a newer release has migrated is left as it is: the release before works on it.
    """
    with database(make=True):
        upgrade()
        console.print("The database is ready for this release.")


@app.command()
def load(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON Lines, plain or gzip.")],
    email_domain: Annotated[str, typer.Option(help="`user` becomes `user@` and this.")] = "example.com",
    password: Annotated[
        str | None,
        typer.Option(help="For the accounts that are made; without it nobody can sign in to them yet."),
    ] = None,
) -> None:
    """Load tasks of many users from a file, one task a line.

    Each line is an object with `user` and `title`, and `description`, `priority`, `tags`, `due_date`,
    `completed` and `created_at` where they are known. A line that is wrong is reported with its number
    and the rest goes on; then the exit code is 1. The same file again adds nothing: a line is known by
    its account and its content, and equal lines by how many there are.
    """
    from backend.services import bulk

    try:
        bulk.check_options(email_domain, password)
    except bulk.Refused as refusal:
        fail(str(refusal))
    size = file.stat().st_size
    again = "What was loaded stays; the same file again goes on after it."
    with interruptible(again), database(make=True) as settings, _progress() as progress:
        upgrade()
        task = progress.add_task("Loading", total=size, rows=0)

        def advance(read: int, rows: int) -> None:
            progress.update(task, completed=read, rows=rows)

        def refuse(number: int, reason: str) -> None:
            errors.print(f"line {number}: {reason}", markup=False, soft_wrap=True)

        done = asyncio.run(bulk.load(settings, file, email_domain, password, advance, refuse))
        advance(size, done.tasks + done.known)
    console.print(
        f"{counted(done.tasks, 'task')} and {counted(done.accounts, 'account')} loaded; "
        f"{counted(done.known, 'task')} there already; {counted(done.refused, 'line')} refused.",
        soft_wrap=True,
    )
    if done.refused:
        raise typer.Exit(1)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[rows]:,} tasks"),
        TimeElapsedColumn(),
        console=errors,
        disable=not errors.is_terminal,
    )


@app.command()
def demo() -> None:
    """Make a demo account with some tasks, and print its password. Again: a new password, the same tasks."""
    from backend.services import demo as demonstration

    with database(make=True) as settings:
        upgrade()
        email, password, count = asyncio.run(demonstration.make(settings))
    console.print(f"Sign in as [bold]{email}[/bold] with the password [bold]{password}[/bold]: {count} tasks.")


@app.command()
def settings() -> None:
    """Print every setting with its description and default: the text of `.env.example`."""
    sys.stdout.write(config.example())


if __name__ == "__main__":
    main()
