"""What migrations cost while people work: `python -m tests.migrations_under_load [FILE]`, about two minutes.

Fills a database with the tasks of FILE (what `tend load` takes; without one, 200,000 are made up). Takes the landed
migrations down and up on it, one by one. Then `tend serve` answers at the newest landed one, as the release before
would, while a release that follows (tests/sample_migrations.py) migrates up, down and up. Exit code 1 when a request
failed or a task that was acknowledged is not there.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

import httpx
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy import create_engine, text

from backend import embedded
from backend.config import Settings
from backend.services import bulk
from tests.sample_migrations import RELEASE, Samples
from tests.served import serving
from tests.servers import ROOT, migrate

GIVEN = Path("../shared/data/work-log.jsonl.gz")
WORDS = ("water", "figs", "soil", "passport", "train", "dentist", "report", "draft", "review", "build", "garden")
CLIENTS = 8
QUIET_SECONDS = 3
console = Console(width=110)

# Those that keep others from writing, or from everything; of tables that others can see.
LOCKS = text("""
SELECT l.pid, c.relname AS table, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND a.application_name = 'tend migrate' AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
AND c.relname <> 'alembic_version'
AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
""")


class Held:
    """How long migrations keep others from a table, looked at every few milliseconds."""

    def __init__(self) -> None:
        self.longest = 0.0  # seconds
        self.of = ""

    def _watch(self, url: str, over: threading.Event) -> None:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        since: dict[tuple[int, str, str], float] = {}
        with engine.connect() as connection:
            while not over.is_set():
                now = time.perf_counter()
                seen = {(row.pid, row.table, row.mode) for row in connection.execute(LOCKS)}
                since = {lock: since.get(lock, now) for lock in seen}
                for (_, table, mode), begun in since.items():
                    if now - begun > self.longest:
                        self.longest, self.of = now - begun, f"{table}, {mode}"
                over.wait(0.002)
        engine.dispose()

    @classmethod
    @contextmanager
    def watched(cls, url: str) -> Iterator["Held"]:
        held, over = cls(), threading.Event()
        thread = threading.Thread(target=held._watch, args=(url, over))
        thread.start()
        try:
            yield held
        finally:
            over.set()
            thread.join()


class Load:
    """Clients that write and read, and remember what was acknowledged. Times are in seconds, by phase."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.phase = "warming up"
        self.times: dict[str, list[float]] = defaultdict(list)
        self.errors: dict[str, list[str]] = defaultdict(list)
        self.acknowledged: set[str] = set()
        self.going = True

    async def client(self, number: int) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as http:
            who = {"email": f"load{number}@example.com", "password": "correct horse battery", "name": "Load"}
            (await http.post("/v1/auth/register", json=who)).raise_for_status()
            form = {"username": who["email"], "password": who["password"]}
            token = (await http.post("/v1/auth/token", data=form)).raise_for_status().json()["access_token"]
            http.headers["Authorization"] = f"Bearer {token}"
            while self.going:
                made = await self.ask(http, "POST", "/v1/tasks", {"title": "Water the figs", "tags": ["home"]})
                if made is not None:
                    task = made.json()["id"]
                    self.acknowledged.add(task)
                    await self.ask(http, "PATCH", f"/v1/tasks/{task}", {"completed": True})
                await self.ask(http, "GET", "/v1/tasks?tags=home&limit=20")

    async def ask(self, http: httpx.AsyncClient, method: str, path: str, body: object = None) -> httpx.Response | None:
        phase, begun = self.phase, time.perf_counter()
        try:
            answer = await http.request(method, path, json=body)
        except httpx.HTTPError as error:
            self.errors[phase].append(repr(error))
            return None
        finally:
            self.times[phase].append(time.perf_counter() - begun)
        if answer.is_success:
            return answer
        self.errors[phase].append(f"{answer.status_code} {answer.text[:200]}")
        return None


def made_up(path: Path, tasks: int) -> Path:
    chance = random.Random(1)
    with path.open("w") as file:
        for number in range(tasks):
            words = chance.choices(WORDS, k=8)
            task = {"user": f"user{number % 200}", "title": " ".join(words), "description": " ".join(words * 8)}
            file.write(json.dumps({**task, "tags": [*{*words[:2]}]}) + "\n")
    return path


def fill(url: str, path: Path, folder: Path) -> int:
    settings = Settings(_env_file=None, database_url=url, data_dir=folder)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("Loading", total=path.stat().st_size)
        done = asyncio.run(
            bulk.load(
                settings,
                path,
                "example.com",
                None,
                lambda read, _rows: progress.update(bar, completed=read),
                lambda number, why: progress.print(f"line {number}: {why}"),
            )
        )
    return done.tasks


def landed(url: str) -> Table:
    """Each but the first, whose way down would leave nothing to go up on."""
    config = Config(ROOT / "alembic.ini", attributes={"configure_logging": False, "url": url})
    shown = Table("landed migration", "way", "seconds", "longest lock, ms", "of", title="Nobody at work")
    steps = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    ways: list[tuple[str, str, Callable[[Config, str], object], str]] = []
    for revision, before in pairwise(steps):
        ways.append((revision, "down", command.downgrade, before))
    for revision in reversed(steps[:-1]):
        ways.append((revision, "up", command.upgrade, revision))  # noqa: PERF401
    for revision, way, go, target in ways:
        begun = time.perf_counter()
        with Held.watched(url) as held:
            go(config, target)
        took = time.perf_counter() - begun
        shown.add_row(revision, way, f"{took:.2f}", f"{held.longest * 1000:.0f}", held.of)
    return shown


async def at_work(url: str, database: str, folder: Path) -> tuple[Table, int, set[str]]:
    """The table, the number of errors, and the tasks that were acknowledged."""
    samples, load, locks = Samples(folder, database, *RELEASE), Load(url), {}
    working = [asyncio.create_task(load.client(number)) for number in range(CLIENTS)]
    await asyncio.sleep(QUIET_SECONDS)
    load.phase = "nothing migrates"
    await asyncio.sleep(QUIET_SECONDS)
    for phase, go in (("up", samples.up), ("down", samples.down), ("up again", samples.up)):
        load.phase = phase
        with Held.watched(database) as locks[phase]:
            await asyncio.to_thread(go)
            await asyncio.sleep(1)  # for those who waited
    load.going = False
    await asyncio.gather(*working)
    names = ("phase", "requests", "errors", "median, ms", "99 %, ms", "longest, ms", "longest lock, ms", "of")
    shown = Table(*names, title=f"{CLIENTS} clients at work")
    for phase, times in load.times.items():
        middle, slow = quantiles(times, n=100)[49] * 1000, quantiles(times, n=100)[98] * 1000
        figures = [f"{len(times):,}", str(len(load.errors[phase])), f"{middle:.1f}", f"{slow:.1f}"]
        held = [f"{locks[phase].longest * 1000:.0f}", locks[phase].of] if phase in locks else []
        shown.add_row(phase, *figures, f"{max(times) * 1000:.0f}", *held)
    for each in [error for errors in load.errors.values() for error in errors][:10]:
        console.print(each, style="red", markup=False)
    return shown, sum(map(len, load.errors.values())), load.acknowledged


def lost(url: str, acknowledged: set[str]) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT id::text FROM tasks WHERE completed")).scalars().all()
    engine.dispose()
    return len(acknowledged - set(kept))


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("file", nargs="?", type=Path, default=GIVEN if GIVEN.exists() else None)
    reader.add_argument("--tasks", type=int, default=200_000, help="how many to make up without a file")
    given = reader.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that the server stops
    with tempfile.TemporaryDirectory(prefix="tend-migrations-") as name:
        folder = Path(name)
        (folder / "versions").mkdir()
        file = given.file or made_up(folder / "tasks.jsonl", given.tasks)
        with embedded.server(folder / "data") as url:
            migrate(url)
            console.print(f"{fill(url, file, folder):,} tasks")
            console.print(landed(url))
            with serving(folder / "serving", DATABASE_URL=url) as served:
                shown, errors, acknowledged = asyncio.run(at_work(served.url, url, folder / "versions"))
            missing = lost(url, acknowledged)
    console.print(shown)
    console.print(f"{len(acknowledged):,} tasks were acknowledged, {missing} are lost; {errors} requests failed.")
    return int(bool(errors or missing))


if __name__ == "__main__":
    sys.exit(main())
