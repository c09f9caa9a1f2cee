"""Postgres itself: ended connections, restarts, crashes, locks, limits, a full disk."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg

from backend.connection import arguments
from tests import servers
from tests.faults.registry import fault
from tests.faults.stage import Postgres, Run, every, is_root

SMALL_MB = 192


@fault("terminate", "pg_terminate_backend of every connection, every 200 ms", 100)
async def terminate(run: Run) -> None:
    async with run.load(run.postgres.database()):
        await every(0.2, run.found.attempts, lambda: asyncio.to_thread(run.postgres.terminate), run.tick)


async def _restarts(run: Run, mode: str) -> None:
    async with run.load(run.postgres.database()):
        for _ in run.attempts():
            await asyncio.to_thread(run.postgres.stop, mode)
            await asyncio.to_thread(run.postgres.start)
            await asyncio.sleep(2)


@fault("restart", "Postgres is restarted (fast)", 5)
async def restart(run: Run) -> None:
    await _restarts(run, "fast")


@fault("crash", "Postgres is stopped at once (immediate) and recovers", 5)
async def crash(run: Run) -> None:
    await _restarts(run, "immediate")


@fault("kill postmaster", "kill -9 of the postmaster, and a start", 5)
async def kill_postmaster(run: Run) -> None:
    async with run.load(run.postgres.database()):
        for _ in run.attempts():
            run.postgres.kill()
            await asyncio.sleep(1)
            await asyncio.to_thread(run.postgres.start)
            await asyncio.sleep(2)


@fault("kill backend", "kill -9 of one backend: Postgres ends all and recovers", 5)
async def kill_backend(run: Run) -> None:
    async with run.load(run.postgres.database()):
        for _ in run.attempts():
            with run.postgres.asked() as connection:
                row = connection.execute(
                    "SELECT pid FROM pg_stat_activity WHERE application_name = 'tend' LIMIT 1"
                ).fetchone()
            if row:
                os.kill(row[0], 9)
            await asyncio.sleep(4)


@fault("stop long", "Postgres is away for 15 s", 1)
async def stop_long(run: Run) -> None:
    async with run.load(run.postgres.database()):
        for _ in run.attempts():
            await asyncio.to_thread(run.postgres.stop, "fast")
            await asyncio.sleep(15)
            await asyncio.to_thread(run.postgres.start)
            await asyncio.sleep(2)


@fault("read only", "Postgres comes back read-only for 5 s, as after a failover", 3)
async def read_only(run: Run) -> None:
    async with run.load(run.postgres.database()):
        for _ in run.attempts():
            await asyncio.to_thread(_read_only, run.postgres, "on")
            await asyncio.to_thread(run.postgres.stop, "fast")
            await asyncio.to_thread(run.postgres.start)
            await asyncio.sleep(5)
            await asyncio.to_thread(_read_only, run.postgres, "off")
            await asyncio.sleep(3)


def _read_only(postgres: Postgres, state: str) -> None:
    with postgres.asked() as connection:
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {state}")
        connection.execute("SELECT pg_reload_conf()")


@fault("lock of a row", "One user's counter locked for 20 s", 1)
async def lock_of_a_row(run: Run) -> None:
    await _locked(run, "SELECT FROM sync_state LIMIT 1 FOR UPDATE")


@fault("lock of a table", "The tasks locked for 20 s (ACCESS EXCLUSIVE, as by a migration)", 1)
async def lock_of_a_table(run: Run) -> None:
    await _locked(run, "LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")


async def _locked(run: Run, statement: str) -> None:
    database = run.postgres.database()
    async with run.load(database):
        for _ in run.attempts():
            with run.postgres.asked(database) as connection:
                connection.execute("BEGIN")
                await asyncio.to_thread(connection.execute, statement)
                begun = run.found.saw.answers["200"]
                await asyncio.sleep(20)
                run.found.notes.append(f"{run.found.saw.answers['200'] - begun} answers of 200 while it was held")
                connection.execute("COMMIT")
            await asyncio.sleep(3)


@fault("too many connections", "Others hold all connections for 5 s, and ours are ended", 3)
async def too_many(run: Run) -> None:
    async with run.load(run.postgres.database()):
        for _ in run.attempts():
            with ExitStack() as held:
                admin = held.enter_context(run.postgres.asked())
                for _ in range(3):
                    await asyncio.to_thread(_take_all, admin, held, run.postgres)
                await asyncio.sleep(5)
            await asyncio.sleep(2)


def _take_all(admin: psycopg.Connection, held: ExitStack, postgres: Postgres) -> None:
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tend'")
    address = arguments(postgres.cluster.url)
    with suppress(psycopg.OperationalError):
        while True:
            held.enter_context(psycopg.connect(**address))


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MB}m,mode=0755", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    return ballast


async def _full(run: Run, *, wal: bool) -> None:
    if not is_root():
        run.found.skipped = "needs root, to mount a small disk"
        return
    with _small_disk(run.folder / run.found.name.replace(" ", "-") / "disk") as disk:
        large = disk.parent / "large"
        large.mkdir(mode=0o755)
        postgres = Postgres(large if wal else disk, max_wal_size="64MB", min_wal_size="32MB", wal_keep_size="1GB")
        postgres.cluster._initialise()
        _move(postgres.cluster.data / "pg_wal", disk if wal else large)
        postgres.start()
        try:
            servers.make_template(postgres.cluster.url)
            async with run.load(postgres.database()):
                for _ in run.attempts():
                    ballast = await asyncio.to_thread(_fill, disk)
                    if wal:
                        await asyncio.to_thread(_next_segments, postgres)
                    await asyncio.sleep(12)
                    ballast.unlink()
                    if wal:
                        await _started(run, postgres)
                    await asyncio.sleep(4)
        finally:
            postgres.cluster.stop()


def _next_segments(postgres: Postgres) -> None:
    """The one that is there and those made ahead are soon full."""
    with suppress(psycopg.OperationalError):
        for _ in range(12):
            with postgres.asked() as connection:
                connection.execute("SELECT pg_switch_wal()")
                connection.execute("CREATE TABLE IF NOT EXISTS filler ()")
                connection.execute("DROP TABLE filler")


def _move(wal: Path, to: Path) -> None:
    shutil.move(wal, to / "pg_wal")
    wal.symlink_to(to / "pg_wal")
    owner = wal.parent.stat()
    for path in (to / "pg_wal", *(to / "pg_wal").rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)


async def _started(run: Run, postgres: Postgres) -> None:
    """Without room for its log, Postgres ends, and an operator starts it again."""
    await asyncio.sleep(2)
    if postgres.cluster.process() is None:
        run.found.notes.append("Postgres ended, and was started again")
        await asyncio.to_thread(postgres.start)


@fault("disk full", "The disk of the tables is full for 12 s (53100)", 2)
async def disk_full(run: Run) -> None:
    await _full(run, wal=False)


@fault("log disk full", "The disk of the write-ahead log is full for 12 s: Postgres ends", 2)
async def log_disk_full(run: Run) -> None:
    await _full(run, wal=True)
