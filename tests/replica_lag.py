"""`make test-replica`: writes and reads of one's own, while a replica is held back again and again."""

import asyncio
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from tests import servers
from tests.client import Client, fresh_account
from tests.conftest import settings_for, worker
from tests.replicas import Streaming, streaming

PEOPLE = 8
console = Console()


async def held_back(pair: Streaming, seed: int) -> None:
    """The replica follows for a moment, stands still for a moment, and so on."""
    chance = random.Random(seed)
    while True:
        for step in (pair.pause, pair.resume):
            await asyncio.to_thread(step)
            await asyncio.sleep(chance.uniform(0.005, 0.08))


async def write_and_read(client: Client, tries: int, seed: int, progress: Progress, bar: TaskID) -> int:
    """How many listings missed what the same client had written before them."""
    chance, stale, seen = random.Random(seed), 0, 0
    titles: set[str] = set()
    for n in range(tries):
        if titles and chance.random() < 0.3:
            title = f"changed {n}"
            task = (await client.get("/v1/tasks", params={"limit": 1})).json()["items"][0]
            answer = await client.patch(f"/v1/tasks/{task['id']}", {"title": title})
            titles = titles - {task["title"]} | {title}
        else:
            title = f"made {n}"
            answer = await client.post("/v1/tasks", {"title": title})
            titles.add(title)
        assert answer.status_code in {200, 201}, answer.text
        seen = max(seen, int(answer.headers["Tend-Change"]))
        parameters: dict[str, Any] = chance.choice(
            [{"search": title}, {"sort": "updated", "limit": 1}, {"sort": "updated", "status": "pending"}]
        )
        listing = await client.get("/v1/tasks", params=parameters, headers={"Tend-Change": str(seen)})
        found = {item["title"] for item in listing.json()["items"]}
        stale += title not in found
        seen = max(seen, int(listing.headers["Tend-Change"]))
        progress.advance(bar)
    return stale


async def run(pair: Streaming, folder: Path, tries: int, seed: int) -> tuple[int, Counter[str]]:
    asked: Counter[str] = Counter()
    settings = settings_for(pair.primary, folder, database_replica_url=pair.replica)
    async with worker(settings) as (app, http):
        state = app.state.tend
        for name, database in (("primary", state.database), ("replica", state.replica.database)):
            database.watchers.append(lambda sql, _values, name=name: asked.update([name] if "AS known" in sql else []))
        people = [await fresh_account(http, state, f"person{n}") for n in range(PEOPLE)]
        pair.catch_up()
        holding = asyncio.create_task(held_back(pair, seed))
        with Progress(console=console) as progress:
            bar = progress.add_task("Writing and reading", total=tries)
            each = [tries // PEOPLE + (n < tries % PEOPLE) for n in range(PEOPLE)]
            work = (write_and_read(one, each[n], seed + n, progress, bar) for n, one in enumerate(people))
            stale = sum(await asyncio.gather(*work))
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
    return stale, asked


def main(
    tries: Annotated[int, typer.Option(help="A try is a write, and a listing that must show it.")] = 10_000,
    seed: int = 1,
) -> None:
    """Write, and read at once what was written, while a real replica stands still again and again.

    A try counts as stale when the listing misses what the same client wrote just before. Exit code 1 if one does.
    """
    with tempfile.TemporaryDirectory(prefix="tend-replica-") as folder, streaming(Path(folder)) as pair:
        servers.migrate(pair.primary)
        pair.catch_up()
        stale, asked = asyncio.run(run(pair, Path(folder), tries, seed))
    sent = asked["replica"]
    console.print(
        f"{tries:,} tries: {stale} stale. The replica was asked {sent:,} listings; the primary {asked['primary']:,}, "
        "those among them for which the replica had not come far enough."
    )
    sys.exit(bool(stale))


if __name__ == "__main__":
    typer.run(main)
