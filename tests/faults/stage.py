"""What is broken: Postgres with fsync on, a wire, PgBouncer, `tend serve`; and the load on it."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg

from backend.connection import arguments
from backend.embedded import SETTINGS, Cluster
from tests import servers
from tests.faults.check import Compared, compare
from tests.faults.load import GIVE_UP_SECONDS, Hand
from tests.faults.people import Person, Saw
from tests.served import Served, begin, end_all

PEOPLE: Final = 4
HANDS: Final = 3  # of each
SETTLE_SECONDS: Final = 1.0  # of load before the fault and after it
HOLD: Final = {**SETTINGS, "max_connections": "60"}
SECRET: Final = "a secret of the faults, long enough"


class Postgres:
    """A cluster that is stopped, killed and started while others use it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.cluster = Cluster(folder / "pg", {**HOLD, **settings})
        self.count = 0

    def start(self) -> None:
        self.cluster.start(lambda _: None, True)

    def stop(self, mode: str) -> None:
        self.cluster._run("pg_ctl", "-w", "-t", "60", "-m", mode, "stop")

    def kill(self) -> None:
        process = self.cluster.process()
        assert process
        process.kill()

    def database(self) -> str:
        self.count += 1
        return servers.create(self.cluster.url, f"fault_{self.count}")

    @contextmanager
    def asked(self, url: str | None = None) -> Iterator[psycopg.Connection[Any]]:
        address = arguments(url or self.cluster.url)
        with psycopg.connect(**address, autocommit=True, application_name="faults") as connection:
            connection.execute("SET default_transaction_read_only = off")
            yield connection

    def terminate(self, name: str = "tend") -> int:
        with self.asked() as connection:
            found = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s", [name]
            ).fetchone()
        return int(found[0]) if found else 0


class Server:
    """`tend serve` on one port, however often it is started."""

    def __init__(self, folder: Path, url: str, command: list[str] | None, environment: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.data_dir = folder
        self.command = command
        self.environment = {"DATABASE_URL": url, "JWT_SECRET": SECRET, "PORT": str(self.port), **environment}
        self.printed = ""
        self.served: Served | None = None

    async def start(self) -> None:
        process = await asyncio.to_thread(begin, self.data_dir, self.command, **self.environment)
        self.served = await asyncio.to_thread(Served, process, self.data_dir)

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self.served
        return self.served.process

    async def listen(self) -> None:
        """It would wait when nobody read what it prints."""
        while True:
            if self.served:
                with suppress(ValueError):
                    self.served.read(0)
            await asyncio.sleep(0.1)

    async def ended(self) -> int:
        assert self.served
        code = await asyncio.to_thread(self.served.wait)
        self.printed += self.served.printed
        assert self.process.stdout
        self.process.stdout.close()
        self.served = None
        return code

    async def stop(self) -> int:
        """Its exit code; the address is as it was."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    def end(self) -> None:
        if self.served:
            self.process.kill()
            self.process.wait()
            self.served.read(0)
            self.printed += self.served.printed
            assert self.process.stdout
            self.process.stdout.close()
        end_all(self.data_dir)


@dataclass
class Found:
    """The row of one fault."""

    name: str
    title: str
    attempts: int
    saw: Saw = field(default_factory=Saw)
    compared: Compared = field(default_factory=Compared)
    notes: list[str] = field(default_factory=list)
    skipped: str = ""
    log: str = ""

    @property
    def is_well(self) -> bool:
        return not (
            self.compared.lost or self.compared.doubled or self.compared.said or self.saw.hung or self.saw.wrong
        )


class Run:
    """One fault's run: its attempts, and what came out."""

    def __init__(self, found: Found, folder: Path, postgres: Postgres, tick: Callable[[], None], poolers: list[str]):
        self.found, self.folder, self.postgres, self.tick = found, folder, postgres, tick
        self.poolers = poolers

    def attempts(self) -> Iterator[int]:
        for number in range(self.found.attempts):
            yield number
            self.tick()

    @asynccontextmanager
    async def load(
        self,
        database: str,
        *,
        by: str | None = None,
        command: list[str] | None = None,
        maybe: list[list[str]] | None = None,
        **environment: str,
    ) -> AsyncIterator[Server]:
        """A server on `database` (reached `by` another address), under load for as long as this lasts, then compared.

        The fault is over when the block ends; the clients end what they have begun.
        """
        folder = self.folder / self.found.name.replace(" ", "-") / "data"
        server = Server(folder, by or database, command, {"DIRECT_DATABASE_URL": database, **environment})
        listening = asyncio.create_task(server.listen())
        try:
            await server.start()
            address = f"http://127.0.0.1:{server.port}"
            people = [Person(address, self.found.saw) for _ in range(PEOPLE)]
            async with httpx.AsyncClient(timeout=60, verify=False) as http:
                await asyncio.gather(*(person.register(http) for person in people))
            hands = [Hand(person, self.found.saw, n) for n in range(HANDS) for person in people]
            stop = asyncio.Event()
            working = [asyncio.create_task(hand.work(stop)) for hand in hands]
            await asyncio.sleep(SETTLE_SECONDS)
            try:
                yield server
                await asyncio.sleep(SETTLE_SECONDS)
            finally:
                stop.set()
                await asyncio.wait(working, timeout=GIVE_UP_SECONDS)
                for task in working:
                    task.cancel()
                await asyncio.gather(*working, return_exceptions=True)
            for task in working:
                if not task.cancelled() and (error := task.exception()):
                    self.found.saw.wrong.append(f"a client failed: {error!r}")
            self.found.compared = await asyncio.to_thread(compare, database, people, hands, maybe or [])
            await self._is_listed(server, people, hands)
        finally:
            listening.cancel()
            await asyncio.to_thread(server.end)
            self.found.log += server.printed
            if traces := server.printed.count("Traceback"):
                self.found.notes.append(f"{traces} traces in the log")

    async def _is_listed(self, server: Server, people: list[Person], hands: list[Hand]) -> None:
        """What the service itself shows: every page, and the ETags of some."""
        wrong = self.found.saw.wrong
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60, verify=False) as http:
            for person in people:
                person.saw = Saw()  # this is the check's own, and no client's
                await person.renew(http, person.access)
                signed = {"Authorization": f"Bearer {person.access}"}
                items: dict[str, Any] = {}
                cursor: str | None = ""
                while cursor is not None:
                    asked = "/v1/tasks?limit=200" + (f"&cursor={cursor}" if cursor else "")
                    page = await http.get(asked, headers=signed)
                    if page.status_code != 200:
                        wrong.append(f"{page.status_code} after the fault")
                        return
                    items |= {task["id"]: task for task in page.json()["items"]}
                    cursor = page.json()["next_cursor"]
                mine = {t.id for h in hands if h.person is person for t in h.tasks.values() if not t.deleted}
                if missing := mine - items.keys():
                    wrong.append(f"{len(missing)} acknowledged tasks are not listed")
                for task_id in list(mine & items.keys())[:20]:
                    answer = await http.get(f"/v1/tasks/{task_id}", headers=signed)
                    if answer.headers.get("ETag") != f'"{items[task_id]["version"]}"':
                        wrong.append(f"the ETag of {task_id} is {answer.headers.get('ETag')}")


async def every(seconds: float, times: int, do: Callable[[], Awaitable[object]], tick: Callable[[], None]) -> None:
    for _ in range(times):
        await asyncio.sleep(seconds)
        await do()
        tick()


def is_root() -> bool:
    return os.geteuid() == 0
