"""What was found: on the terminal, in docs/soak.md between two marks, and as numbers in docs/soak.json."""

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.soak.histogram import Histogram
from benchmarks.soak.tally import Kind, Tally
from benchmarks.soak.watch import Look, slope

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
BEGIN, END = "<!-- written by make soak: from here -->", "<!-- to here -->"
WARM_UP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Second:
    """Times in milliseconds."""

    number: int
    requests: int
    p50: float
    p95: float
    p99: float
    most: float
    probe: float
    """What /health/live took, which asks no database: the wait for the event loop, mostly."""
    worker: float
    postgres: float
    worker_cores: float
    postgres_cores: float
    load_cores: float
    files: int
    errors: int

    @classmethod
    def of(cls, number: int, times: Histogram, look: Look, probe: float, load: float, errors: int) -> "Second":
        shares = (times.at(0.5), times.at(0.95), times.at(0.99), times.most, probe)
        p50, p95, p99, most, waited = (round(1000 * each, 2) for each in shares)
        seen = {name: round(value, 2) for name, value in asdict(look).items()}
        files = int(seen.pop("files"))
        return cls(
            number, times.total, p50, p95, p99, most, waited, **seen, load_cores=load, files=files, errors=errors
        )


@dataclass(slots=True)
class Found:
    users: int
    minutes: float
    think: float
    seed: int
    tasks: int
    seconds: list[Second] = field(default_factory=list)
    kinds: dict[str, Kind] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    made: int = 0
    rows_from: str = ""

    @property
    def errors(self) -> int:
        return sum(kind.errors for kind in self.kinds.values())

    @property
    def warm(self) -> list[Second]:
        return [second for second in self.seconds if second.number > WARM_UP_SECONDS] or self.seconds

    def growth(self, of: str) -> str:
        """By least squares. Caches fill after the warm-up, so the last part tells whether it goes on."""
        if len(self.seconds) < 3 * WARM_UP_SECONDS:
            return "too short a run to tell whether it grows"
        last = self.seconds[len(self.seconds) * 6 // 10 :]
        grown, grows = (slope([(s.number / 3600, getattr(s, of)) for s in part]) for part in (self.warm, last))
        minutes = round(len(last) / 60)
        return f"{grown:+.0f} MB an hour after the first minute, {grows:+.0f} MB an hour in the last {minutes} minutes"

    def all_times(self) -> Histogram:
        times = Histogram()
        for kind in self.kinds.values():
            times.merge(kind.times)
        return times


def progress(found: Found, tally: Tally) -> Table:
    last = found.seconds[-10:]
    now = last[-1]
    left = found.minutes * 60 - now.number
    grid = Table.grid(padding=(0, 2))
    grid.add_row(f"{now.number // 60}:{now.number % 60:02} gone, {left / 60:.1f} min left", f"{found.users} users")
    rate = sum(second.requests for second in last) / len(last)
    times = f"p50 {now.p50:.0f} ms  p95 {now.p95:.0f}  p99 {now.p99:.0f}  most {now.most:.0f}"
    grid.add_row(f"{rate:.0f} requests a second", times)
    grid.add_row(f"worker {now.worker:.0f} MB, {now.worker_cores:.2f} cores", f"Postgres {now.postgres:.0f} MB")
    grid.add_row(f"load {now.load_cores:.2f} cores", f"/health/live {now.probe:.1f} ms")
    grid.add_row(f"{tally.errors} errors", tally.told[0][:100] if tally.told else "")
    return grid


HEAD = ("request", "a second", "p50, ms", "p95, ms", "p99, ms", "most, ms", "answers", "errors")


def rows(found: Found) -> list[list[str]]:
    def row(name: str, times: Histogram, statuses: str, errors: int) -> list[str]:
        shown = [f"{1000 * each:.1f}" for each in (times.at(0.5), times.at(0.95), times.at(0.99), times.most)]
        return [name, f"{times.total / (found.minutes * 60):.2f}", *shown, statuses, str(errors)]

    made = [
        row(name, kind.times, ", ".join(f"{n:,} × {status}" for status, n in kind.statuses.most_common()), kind.errors)
        for name, kind in sorted(found.kinds.items(), key=lambda each: -each[1].times.total)
    ]
    times = found.all_times()
    return [*made, row("all", times, f"{times.total:,}", found.errors)]


def table(found: Found) -> Table:
    shown = Table(*HEAD)
    for row in rows(found):
        shown.add_row(*row)
    return shown


def memory(found: Found) -> list[str]:
    """At the end of the first, the middle and the last minute, and how fast it grows."""
    marks = sorted({min(1, found.minutes), found.minutes / 2, found.minutes})
    seconds = [found.seconds[min(len(found.seconds), max(1, round(mark * 60))) - 1] for mark in marks]
    told = []
    for name, of in (("the worker", "worker"), ("Postgres", "postgres")):
        at = [f"{getattr(second, of):.0f} MB at minute {mark:g}" for mark, second in zip(marks, seconds, strict=True)]
        told.append(f"{name}: {', '.join(at)}; {found.growth(of)}")
    return told


def summary(found: Found) -> list[str]:
    warm = found.warm
    cores = {
        name: sum(getattr(second, name) for second in warm) / len(warm)
        for name in ("worker_cores", "postgres_cores", "load_cores")
    }
    probes = sorted(second.probe for second in warm)
    data = f"{len(found.wrong)} users' data were wrong" if found.wrong else f"all {found.users} users' data were right"
    return [
        *memory(found),
        f"cores: worker {cores['worker_cores']:.2f}, Postgres {cores['postgres_cores']:.2f}, "
        f"the load itself {cores['load_cores']:.2f}",
        f"/health/live, asked once a second: median {probes[len(probes) // 2]:.1f} ms, most {probes[-1]:.1f} ms",
        f"open files of the worker: {warm[0].files} at first, {warm[-1].files} at the end",
        f"{found.errors} errors; {data} at the end",
    ]


def tell(console: Console, found: Found) -> None:
    for line in [*summary(found), *found.told, *found.wrong[:20]]:
        console.print(line, markup=False, soft_wrap=True)


def write(found: Found) -> None:
    command = f'make soak ARGS="--minutes {found.minutes:g} --users {found.users} --think {found.think:g}"'
    machine = f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}"
    lines = [
        f"`{command}` on {machine}, Python {platform.python_version()}; seed {found.seed}, "
        f"{found.tasks:,} tasks ({found.rows_from}).",
        "",
        *(f"- {line}" for line in summary(found)),
        "",
        f"| {' | '.join(HEAD)} |",
        "|---|--:|--:|--:|--:|--:|---|--:|",
        *(f"| {' | '.join(row)} |" for row in rows(found)),
    ]
    page = DOCS / "soak.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}")
    kinds = {name: {"statuses": kind.statuses, "errors": kind.errors} for name, kind in found.kinds.items()}
    numbers = {"command": command, "machine": machine, "kinds": kinds, "seconds": [asdict(s) for s in found.seconds]}
    (DOCS / "soak.json").write_text(json.dumps(numbers, separators=(",", ":")) + "\n")
