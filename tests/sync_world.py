"""One user, some devices, and a network that breaks: what a step does, and what must hold after each."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from backend.scope import Changing, Scope
from backend.services.changes import change_all
from backend.services.synced import ENTITIES
from backend.services.task_criteria import TASKS
from backend.state import State
from tend_client import AsyncOffline, AsyncTend, OutOfStep, Problem, Store, TendError, Tokens, Unreachable
from tend_client.models import EntityName
from tests.client import Client, Json
from tests.wire import Wire

DEVICES, MOST = 3, 5
PAGE = 3  # changes with one answer: so that there are pages
REQUESTS = 60  # of one synchronisation; more is one that never ends
FATES = ("cut before", "cut within", "cut after", "cut after")

GIVEN = text(
    "SELECT changes->'title'->>1, count(*) FROM activity "
    "WHERE user_id = :user AND changes->'title' IS NOT NULL GROUP BY 1"
)
VERSIONS = text(
    " UNION ALL ".join(
        f"SELECT '{name}' AS entity, id::text, version, deleted_at IS NOT NULL AS deleted "
        f"FROM {name} WHERE user_id = :user"
        for name in ENTITIES
    )
)


class Violation(AssertionError):
    """What must hold does not."""


class World:
    def __init__(self, state: State, engine: AsyncEngine, user: Client, http: Wire, database: Wire) -> None:
        self.state, self.engine, self.user, self.http, self.database = state, engine, user, http, database
        self.scope = Scope(user.user_id, state.database)
        self.tend = AsyncTend(http.url, Tokens(user.token), tries=1, timeout=5)
        self.devices = [self.device(Store(":memory:")) for _ in range(DEVICES)]
        self.made = 0
        self.values: set[str] = set()  # titles that a device meant to give
        self.created: dict[str, str] = {}  # by the ids of what was made with them
        self.renumbered: set[str] = set()  # ids of what was sent again under another name, and may be refused for that
        self.ids: set[str] = set()  # that the server had at any time
        self.forgiven: set[str] = set()  # that a restore may have taken
        self.applied: Counter[str] = Counter()  # titles, by how often the activity tells of them
        self.saved: dict[str, list[Any]] | None = None
        self.sent: list[Json] = []

    def device(self, store: Store) -> AsyncOffline:
        return AsyncOffline(self.tend, store, limit=PAGE)

    async def close(self) -> None:
        await self.tend.aclose()
        for each in self.devices:
            each.store.close()

    # What is done on a device.

    def value(self) -> str:
        self.made += 1
        self.values.add(f"v{self.made}")
        return f"v{self.made}"

    def some(self, device: AsyncOffline, entity: EntityName, number: int) -> str | None:
        rows = device.store.all(entity)
        return rows[number % len(rows)]["id"] if rows else None

    def edit(self, device: AsyncOffline, number: int) -> None:
        if task := self.some(device, "tasks", number):
            device.store.update("tasks", task, title=self.value())

    def describe(self, device: AsyncOffline, number: int) -> None:
        if task := self.some(device, "tasks", number):
            device.store.update("tasks", task, description=str(number), priority="high", tags=[str(number)])

    def create(self, device: AsyncOffline, number: int) -> None:
        project = self.some(device, "projects", number) if number % 2 else None
        title = self.value()
        task = device.store.create("tasks", title=title, project_id=project)
        self.created[task] = title
        if number % 3 == 0:
            device.store.create("comments", task_id=task, body=f"c{number}")

    def complete(self, device: AsyncOffline, number: int) -> None:
        if task := self.some(device, "tasks", number):
            device.store.complete(task)

    def delete(self, device: AsyncOffline, number: int) -> None:
        kind: EntityName = ("tasks", "tasks", "comments", "projects")[number % 4]
        if row := self.some(device, kind, number):
            device.store.delete(kind, row)

    def move(self, device: AsyncOffline, number: int) -> None:
        task, project = self.some(device, "tasks", number), self.some(device, "projects", number // 2)
        if task:
            device.store.update("tasks", task, project_id=project)

    def nest(self, device: AsyncOffline, number: int) -> None:
        task, other = self.some(device, "tasks", number), self.some(device, "tasks", number // 2)
        if task and other:
            device.store.update("tasks", task, parent_id=other if other != task else None)

    def project(self, device: AsyncOffline, number: int) -> None:
        device.store.create("projects", name=f"p{number % 4}")

    # What becomes of it.

    async def sync(self, device: AsyncOffline, _number: int = 0) -> int:
        """How much came. Broken off, it may be: then it was nothing, or all."""
        calls = 0
        ask = device.tend.synchronise

        async def counted(body: Json) -> Any:
            nonlocal calls
            calls += 1
            if calls > REQUESTS:
                raise Violation("a synchronisation that does not come to its end")
            if body["operations"]:
                self.sent.append(body)
            try:
                return await ask(body)
            except OutOfStep:
                self.renumbered |= {each["id"] for each in device.store.outgoing().body["operations"]}
                raise

        follower = AsyncOffline(self.tend, device.store, limit=PAGE)
        follower.tend = _Asking(counted)  # type: ignore[assignment]
        try:
            return (await follower.sync()).received
        except TendError as error:
            if isinstance(error, Unreachable) or (isinstance(error, Problem) and error.status in {409, 503}):
                return 1
            raise Violation(str(error)) from error

    async def cut(self, device: AsyncOffline, number: int) -> None:
        self.http.strike(FATES[number % len(FATES)], b"POST /v1/sync", 1 + number % 2)  # type: ignore[arg-type]
        await self.sync(device)
        self.http.times = 0

    async def cut_commit(self, device: AsyncOffline, number: int) -> None:
        """Between the server and the database: whether it was committed, nobody knows."""
        self.database.strike(FATES[number % len(FATES)], b"COMMIT\0", 1)  # type: ignore[arg-type]
        await self.sync(device)
        self.database.times = 0

    async def together(self, _device: AsyncOffline, number: int) -> None:
        ended = await asyncio.gather(*(self.sync(each) for each in self.devices), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    async def race(self, device: AsyncOffline, number: int) -> None:
        """Two commits and a pull: the first is held open, while the second goes on, if it can, and somebody pulls."""
        if not (task := await self.any_task(number)):
            return
        for each in self.devices:
            if each.store.pending():
                await self.sync(each)
        holding, held = asyncio.Event(), asyncio.Event()

        async def slowly(changing: Changing) -> None:
            await change_all(changing, TASKS, [UUID(task)], {"description": f"held {number}"}, first=changing.first)
            holding.set()
            await held.wait()

        async def quickly() -> None:
            await self.user.post("/v1/tasks", {"title": "Meanwhile"})
            if number % 3 == 0:  # it waits for the row, too
                await self.user.patch("/v1/tasks/batch", {"ids": [task], "set": {"priority": "low"}})

        async def first() -> None:
            with suppress(TendError, Exception):
                await self.scope.change(slowly, at_most=1)
            holding.set()

        writers = [asyncio.create_task(first())]
        await holding.wait()
        writers.append(asyncio.create_task(quickly()))
        await asyncio.sleep(0.01)  # for it to come as far as it can
        try:
            for each in self.devices:
                if not each.store.pending():
                    await self.sync(each)
        finally:
            held.set()
            await asyncio.gather(*writers)

    async def any_task(self, number: int) -> str | None:
        tasks = [row[1] for row in await self.rows() if row[0] == "tasks" and not row[3]]
        return sorted(tasks)[number % len(tasks)] if tasks else None

    async def rest(self, _device: AsyncOffline, number: int) -> None:
        if task := await self.any_task(number):
            await self.user.patch(f"/v1/tasks/{task}", {"title": f"rest {number}"})

    async def restore_from_trash(self, _device: AsyncOffline, number: int) -> None:
        items = (await self.user.get("/v1/trash")).json()["items"]
        if items:
            item = items[number % len(items)]
            kind = "projects" if item["kind"] == "project" else "tasks"
            await self.user.post(f"/v1/trash/{kind}/{item['id']}/restore")

    async def replay(self, _device: AsyncOffline, number: int) -> None:
        """A request of long ago that a network had kept. Its operations are done, or refused as a whole."""
        if self.sent:
            with suppress(Problem, Unreachable):
                await self.tend.synchronise(self.sent[number % len(self.sent)])

    async def clone(self, device: AsyncOffline, number: int) -> None:
        if len(self.devices) < MOST:
            copy = Store(":memory:")
            device.store._db.backup(copy._db)
            self.devices.append(self.device(copy))

    async def kill(self, _device: AsyncOffline, number: int) -> None:
        self.database.cut()

    # What is there.

    async def rows(self) -> list[Any]:
        """(entity, id, version, deleted) of all that the server has."""
        async with self.engine.connect() as connection:
            found = list(await connection.execute(VERSIONS, {"user": self.user.user_id}))
        self.ids |= {row.id for row in found}
        return found

    async def count(self) -> None:
        """How often each title was given, as the activity tells: before what is purged takes it along."""
        async with self.engine.connect() as connection:
            for value, times in await connection.execute(GIVEN, {"user": self.user.user_id}):
                self.applied[value] = max(self.applied[value], times)


def values_of(store: Store) -> set[str]:
    """Titles that wait to be sent or confirmed."""
    return {each["set"]["title"] for each in store.outgoing().body["operations"] if "title" in each["set"]}


class _Asking:
    def __init__(self, synchronise: Callable[[Json], Awaitable[Any]]) -> None:
        self.synchronise = synchronise
