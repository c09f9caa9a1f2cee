"""What the door costs a write, and how fast a device fills its store: `python -m benchmarks.sync` (a minute).

The door: one statement that counts up and inserts, beside the same insert that takes a number without a counter, in
turns, sixteen at once. The store: 50,000 tasks in pages of 500, over HTTP, with the worker's memory.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from rich.console import Console
from rich.table import Table
from sqlalchemy import BigInteger, bindparam, insert, select, true

from backend import door, embedded
from backend.config import Settings
from backend.db import Database
from backend.rules.text import sort_key
from backend.scope import Scope
from backend.services.changes import new_values
from backend.services.task_criteria import TASKS
from backend.services.task_wire import shown
from backend.services.tasks import GIVEN
from backend.statements import Query, as_json, statement, text_of
from backend.wall import OWNER
from benchmarks.__main__ import SETTINGS
from benchmarks.data import Databases, email, read, user_id
from benchmarks.serve import SECRET, TEND, serving

AT_ONCE: Final = 16
ROUNDS: Final = 5
SECONDS: Final = 2.0  # of a round of each
STORE: Final = 50_000
PAGE: Final = 500
console = Console(highlight=False)
numbers = count(1_000_000_000)  # no counter comes so far here


@statement
def without() -> Query:
    """The same without a counter: its number comes along."""
    values = {name: bindparam(f"new_{name}", type_=TASKS.c[name].type) for name in GIVEN}
    number = bindparam("in_version", type_=BigInteger())
    made = insert(TASKS).values(user_id=OWNER, version=number, **values).returning(*TASKS.c).cte("made")
    item = as_json(made, shown(made.c))
    return select(made.c.version, text_of(item)).select_from(made.join(item, true())).add_cte(door.noted(made))


def task() -> dict[str, Any]:
    given = dict.fromkeys(GIVEN)
    title = "Water the figs on the balcony"
    filled = {"id": uuid4(), "title": title, "title_key": sort_key(title), "priority": "medium", "tags": ["home"]}
    return new_values({**given, **filled, "completed": False, "language": "en", "position": "n1"})


async def rate(write: Callable[[Scope], Awaitable[Any]], scopes: list[Scope]) -> float:
    """Writes a second."""
    ends, done = time.perf_counter() + SECONDS, 0

    async def hand(number: int) -> None:
        nonlocal done
        while time.perf_counter() < ends:
            await write(scopes[number % len(scopes)])
            done += 1

    await asyncio.gather(*(hand(number) for number in range(AT_ONCE)))
    return done / SECONDS


async def doors(settings: Settings, table: Table) -> None:
    database = Database(settings)

    async def through(mine: Scope) -> None:
        await mine.write(door.create(TASKS, GIVEN, shown), task())

    async def past(mine: Scope) -> None:
        await mine.write(without(), {**task(), "in_version": next(numbers)})

    try:
        for users in (1, 64):
            scopes = [Scope(user_id(number), database) for number in range(1, users + 1)]
            rounds = [(await rate(through, scopes), await rate(past, scopes)) for _ in range(ROUNDS + 1)][1:]
            with_door, without_door = (statistics.median(each) for each in zip(*rounds, strict=True))
            ratio = statistics.median(one / other for one, other in rounds)
            table.add_row(f"{users}", f"{with_door:,.0f}", f"{without_door:,.0f}", f"{ratio:.2f}")
    finally:
        await database.close()


def store(databases: Databases, folder: Path) -> None:
    databases.fill("store", {1: STORE}, computed=False)
    with serving(TEND, databases.url("store"), folder / "worker.log") as server:
        token = server.sign_in("/v1/auth/token", email(1))
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        for turn in ("first", "again"):
            body: dict[str, Any] = {"client_id": str(UUID(int=1)), "limit": PAGE}
            rows, began, memory = 0, time.perf_counter(), [server.memory()]
            while True:
                answer = server.ask("POST", "/v1/sync", json.dumps(body), headers)
                rows += len(answer["changes"])
                memory.append(server.memory())
                if not answer["has_more"]:
                    break
                body["cursor"] = answer["cursor"]
            took = time.perf_counter() - began
            least, most = min(memory) / 1e6, max(memory) / 1e6
            console.print(
                f"{turn}: {rows:,} rows in {took:.2f} s, {rows / took:,.0f} a second; {least:.0f}–{most:.0f} MB"
            )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tend-sync-") as name, embedded.server(Path(name), SETTINGS) as server:
        folder = Path(name)
        databases = Databases(server, folder / "pg" / "server.log")
        databases.load(read(Path("nowhere"), 10_000))
        databases.fill("door", dict.fromkeys(range(1, 65), 100), computed=False)
        settings = Settings(_env_file=None, database_url=databases.url("door"), jwt_secret=SECRET, data_dir=folder)
        table = Table("users", "with the door", "without", "with ÷ without", title="Creates a second")
        asyncio.run(doors(settings, table))
        console.print(table)
        store(databases, folder)


if __name__ == "__main__":
    main()
