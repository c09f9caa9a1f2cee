"""`make soak`, or `python -m benchmarks.soak --help`."""

import asyncio
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.live import Live

from benchmarks import data
from benchmarks.pictures import soak as picture
from benchmarks.soak import report
from benchmarks.soak.client import Connection
from benchmarks.soak.report import Found, Second
from benchmarks.soak.tally import Tally
from benchmarks.soak.users import User
from benchmarks.soak.watch import Watch
from tests.served import Served, environment_with, serving

WORK_LOG = Path("../shared/data/work-log.jsonl.gz")
PASSWORD = "correct horse battery"
RAMP_SECONDS = 50.0  # within which everybody signs in: a password's hash takes tens of milliseconds of a core
MADE_UP_OWNERS = 1_000
MADE_UP_TASKS = 47_000
console = Console(highlight=False)


def owners(file: Path) -> Counter[str]:
    """How many tasks each has."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return Counter(json.loads(line)["user"] for line in lines)


def made_up(folder: Path, seed: int) -> Path:
    """As uneven as life: the first has most."""
    chance = random.Random(seed)
    file = folder / "tasks.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        for task in data.read(Path("none"), MADE_UP_TASKS):
            owner = min(int(chance.paretovariate(0.5)), MADE_UP_OWNERS)
            lines.write(json.dumps({"user": f"user{owner:04}", **task}) + "\n")
    return file


def load(data_dir: Path, file: Path) -> None:
    """As an operator does it. Raises CalledProcessError."""
    command = [sys.executable, "-m", "backend.cli", "load", str(file.resolve()), "--password", PASSWORD]
    done = subprocess.run(command, env=environment_with(data_dir), cwd=data_dir.parent, capture_output=True, text=True)
    if done.returncode:
        console.print(done.stdout, done.stderr, markup=False)
        done.check_returncode()


class Soak:
    def __init__(self, served: Served, sizes: Counter[str], users: int, minutes: float, think: float, seed: int):
        port = int(served.url.rpartition(":")[2])
        self.served, self.minutes, self.think = served, minutes, think
        self.tally = Tally()
        self.users = [
            User(number, f"{name}@example.com", PASSWORD, size, port, self.tally, seed)
            for number, (name, size) in enumerate(sizes.most_common(users))
        ]
        self.watch = Watch(served.process.pid, served.postmaster())
        self.probe = Connection(port)
        self.found = Found(users=len(self.users), minutes=minutes, think=think, seed=seed, tasks=sizes.total())

    async def run(self) -> Found:
        reading = asyncio.create_task(self._read_log())
        try:
            return await self._run()
        finally:
            reading.cancel()

    async def _read_log(self) -> None:
        """A pipe that nobody reads is full soon, and then the server waits."""
        while True:
            self.served.read(0)
            self.served.printed = self.served.printed[-10_000:]
            await asyncio.sleep(0.2)

    async def _run(self) -> Found:
        begun = time.perf_counter()
        ends = begun + self.minutes * 60
        ramp = min(RAMP_SECONDS, self.minutes * 60 / 2)
        lives = [
            asyncio.create_task(user.live(begun + ramp * n / len(self.users), ends, self.think))
            for n, user in enumerate(self.users)
        ]
        with Live(console=console, refresh_per_second=1, transient=True) as live:
            await self._watch(begun, ends, live)
            live.update("Waiting for the last answers …")
            await asyncio.gather(*lives)
        self.found.kinds, self.found.told = deepcopy(self.tally.kinds), list(self.tally.told)
        await self._verify()
        return self.found

    async def _watch(self, begun: float, ends: float, live: Live) -> None:
        own = psutil.Process()
        spent = sum(own.cpu_times()[:2])
        last = begun
        for number in range(1, round(ends - begun) + 1):
            await asyncio.sleep(begun + number - time.perf_counter())
            sent = time.perf_counter()
            await self.probe.ask("GET", "/health/live", {})
            waited = time.perf_counter() - sent
            look = await asyncio.to_thread(self.watch.look, sent - last)
            last = sent
            before, spent = spent, sum(own.cpu_times()[:2])
            second = Second.of(number, self.tally.second(), look, waited, spent - before, self.tally.errors)
            self.found.seconds.append(second)
            live.update(report.progress(self.found, self.tally))

    async def _verify(self) -> None:
        """Everybody signs in once more and counts; a dozen at a time, since each costs a hash."""
        turns = asyncio.Semaphore(12)

        async def verified(user: User) -> str:
            async with turns:
                wrong = await user.verify()
                user.connection.close()
                return wrong

        found = await asyncio.gather(*(verified(user) for user in self.users))
        self.found.wrong = [wrong for wrong in found if wrong]
        self.found.made = sum(user.made for user in self.users)


def main(
    minutes: Annotated[float, typer.Option(help="How long; everything before the end of the first is warm-up.")] = 10,
    users: Annotated[int, typer.Option(help="How many at once, each on a connection of its own.")] = 300,
    think: Annotated[float, typer.Option(help="Seconds between what a user asks, on average.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Decides who asks what and when.")] = 1,
    tasks: Annotated[
        Path, typer.Option(help="What they have, as `tend load` takes it; made up if it is not there.")
    ] = WORK_LOG,
    write: Annotated[bool, typer.Option(help="docs/soak.md, docs/soak.svg and docs/soak.json.")] = True,
) -> None:
    """Has hundreds of users work for minutes with a server as `make run` starts it: does it stay as it was?

    A Postgres and a data folder of its own, gone afterwards. Exit code 1 when an answer was another than it had to be,
    or a user's data at the end. Numbers mean something on a machine that does nothing else.
    """
    with tempfile.TemporaryDirectory(prefix="tend-soak-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        file = tasks if tasks.exists() else made_up(folder, seed)
        with console.status("Loading the tasks …"):
            load(folder / "data", file)
        # As behind a proxy: the limits on signing in go by the address, and this is one machine.
        with serving(folder / "data", TRUSTED_PROXIES="127.0.0.1") as served:
            found = _run(Soak(served, owners(file), users, minutes, think, seed).run())
        found.rows_from = "a real work log" if tasks.exists() else "made up"
    console.print(report.table(found))
    report.tell(console, found)
    if write:
        report.write(found)
        picture([asdict(second) for second in found.seconds], report.DOCS / "soak.svg")
        console.print("Written to docs/soak.md, docs/soak.svg and docs/soak.json.")
    if found.errors or found.wrong:
        raise typer.Exit(1)


def _run(work: Any) -> Found:
    try:
        import uvloop
    except ImportError:
        found: Found = asyncio.run(work)
    else:
        found = uvloop.run(work)
    return found


if __name__ == "__main__":
    typer.run(main)
