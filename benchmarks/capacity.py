"""What a task takes on the disk, a worker in memory, and a restore in time: `python -m benchmarks.capacity`.

About three minutes. docs/scale.md and docs/render.md reckon with what this prints.
"""

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import psycopg
from rich.console import Console

from backend import embedded
from backend.config import Settings
from backend.services import bulk
from benchmarks.__main__ import SETTINGS, WORK_LOG
from benchmarks.data import Databases, email, read
from benchmarks.serve import SECRET, TEND, serving

EACH = 1_000  # tasks of a user
SIZES: Mapping[str, int] = {"small": 100, "large": 400}  # users
BATCH = json.dumps({"tasks": [{"title": f"Batch {number}", "description": "words " * 40} for number in range(1_000)]})
PARTS = """
SELECT CASE relkind WHEN 'i' THEN relname ELSE 'rows' END,
       CASE relkind WHEN 'i' THEN pg_relation_size(oid) ELSE pg_table_size(oid) END
FROM pg_class WHERE oid = 'tasks'::regclass
   OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'tasks'::regclass)
ORDER BY relkind DESC, relname
"""
console = Console(highlight=False)


def bytes_a_task(connection: psycopg.Connection) -> dict[str, float]:
    tasks: int = connection.execute("SELECT count(*) FROM tasks").fetchone()[0]  # type: ignore[index]
    found = {name: size / tasks for name, size in connection.execute(PARTS)}
    return {"tasks": tasks, **found, "together": sum(found.values())}


def loaded(databases: Databases, folder: Path) -> dict[str, float]:
    """The work log as `tend load` brings it in, with the indexes growing on the way."""
    databases.create("loaded", "rows")
    settings = Settings(_env_file=None, database_url=databases.url("loaded"), jwt_secret=SECRET, data_dir=folder)
    asyncio.run(
        bulk.load(settings, WORK_LOG, "example.com", None, lambda _read, _rows: None, lambda _line, _reason: None)
    )
    with databases.connect("loaded") as connection:
        connection.execute("VACUUM (ANALYZE) tasks")
        return bytes_a_task(connection)


def restored(databases: Databases, name: str, folder: Path) -> tuple[float, float, int]:
    """Seconds to dump and to restore, in two jobs each, and the dump's bytes."""
    programs, dump = embedded.programs(), folder / "dump"
    took = []
    databases.create("restored", "template1")
    commands: list[list[str | Path]] = [
        [programs / "pg_dump", "-Fd", "-j2", "-f", dump, databases.address(name)],
        [programs / "pg_restore", "-j2", "-d", databases.address("restored"), dump],
    ]
    for command in commands:
        began = time.monotonic()
        subprocess.run(command, check=True)
        took.append(time.monotonic() - began)
    return took[0], took[1], sum(file.stat().st_size for file in dump.iterdir())


def memory(databases: Databases, folder: Path) -> None:
    """Of one worker: all that is resident, and what is its own, which is what another one adds."""
    with serving(TEND, databases.url("large"), folder / "worker.log") as server:
        process = psutil.Process(server.process.pid)

        def show(when: str) -> None:
            found = process.memory_full_info()
            console.print(f"  {when:<44} {found.rss / 1e6:>6.0f} MB, {found.uss / 1e6:.0f} of its own")

        show("started")
        headers = [
            {"Authorization": f"Bearer {server.sign_in('/v1/auth/token', email(number))}"} for number in range(1, 11)
        ]
        for number in range(300):
            server.ask("GET", f"/v1/tasks?limit=200&page={number % 5 + 1}&sort=title", headers=headers[number % 10])
            server.ask("GET", f"/v1/tasks?search=fix&tags=t{number}", headers=headers[number % 10])
        show("after 10 sign-ins, 300 pages, 300 searches")
        for each in headers:
            server.ask("POST", "/v1/tasks/batch", BATCH, {**each, "Content-Type": "application/json"})
        show("after 10 batches of 1,000 as well")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tend-capacity-") as name, embedded.server(Path(name), SETTINGS) as server:
        folder = Path(name)
        databases = Databases(server, folder / "pg" / "server.log")
        databases.load(read(WORK_LOG, 50_000))
        sizes = {}
        for which, users in SIZES.items():
            databases.fill(which, dict.fromkeys(range(1, users + 1), EACH), computed=False)
            with databases.connect(which) as connection:
                sizes[which] = bytes_a_task(connection)
        if WORK_LOG.exists():
            sizes["as loaded"] = loaded(databases, folder)
        console.print("Bytes a task")
        console.print("  " + " " * 20 + "".join(f"{which:>12}" for which in sizes))
        for part in sizes["small"]:
            console.print(f"  {part:<20}" + "".join(f"{found[part]:>12,.0f}" for found in sizes.values()))
        dump, restore, size = restored(databases, "large", folder)
        tasks = sizes["large"]["tasks"]
        console.print(f"A dump of {tasks:,.0f} tasks: {dump:.1f} s, {size / tasks:.0f} bytes a task")
        console.print(f"Its restore: {restore:.1f} s, {tasks / restore:,.0f} tasks a second")
        console.print("A worker's memory")
        memory(databases, folder)


if __name__ == "__main__":
    main()
