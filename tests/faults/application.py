"""`tend serve`: ended, killed, and one of its workers killed."""

import asyncio
import time
from contextlib import suppress

import psutil

from tests.faults.registry import fault
from tests.faults.stage import Run, Server


@fault("sigterm", "SIGTERM of `tend serve`, two workers, and a start", 5)
async def sigterm(run: Run) -> None:
    async with run.load(run.postgres.database(), WEB_CONCURRENCY="2") as server:
        codes, longest = [], 0.0
        for _ in run.attempts():
            begun = time.monotonic()
            codes.append(await server.stop())
            longest = max(longest, time.monotonic() - begun)
            await server.start()
            await asyncio.sleep(2)
    run.found.notes.append(f"exit codes {codes}; ended in {longest:.1f} s at the longest")


@fault("kill worker", "kill -9 of one of two workers, and of the next one while it starts", 5)
async def kill_worker(run: Run) -> None:
    async with run.load(run.postgres.database(), WEB_CONCURRENCY="2") as server:
        waits = []
        for _ in run.attempts():
            victim, other = _workers(server)
            for _ in range(2):
                victim.kill()
                begun = time.monotonic()
                while len(now := [w for w in _workers(server) if w != victim]) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                waits.append(time.monotonic() - begun)
                await asyncio.sleep(0.5)
                victim = next(worker for worker in now if worker != other)
            await asyncio.sleep(8)  # until it serves
    run.found.notes.append(f"a new worker was started after {max(waits):.1f} s at the longest")


def _workers(server: Server) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(server.process.pid).children():
        with suppress(psutil.Error):  # it has just ended
            if "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child)
    return found


@fault("kill server", "kill -9 of `tend serve` with both workers, and a start", 5)
async def kill_server(run: Run) -> None:
    async with run.load(run.postgres.database(), WEB_CONCURRENCY="2") as server:
        for _ in run.attempts():
            workers = _workers(server)
            server.process.kill()
            for worker in workers:
                worker.kill()
            await server.ended()
            await server.start()
            await asyncio.sleep(2)
