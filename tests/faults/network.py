"""The way between the application and the database, and that between a client and the application."""

import asyncio
import json
import random
import socket
import statistics
import struct
from typing import Final

import httpx

from tests.faults.load import new_title
from tests.faults.people import Person, Saw
from tests.faults.registry import fault
from tests.faults.stage import Run, every
from tests.wire import Fate, wire_to

CREATE: Final = b"INSERT INTO tasks"
CHANGE: Final = b"UPDATE tasks SET"
COUNT: Final = b"UPDATE sync_state SET seq=(sync_state.seq + $1"  # the first statement of a transaction
COMMIT: Final = b"COMMIT\0"  # not that of READ COMMITTED
STRUCK_SECONDS: Final = 30


@fault("refused", "The database refuses connections for 3 s", 5)
async def refused(run: Run) -> None:
    await _refused(run, 3)


@fault("refused long", "The database refuses connections for 20 s", 1)
async def refused_long(run: Run) -> None:
    await _refused(run, 20)


async def _refused(run: Run, seconds: float) -> None:
    database = run.postgres.database()
    async with wire_to(database) as wire, run.load(database, by=wire.url):
        for _ in run.attempts():
            await wire.refuse()
            await asyncio.sleep(seconds)
            await wire.listen()
            await asyncio.sleep(1)


@fault("delay", "Every packet takes 50 ms more, each way", 10)
async def delay(run: Run) -> None:
    """An attempt is a second."""
    database = run.postgres.database()
    saw = run.found.saw
    async with wire_to(database) as wire, run.load(database, by=wire.url):
        await asyncio.sleep(2)
        before, begun = statistics.median(saw.seconds), len(saw.seconds)
        wire.delay = 0.05
        for _ in run.attempts():
            await asyncio.sleep(1)
        after = statistics.median(saw.seconds[begun:])
        wire.delay = 0
    run.found.notes.append(f"median {before * 1000:.0f} ms before, {after * 1000:.0f} ms during")


async def _struck(run: Run, fate: Fate, mark: bytes, times: int = 1) -> None:
    database = run.postgres.database()
    struck = 0
    # Prepared ones would go by their names.
    async with wire_to(database) as wire, run.load(database, by=wire.url, PREPARED_STATEMENTS="false"):
        for _ in run.attempts():
            wire.strike(fate, mark, times)
            async with asyncio.timeout(STRUCK_SECONDS):
                while wire.struck < times:  # noqa: ASYNC110
                    await asyncio.sleep(0.002)
            struck += wire.struck
            await asyncio.sleep(random.uniform(0.01, 0.05))
        wire.strike("pass", b"")
    run.found.notes.append(f"{struck} connections cut")


@fault("cut before create", "Cut before the statement arrives: create", 200)
async def before_create(run: Run) -> None:
    await _struck(run, "cut before", CREATE)


@fault("cut before change", "Cut before the statement arrives: change, delete", 200)
async def before_change(run: Run) -> None:
    await _struck(run, "cut before", CHANGE)


@fault("cut within", "Cut when half of the statement was sent", 200)
async def within(run: Run) -> None:
    await _struck(run, "cut within", CREATE)


@fault("cut after create", "Cut after the statement was done, before the answer: create", 200)
async def after_create(run: Run) -> None:
    await _struck(run, "cut after", CREATE)


@fault("cut twice", "The same, and once more at the second try", 200)
async def twice(run: Run) -> None:
    await _struck(run, "cut after", CREATE, 2)


@fault("cut after change", "Cut after the statement was done, before the answer: change, delete", 200)
async def after_change(run: Run) -> None:
    await _struck(run, "cut after", CHANGE)


@fault("cut in transaction", "Cut within a transaction (batches that change or delete)", 100)
async def in_transaction(run: Run) -> None:
    await _struck(run, "cut after", COUNT)


@fault("cut after commit", "Cut after COMMIT was done, before the answer", 100)
async def after_commit(run: Run) -> None:
    await _struck(run, "cut after", COMMIT)


@fault("black hole", "Nothing comes back for 15 s, and all is dropped", 2)
async def black_hole(run: Run) -> None:
    database = run.postgres.database()
    async with wire_to(database) as wire, run.load(database, by=wire.url):
        for _ in run.attempts():
            wire.strike("swallow", b"", times=10**9)
            await asyncio.sleep(15)
            wire.strike("pass", b"")
            wire.cut()
            await asyncio.sleep(2)


@fault("late", "Everything arrives 12 s late, after the deadline", 2)
async def late(run: Run) -> None:
    """Bytes wait in the wire, as in a router that was away: what the application has given up arrives all the same."""
    database = run.postgres.database()
    async with wire_to(database) as wire, run.load(database, by=wire.url):
        for _ in run.attempts():
            wire.delay = 12
            await asyncio.sleep(14)
            wire.delay = 0
            await asyncio.sleep(3)


@fault("cut often", "Every connection cut every 200 ms", 100)
async def often(run: Run) -> None:
    database = run.postgres.database()

    async with wire_to(database) as wire, run.load(database, by=wire.url):

        async def cut() -> None:
            wire.cut()

        await every(0.2, run.found.attempts, cut, run.tick)


@fault("client gone", "A client goes away before its answer", 300)
async def client_gone(run: Run) -> None:
    database = run.postgres.database()
    maybe: list[list[str]] = []
    async with run.load(database, maybe=maybe) as server:
        person = Person(f"http://127.0.0.1:{server.port}", Saw())
        async with httpx.AsyncClient(timeout=60, verify=False) as http:
            await person.register(http)
        for number in run.attempts():
            titles = [new_title() for _ in range(20 if number % 2 else 1)]
            maybe.append(titles)
            await _send_and_go(server.port, person.access, titles, number)
    run.found.notes.append(f"{len(maybe)} requests left alone, half of them batches of 20")


async def _send_and_go(port: int, token: str, titles: list[str], number: int) -> None:
    """The connection is reset at a moment between the last byte and some milliseconds later, or in mid-body."""
    tasks = [{"title": title} for title in titles]
    path, body = ("/v1/tasks/batch", json.dumps({"tasks": tasks})) if len(tasks) > 1 else ("/v1/tasks", "")
    body = body or json.dumps(tasks[0])
    head = (
        f"POST {path} HTTP/1.1\r\nHost: tend\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    whole = (head + body).encode()
    writer.write(whole[:-10] if number % 10 == 9 else whole)
    await writer.drain()
    await asyncio.sleep(random.uniform(0, 0.03))
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
