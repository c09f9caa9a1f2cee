"""`make faults`, or `python -m tests.faults --help`."""

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests import servers
from tests.faults import application, clocks, database, network, pooler, report  # noqa: F401  (they name the faults)
from tests.faults.registry import FAULTS, Fault
from tests.faults.stage import Found, Postgres, Run

console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
LIMIT_SECONDS = 900  # for one fault


async def run_one(fault: Fault, run: Run) -> None:
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await fault.work(run)
    except Exception as error:
        run.found.saw.wrong.append(f"the fault did not run to its end: {error!r}")


def main(
    only: Annotated[
        list[str] | None, typer.Option(help="Only the faults whose name has this in it; may be given again.")
    ] = None,
    attempts: Annotated[int, typer.Option(min=0, help="How often each is tried; 0: as many as it says.")] = 0,
    list_: Annotated[bool, typer.Option("--list", help="Only show the names.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the rows into docs/reliability.md.")] = False,
    second: Annotated[str, typer.Option("--pooler", help="A second PgBouncer, 1.22 or newer, by its path.")] = "",
    logs: Annotated[Path | None, typer.Option(help="A folder for what `tend serve` printed at each fault.")] = None,
) -> None:
    """Break what breaks in production, under load, and compare what was acknowledged with what is there.

    Each fault has a `tend serve` and a database of its own, on a Postgres with fsync on, and twelve clients of four
    users who create, change, delete and list, and do at a 503 what docs/reliability.md says. All faults take about
    half an hour. Where something is not installed (PgBouncer, faketime) or not allowed (mount), the table
    says so. The exit code is 1 when anything was lost or doubled, hung, or was answered as no fault excuses.
    """
    chosen = [f for f in FAULTS.values() if not only or any(word in f.name for word in only)]
    if list_ or not chosen:
        for fault in FAULTS.values():
            console.print(f"{fault.name:22} {fault.title}", markup=False)
        raise typer.Exit(0 if list_ else 1)
    logging.disable(logging.INFO)  # Alembic tells of each migration
    poolers = [path for path in (shutil.which(os.environ.get("TEST_POOLER", "pgbouncer")), second) if path]
    all_found = []
    with tempfile.TemporaryDirectory(prefix="tend-faults-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # for PgBouncer, where root runs this and it runs as nobody
        postgres = Postgres(folder / "postgres")
        (folder / "postgres").mkdir(mode=0o711)
        postgres.start()
        columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn())
        try:
            servers.make_template(postgres.cluster.url)
            with Progress(
                *columns, MofNCompleteColumn(), TimeElapsedColumn(), console=console, disable=not console.is_terminal
            ) as progress:
                for fault in chosen:
                    found = Found(fault.name, fault.title, attempts or fault.attempts)
                    task = progress.add_task(fault.title, total=found.attempts)
                    run = Run(found, folder, postgres, partial(progress.advance, task), poolers)
                    asyncio.run(run_one(fault, run))
                    postgres.start()  # where a fault left it away
                    all_found.append(found)
                    if progress.disable:
                        console.print(f"{'ok  ' if found.is_well else 'FAIL'} {' | '.join(report.cells(found)[:-1])}")
                    if logs:
                        logs.mkdir(parents=True, exist_ok=True)
                        (logs / f"{fault.name}.log").write_text(found.log)
        finally:
            postgres.cluster.stop()
    report.show(console, all_found)
    if write:
        report.write(all_found)
    raise typer.Exit(0 if all(found.is_well for found in all_found) else 1)


if __name__ == "__main__":
    typer.run(main)
