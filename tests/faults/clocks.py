"""The clock of the application's machine, by libfaketime; the database's is right."""

import asyncio
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from backend.connection import arguments
from tests.faults.registry import fault
from tests.faults.stage import Run

PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/local/lib/faketime/libfaketimeMT.so.1")


def _library() -> str | None:
    for place in PLACES:
        for found in Path("/").glob(place.lstrip("/")):
            return str(found)
    return None


async def _stepped(run: Run, *steps: str) -> None:
    library = _library()
    if library is None or sys.platform != "linux":
        run.found.skipped = "needs libfaketime (apt-get install faketime)"
        return
    database = run.postgres.database()
    folder = run.folder / run.found.name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    clock = folder / "clock"
    clock.write_text("+0\n")
    environment = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    command = [shutil.which("env") or "env", *(f"{n}={v}" for n, v in environment.items())]
    command += [sys.executable, "-m", "backend.cli", "serve"]
    begun = datetime.now(UTC)
    async with run.load(database, command=command):
        for _ in run.attempts():
            for step in steps:
                clock.write_text(step + "\n")
                await asyncio.sleep(12)  # longer than a token is believed
    with psycopg.connect(**arguments(database)) as connection:
        row = connection.execute("SELECT min(created_at), max(updated_at) FROM tasks").fetchone()
    assert row
    right = begun - timedelta(seconds=5) <= row[0] and row[1] <= datetime.now(UTC)
    run.found.notes.append(f"created_at and updated_at {'are right' if right else f'are WRONG: {row}'}")


@fault("clock forward", "The application's clock steps an hour ahead, and back", 2)
async def forward(run: Run) -> None:
    await _stepped(run, "+3600", "+0")


@fault("clock back", "The application's clock steps an hour back, and right again", 2)
async def back(run: Run) -> None:
    await _stepped(run, "-3600", "+0")


@fault("clock drift", "The application's clock runs a tenth fast, then a tenth slow", 2)
async def drift(run: Run) -> None:
    await _stepped(run, "+0 x1.1", "+0 x0.9")
