"""`tend backup` and what belongs to it: verify, check, restore, new epochs."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import make_url

from backend import config, embedded, pooler
from backend.config import Settings, SettingsError
from backend.config.values import postgres_url
from backend.models import SCHEMA_VERSION
from backend.operations import envelopes, manifests, restores, snapshots
from backend.operations.clients import reached
from backend.operations.envelopes import Identities
from backend.operations.manifests import Backup, Bar, Step
from backend.terminal import console, database, errors, fail, interruptible

app = typer.Typer(rich_markup_mode="markdown")

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}

Made = Annotated[
    Path, typer.Argument(exists=True, file_okay=False, help="The backup: a folder that `tend backup` made.")
]
Identity = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="The file with the age private key, as `age-keygen` writes it."),
]


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(file_okay=False, help="The folder of the backups; made when not there.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Restore it into a temporary server afterwards, and compare.")
    ] = False,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Then delete this database's older backups beyond so many.")
    ] = None,
    identity: Identity = None,
) -> None:
    """Back the database up, while the service runs: one moment of it, in a new folder named by the time in UTC.

    It connects to DIRECT_DATABASE_URL, else to DATABASE_URL, else starts the embedded Postgres. With
    BACKUP_RECIPIENTS nothing is written but what age has encrypted, and `--verify` needs `--identity`. An interrupted
    backup leaves nothing that looks like one, and `--keep` deletes only when all else went well.

    **JWT_SECRET is not in it**: keep that too, or second factors and the signing keys, which are sealed under it,
    cannot be opened after a restore.

    A line for cron: `15 3 * * * tend backup /var/backups/tend --verify --keep 14`. The exit code is 0 when everything
    went well.
    """
    settings = config.load()
    identities = _identities(identity)
    if verify and settings.backup_recipients and not identities:
        fail("An encrypted backup is verified with its private key: add --identity, or verify it where the key is.")
    try:
        with (
            interruptible("No backup was made.") as now,
            database() as ready,
            _progress() as bar,
            reached(_configured(ready, "Backups")) as server,
            manifests.draft(target) as folder,
        ):
            manifest = snapshots.take(server, folder, settings.backup_recipients, bar)
            made = manifests.publish(folder, manifest)
            now(f"The backup was made: {made.folder}")
        console.print(f"{made.folder}: {manifest.bytes:,} bytes.", soft_wrap=True, markup=False)
        if verify:
            with interruptible("The backup was made, and not verified."), _progress() as bar:
                _verify(made, identities, bar)
            console.print("Verified: every table came out as it went in.")
        gone = manifests.keep(target, made, keep) if keep else []
    except OSError as error:
        fail(f"{error.filename or target} cannot be written: {error.strerror}.")
    if gone:
        console.print(f"{len(gone)} older deleted.")


@app.command()
def verify_backup(made: Made, identity: Identity = None) -> None:
    """Restore a backup into a temporary server on this machine, compare every table, and remove it again.

    The server needs room for the whole database in TMPDIR. No other database is touched, and none is needed.
    """
    found = manifests.read(made)
    with interruptible("It was not verified."), _progress() as bar:
        _verify(found, _identities(identity), bar)
    console.print(f"{made} is sound: every table came out as it went in.", soft_wrap=True, markup=False)


@app.command()
def check_backups(
    target: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The folder of the backups.")],
    within: Annotated[str, typer.Option(help="How old the newest may be: 26h, 90m, 2d.")] = "26h",
) -> None:
    """Fail unless the newest backup of each database in a folder is young enough, and its files are whole.

    For monitoring: it needs no database, no network and no private key.
    """
    parts = re.fullmatch(r"([1-9]\d{0,5})([mhd])", within)
    if not parts:
        raise typer.BadParameter(f"expected a number and m, h or d, like 26h, and got {within}.", param_hint="--within")
    oldest = datetime.now(UTC) - timedelta(**{UNITS[parts[2]]: int(parts[1])})
    newest = {each.manifest.database: each for each in manifests.among(target)}
    if not newest:
        fail(f"There is no backup in {target}.")
    for found in newest.values():
        if found.manifest.made_at < oldest:
            fail(f"The newest backup of {found.manifest.database} is of {found.manifest.made_at:%F %T} UTC: too old.")
        with _progress() as bar:
            found.check(bar)
        console.print(f"{found.folder} is young enough and whole.", soft_wrap=True, markup=False)


@app.command()
def restore(
    made: Made,
    into: Annotated[
        str | None,
        typer.Option(help="Another database's address, without a password: PGPASSWORD or ~/.pgpass has that."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete what the target holds; needed for the configured database.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Though the service is connected to it; what it writes meanwhile is lost.")
    ] = False,
    identity: Identity = None,
) -> None:
    """Restore a backup into an empty database, or with `--replace` in place of what is there.

    The files are verified first. Then everything happens in one transaction: the tables, the comparison of each with
    what was backed up, and new epochs, by which clients learn that what they have may not be right any more. Whatever
    goes wrong, the target stays as it was.

    Stop the service before: a database to which one is connected is left alone. Without `--into` it is the configured
    database (DIRECT_DATABASE_URL, DATABASE_URL or the embedded one), which asks for `--replace` though it be empty.
    """
    settings = config.load()
    found, identities = manifests.read(made), _identities(identity)
    if found.manifest.migration > SCHEMA_VERSION:
        fail(
            f"The backup is at migration {found.manifest.migration}, and this code at {SCHEMA_VERSION}: restore it "
            f"with Tend {found.manifest.tend} or newer. Nothing was touched."
        )
    address = _checked(into) if into else None
    if not replace and (not address or _place(address) in {_place(url) for url in _addresses(settings)}):
        fail("That is the configured database: add --replace to put the backup in place of what it holds.")
    if address:
        pooler.refuse(address, "Restores", "--into")
    with _progress() as bar, interruptible("What was there is as it was.") as now:
        found.check(bar)
        if address:
            _restore(found, address, identities, bar, replace, force, now)
        else:
            with database(make=True) as ready:
                _restore(found, _configured(ready, "Restores"), identities, bar, replace, force, now)
    console.print("Restored: every table is as it was backed up, and the epochs are new.")
    if found.manifest.migration < SCHEMA_VERSION:
        console.print("Next: `tend migrate`, since the backup is older than this code. Then start the service.")
    else:
        console.print("Next: start the service, with the JWT_SECRET of the backup's time.")


@app.command()
def restore_epoch() -> None:
    """Tell the configured database that it was restored by other means, like a host's point-in-time restore.

    Every user's counter went back then, and will give numbers a second time. A client that still has one from before
    would be told that its copy is right (304, or a cursor that leads on) when it is not. A new epoch makes all of them
    ask again, and loses nothing. Run it before the service starts; again does no harm.
    """
    with database() as settings, reached(_configured(settings, "New epochs")) as server:
        users = server.connection.execute(restores.NEW_EPOCHS).rowcount
    console.print(f"{users:,} users have a new epoch. Start the service now.")


def _restore(
    found: Backup,
    address: str,
    identities: Identities,
    bar: Bar,
    replace: bool,
    force: bool,
    now: Callable[[str], None],
) -> None:
    with reached(address) as server:
        if (users := restores.connected(server)) and not force:
            fail(
                f"The service is connected to that database (connections: {users}). Stop it: what it writes from now "
                "on would be lost. If it is stopped, those are a pooler's, which keeps them for some minutes: wait, or "
                "add --force. Nothing was touched."
            )
        if not replace and restores.has_tables(server):
            fail(
                "The target holds tables: add --replace to delete them, or name an empty database. Nothing was touched."
            )
        restores.restore(found, server, identities, bar, replace=replace)
        now("It was restored before.")


def _verify(found: Backup, identities: Identities, bar: Bar) -> None:
    found.check(bar)
    restores.tables_of(found, identities)  # a wrong key shows before a server is started
    with (
        tempfile.TemporaryDirectory(prefix="tend-verify-") as folder,
        embedded.server(Path(folder), embedded.LAZY) as address,
        reached(address) as server,
    ):
        restores.restore(found, server, identities, bar, replace=False)


def _identities(file: Path | None) -> Identities:
    return envelopes.read_identities(file) if file else []


def _configured(settings: Settings, who: str) -> str:
    assert settings.direct_url  # terminal.database() gives the embedded one's
    pooler.refuse(settings.direct_url, who)
    return settings.direct_url


def _addresses(settings: Settings) -> list[str]:
    return [url for url in (settings.database_url, settings.direct_database_url) if url]


def _place(address: str) -> tuple[str, int, str]:
    """What makes two addresses the same database; a pooler's leads there too."""
    url = make_url(address)
    host = url.query.get("host", url.host) or ""
    return str(host).replace("-pooler", ""), url.port or 5432, url.database or ""


def _checked(into: str) -> str:
    try:
        address = postgres_url(into)
    except ValueError as error:
        raise SettingsError(f"--into: {error}") from None
    url = make_url(address)
    if url.password or "password" in url.query:
        fail("--into: a password on the command line can be read by others. Leave it out, and set PGPASSWORD.")
    return address


@contextmanager
def _progress() -> Iterator[Bar]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=errors,
        disable=not errors.is_terminal,
    ) as progress:

        def bar(doing: str, total: int) -> Step:
            task = progress.add_task(doing, total=max(total, 1))
            return lambda done: progress.advance(task, done)

        yield bar
