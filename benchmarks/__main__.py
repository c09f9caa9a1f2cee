"""`make bench`, or `python -m benchmarks --help`."""

import logging
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from backend import embedded
from benchmarks import compare, data, growth, pictures, report, serve, starting
from benchmarks.compare import BARE, TEND, USUAL, Side
from benchmarks.load import Load
from benchmarks.scale import FULL, HUGE, LARGE, QUICK, READERS, SMALL, WRITERS, Scale, Tick

WORK_LOG = Path("../shared/data/work-log.jsonl.gz")
COMPARED = "compared"
REFERENCE = "reference"  # the schema of the reference's tables, which have Tend's names or nearly
SETTINGS = {"max_wal_size": "8GB"}
console = Console(highlight=False)


class Run:
    """One run on one server; each step shows how far it is."""

    def __init__(self, scale: Scale, databases: data.Databases, folder: Path, progress: Progress) -> None:
        self.scale, self.databases, self.folder, self.progress = scale, databases, folder, progress
        self.found = report.Found(scale)

    @contextmanager
    def step(self, name: str, ticks: int) -> Iterator[Tick]:
        task = self.progress.add_task(name, total=ticks)
        yield lambda: self.progress.advance(task)
        self.progress.update(task, completed=ticks)
        if self.progress.disable:  # in a log, a line when it is done
            console.print(f"{name}: {self.progress.tasks[task].elapsed or 0:.0f} s")

    def measure(self, tasks: list[data.Task]) -> report.Found:
        begun = time.monotonic()
        with Load() as load:
            self._compare(load, tasks)
            self._grow(load)
        with self.step("Imports", self.scale.starts) as tick:
            self.found.imports = starting.imports(self.scale, tick)
        self.found.seconds = time.monotonic() - begun
        return self.found

    def _fill(self, sizes: dict[str, dict[int, int]], *, computed: bool) -> None:
        with self.step(f"Rows: {max(sum(users.values()) for users in sizes.values()):,} tasks", len(sizes)) as tick:
            for name, users in sizes.items():
                self.databases.fill(name, users, computed=computed)
                tick()

    @contextmanager
    def _sides(self, name: str, numbers: list[int], *, bare: bool = False) -> Iterator[dict[str, Side]]:
        """The servers on a database, and everybody signed in."""
        url = self.databases.url(name)
        with self.databases.connect(name) as connection:
            connection.execute(f"CREATE SCHEMA {REFERENCE}")
        with ExitStack() as stack:
            tend, usual = self._serve(stack, serve.TEND, url), self._usual(stack, name)
            tokens = {n: tend.sign_in("/v1/auth/token", data.email(n)) for n in numbers}
            sides = {
                USUAL: Side(usual, {n: usual.sign_in("/token", data.email(n)) for n in numbers}),
                TEND: Side(tend, tokens),
            }
            if bare:
                sides[BARE] = Side(self._serve(stack, serve.BARE, url), tokens)
            yield sides

    def _serve(self, stack: ExitStack, app: str, url: str) -> serve.Server:
        return stack.enter_context(serve.serving(app, url, self.folder / "servers.log"))

    def _usual(self, stack: ExitStack, name: str) -> serve.Server:
        server = self._serve(stack, serve.USUAL, self.databases.url(name, search_path=REFERENCE))
        self.databases.fill_reference(name, REFERENCE)
        return server

    def _compare(self, load: Load, tasks: list[data.Task]) -> None:
        scale = self.scale
        with self.step(f"Rows: the log's {len(tasks):,} tasks", 1):
            self.databases.load(tasks)
        self._fill({COMPARED: scale.compared()}, computed=True)
        pgbench = compare.Pgbench(self.databases.address(COMPARED), self.folder)
        with self._sides(COMPARED, [*READERS, *WRITERS, HUGE], bare=True) as sides:
            compare.agree(sides)
            with self.step(f"Page {scale.page}", len(sides)) as tick:
                self.found.pages = compare.pages(load, sides, scale, tick)
            for case in (compare.FIRST, compare.FILTERED, compare.SEARCH, compare.create(tasks)):
                with self.step(case.name.capitalize(), scale.rounds * 4) as tick:
                    self.found.cases[case.name] = compare.compare(load, sides, case, scale, pgbench, tick)
            pair = {name: sides[name] for name in (USUAL, TEND)}
            with self.step("Batches", scale.batch_rounds * 4) as tick:
                self.found.batches = compare.batches(load, pair, tasks, scale, tick)
            self.found.memory = sides[TEND].server.memory()

    def _grow(self, load: Load) -> None:
        scale = self.scale
        *smaller, largest = scale.tables
        self._fill({f"table_{size}": scale.table(size) for size in scale.tables}, computed=False)
        with self._sides(f"table_{largest}", [*READERS, SMALL, LARGE, HUGE]) as sides, ExitStack() as stack:
            servers = {largest: sides[TEND]}
            for size in smaller:
                server = self._serve(stack, serve.TEND, self.databases.url(f"table_{size}"))
                servers[size] = Side(server, {1: server.sign_in("/v1/auth/token", data.email(1))})
            with self.step("Growth of the table", len(growth.LISTINGS)) as tick:
                self.found.table_growth = growth.of_the_table(load, dict(sorted(servers.items())), scale, tick)
            with self.step("Growth of a user", len(growth.LISTINGS) + 1) as tick:
                self.found.user_growth = growth.of_the_user(load, sides[TEND], sides[USUAL], scale, tick)
            with self.step(f"Search in {largest:,}", scale.rounds * 2) as tick:
                self.found.search_in_the_largest = compare.compare(load, sides, compare.SEARCH, scale, None, tick)
        with self.step("Plans", len(growth.LISTINGS) + 1) as tick:
            for plan in growth.plans(self.databases, f"table_{largest}", self.folder / "servers.log"):
                self.found.plans.append(plan)
                tick()


def run(scale: Scale, work_log: Path) -> report.Found:
    """Everything, on a server of its own that is gone afterwards."""
    logging.disable(logging.INFO)  # Alembic tells of each migration
    with tempfile.TemporaryDirectory(prefix="tend-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        server = stack.enter_context(embedded.server(folder, SETTINGS))
        databases = data.Databases(server, folder / "pg" / "server.log")
        columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        progress = stack.enter_context(Progress(*columns, console=console, disable=not console.is_terminal))
        tasks = data.read(work_log, sum(scale.compared().values()))
        found = Run(scale, databases, folder, progress).measure(tasks)
        found.rows_from = f"samples of a real work log of {len(tasks):,} tasks" if work_log.exists() else "made up"
        with databases.connect("postgres") as connection:
            row = connection.execute("SHOW server_version").fetchone()
            found.postgres = str(row[0]) if row else "?"
    return found


def main(
    quick: Annotated[
        bool, typer.Option("--quick", help="So few rows and rounds that it only shows that everything runs.")
    ] = False,
    data: Annotated[
        Path, typer.Option(help="Tasks to take the rows from, as `tend load` takes them; made up if not there.")
    ] = WORK_LOG,
) -> None:
    """Measures Tend beside the usual way, beside what Python can do and beside what Postgres can do.

    One run of seven to nine minutes on two cores: it starts a Postgres of its own in a temporary folder, fills it,
    lets all sides take turns, and prints what it found. It writes docs/benchmarks.md and docs/benchmarks-growth.svg,
    and exits with 0 even when a target was missed; the table says which. Numbers mean something on a machine that does
    nothing else.

    --quick takes less than a minute and writes nothing.
    """
    found = run(QUICK if quick else FULL, data)
    report.show(console, found)
    if quick:
        console.print("This was a quick run: its numbers mean nothing, and nothing was written.")
        return
    pictures.growth(found.table_growth, found.user_growth, report.DOCS / "benchmarks-growth.svg")
    console.print(f"Written to {report.write(found)}", soft_wrap=True)


def _stop(number: int, _frame: Any) -> NoReturn:
    """The signal unwinds like an exception, so that whatever was started is stopped."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    typer.run(main)
