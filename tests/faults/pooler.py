"""PgBouncer between the application and Postgres."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from tests.faults.registry import fault
from tests.faults.stage import Run, every
from tests.pooler import PgBouncer, version


@asynccontextmanager
async def _through(run: Run, number: int, **settings: str) -> AsyncIterator[tuple[PgBouncer, str]]:
    """A pooler that is there again at the same address after it was ended, and the load through it."""
    database = run.postgres.database()
    program = run.poolers[number]
    run.found.notes.append("PgBouncer " + ".".join(map(str, version(program))))
    with tempfile.TemporaryDirectory(prefix="tend-pooler-") as name:
        os.chmod(name, 0o755)  # PgBouncer reads it as another user where root runs this
        pooler = PgBouncer(program, run.postgres.cluster.url, Path(name), prepared=True, **settings)
        pooler.start()
        try:
            async with run.load(database, by=pooler.url(database)):
                yield pooler, pooler.url(database)
        finally:
            pooler.stop()


async def _restarted(run: Run, number: int, how: int) -> None:
    if len(run.poolers) <= number:
        run.found.skipped = "needs a PgBouncer: --pooler"
        return
    async with _through(run, number) as (pooler, _):

        async def again() -> None:
            assert pooler.process
            pooler.process.send_signal(how)
            await asyncio.to_thread(pooler.process.wait)
            await asyncio.to_thread(pooler.start)

        await every(2, run.found.attempts, again, run.tick)
        await asyncio.sleep(1)


async def _exhausted(run: Run, number: int) -> None:
    """Others hold its two connections, and whoever waits for two seconds is sent away."""
    if len(run.poolers) <= number:
        run.found.skipped = "needs a PgBouncer: --pooler"
        return
    async with _through(run, number, default_pool_size="2", query_wait_timeout="2") as (_, url):
        for _ in run.attempts():
            with ExitStack() as held:
                for _ in range(2):
                    connection = await asyncio.to_thread(held.enter_context, run.postgres.asked(url))
                    await asyncio.to_thread(_begin, connection)
                await asyncio.sleep(8)
            await asyncio.sleep(2)


def _begin(connection: object) -> None:
    connection.execute("BEGIN")  # type: ignore[attr-defined]
    connection.execute("SELECT 1")  # type: ignore[attr-defined]


@fault("pooler restart", "PgBouncer is restarted (SIGINT)", 10)
async def restart(run: Run) -> None:
    await _restarted(run, 0, signal.SIGINT)


@fault("pooler killed", "kill -9 of PgBouncer, and a start", 10)
async def killed(run: Run) -> None:
    await _restarted(run, 0, signal.SIGKILL)


@fault("pooler full", "PgBouncer has no connection free for 8 s (query_wait_timeout 2 s)", 2)
async def full(run: Run) -> None:
    await _exhausted(run, 0)


@fault("pooler 2 restart", "The same restart, of the second PgBouncer", 10)
async def second_restart(run: Run) -> None:
    await _restarted(run, 1, signal.SIGINT)


@fault("pooler 2 killed", "The same kill -9, of the second PgBouncer", 10)
async def second_killed(run: Run) -> None:
    await _restarted(run, 1, signal.SIGKILL)


@fault("pooler 2 full", "The same shortage, of the second PgBouncer", 2)
async def second_full(run: Run) -> None:
    await _exhausted(run, 1)
