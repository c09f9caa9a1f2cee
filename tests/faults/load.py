"""Clients that do what docs/reliability.md tells clients to do, and write down what was acknowledged."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

import httpx

from tests.faults.people import Kept, Person, Saw

HANG_SECONDS: Final = 75  # the longest deadline of the service is that of a batch: 60
GIVE_UP_SECONDS: Final = 180  # an intent that is not settled by then hangs
LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


class Hand:
    """One device of a person: one request at a time, on tasks of its own."""

    def __init__(self, person: Person, saw: Saw, number: int) -> None:
        self.person, self.saw = person, saw
        self.random = random.Random(number)
        self.http = httpx.AsyncClient(base_url=person.url, timeout=HANG_SECONDS, verify=False)
        self.tasks: dict[str, Kept] = {}
        self.newest = 0  # version that was acknowledged
        self.count = 0
        self.deadline = 0.0

    async def work(self, stop: asyncio.Event) -> None:
        actions: list[Callable[[], Awaitable[None]]] = [
            *[self.create] * 3,
            *[self.create_with_id] * 3,
            *[self.change] * 6,
            *[self.look_at_own] * 3,
            self.create_batch,
            self.create_batch_with_ids,
            self.change_batch,
            self.delete,
            self.delete_batch,
            self.page,
        ]
        try:
            while not stop.is_set():
                action = self.random.choice(actions)
                self.deadline = time.monotonic() + GIVE_UP_SECONDS
                await action()
        except TimeoutError:
            self.saw.hung.append(f"{action.__name__} was not settled in {GIVE_UP_SECONDS} s")
        finally:
            await self.http.aclose()

    async def create(self) -> None:
        await self._create(own_id=False, many=0)

    async def create_with_id(self) -> None:
        await self._create(own_id=True, many=0)

    async def create_batch(self) -> None:
        await self._create(own_id=False, many=3)

    async def create_batch_with_ids(self) -> None:
        await self._create(own_id=True, many=3)

    async def _create(self, *, own_id: bool, many: int) -> None:
        """With its id, it is simply sent again, and a 409 says that it is there. Without, it is looked for first."""
        tasks: list[dict[str, Any]] = [{"title": new_title(), "description": "0"} for _ in range(many or 1)]
        while True:
            for task in tasks if own_id else ():
                task.setdefault("id", str(uuid4()))
            path, body = ("/v1/tasks/batch", {"tasks": tasks}) if many else ("/v1/tasks", tasks[0])
            answer = await self.ask("POST", path, body)
            if answer and answer.status_code == 201:
                for made in answer.json()["items"] if many else [answer.json()]:
                    self._note(made)
                if not many and answer.headers["ETag"] != f'"{made["version"]}"':
                    self.saw.wrong.append("an ETag is not the version")
                return
            if answer and answer.status_code == 409 and not own_id:
                self.saw.wrong.append("409 for an id that the client did not choose")
            if await self._is_there(tasks, own_id):
                return
            own_id = True  # from now on it has one

    async def _is_there(self, tasks: list[dict[str, Any]], own_id: bool) -> bool:
        found = []
        for task in tasks:
            if own_id:
                answer = await self.settled("GET", f"/v1/tasks/{task['id']}")
                found += [answer.json()] if answer.status_code == 200 else []
            else:
                answer = await self.settled("GET", f"/v1/tasks?search={task['title']}")
                found += answer.json()["items"]
        if len(found) not in {0, len(tasks)}:
            self.saw.wrong.append(f"{len(found)} of a batch of {len(tasks)} are there")
        for task in found:
            self._note(task)
        self.saw.found += bool(found)
        return bool(found)

    async def change(self) -> None:
        """With If-Match: sent again, the one that came first has made the other impossible."""
        task = self._one()
        if task is None:
            return
        self.count += 1
        if task.version is None:
            await self._read(task)
        unsure = False
        while True:
            answer = await self.ask(
                "PATCH", f"/v1/tasks/{task.id}", {"description": str(self.count)}, {"If-Match": f'"{task.version}"'}
            )
            if answer and answer.status_code == 200:
                self._changed(task, answer.json())
                if answer.headers["ETag"] != f'"{task.version}"':
                    self.saw.wrong.append("an ETag is not the version")
                return
            if answer and answer.status_code == 412:
                there = (await self.settled("GET", f"/v1/tasks/{task.id}")).json()
                if there.get("description") != str(self.count) or not unsure:
                    self.saw.wrong.append(f"412 though nobody else changed {task.title}: {there}")
                self._changed(task, there)
                return
            if answer and answer.status_code == 404:
                self.saw.wrong.append(f"404 for {task.title}, which was acknowledged")
                del self.tasks[task.id]
                return
            unsure = True

    async def delete(self) -> None:
        task = self._one()
        unsure = False
        while task:
            answer = await self.ask("DELETE", f"/v1/tasks/{task.id}")
            if answer and (answer.status_code == 204 or (answer.status_code == 404 and unsure)):
                self._deleted(task)
                return
            if answer and answer.status_code == 404:
                self.saw.wrong.append(f"404 for {task.title}, which was acknowledged")
                self._deleted(task)
                return
            unsure = True

    async def change_batch(self) -> None:
        """It says the same twice, so it may be sent twice."""
        tasks = self._some(3)
        self.count += 1
        while tasks:
            body = {"ids": [task.id for task in tasks], "set": {"description": str(self.count)}}
            answer = await self.ask("PATCH", "/v1/tasks/batch", body)
            if answer and answer.status_code == 200:
                for task in tasks:
                    task.description, task.version, task.writes = str(self.count), None, task.writes + 1
                return
            if answer and answer.status_code == 404:
                self.saw.wrong.append("404 in a batch of what was acknowledged")
                return

    async def delete_batch(self) -> None:
        tasks = self._some(2)
        unsure = False
        while tasks:
            answer = await self.ask("POST", "/v1/tasks/batch/delete", {"ids": [task.id for task in tasks]})
            if answer and answer.status_code == 404:
                left = [(await self.settled("GET", f"/v1/tasks/{task.id}")).status_code for task in tasks]
                if set(left) != {404} or not unsure:
                    self.saw.wrong.append(f"a batch to delete was half there: {left}")
            if answer and answer.status_code in {200, 404}:
                for task in tasks:
                    self._deleted(task)
                return
            unsure = True

    async def look_at_own(self) -> None:
        if task := self._one():
            await self._read(task)

    async def page(self) -> None:
        await self.ask("GET", "/v1/tasks?limit=20")

    async def _read(self, task: Kept) -> None:
        answer = await self.settled("GET", f"/v1/tasks/{task.id}")
        there = answer.json()
        known = (task.description, there.get("version") if task.version is None else task.version)
        if (there.get("description"), there.get("version")) != known:
            self.saw.wrong.append(f"{task} was acknowledged, and read: {there}")
        else:
            task.version = there["version"]

    async def settled(self, method: str, path: str) -> httpx.Response:
        """Asked until there is an answer that is no 503."""
        while True:
            answer = await self.ask(method, path)
            if answer:
                return answer

    async def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response | None:
        """None when nobody knows whether it was done: after a 503 and its Retry-After, or a broken connection."""
        while True:
            if time.monotonic() > self.deadline:
                raise TimeoutError
            token = self.person.access
            try:
                answer = await self._sent(method, path, body, {**(headers or {}), "Authorization": f"Bearer {token}"})
                if answer.status_code == 401:
                    await self.person.renew(self.http, token)
                    continue
            except httpx.ConnectError:
                self.saw.answers["refused"] += 1
                await asyncio.sleep(0.1)
                continue
            except httpx.TimeoutException:
                self.saw.hung.append(f"{method} {path} had no answer in {HANG_SECONDS} s")
                return None
            except httpx.TransportError as error:
                self.saw.answers["broken"] += 1
                self.saw.breaks[f"{type(error).__name__}: {error}"] += 1
                await asyncio.sleep(0.1)
                return None
            if answer.status_code == 429:
                await asyncio.sleep(float(answer.headers["Retry-After"]))
                continue
            if answer.status_code < 500:
                return answer
            if answer.status_code == 503 and "Retry-After" not in answer.headers:
                self.saw.wrong.append("503 without Retry-After")
            if answer.status_code != 503:
                self.saw.wrong.append(f"{answer.status_code} to {method} {path}")
            await asyncio.sleep(float(answer.headers.get("Retry-After", 1)) * self.random.uniform(0.9, 1.3))
            return None

    async def _sent(self, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        begun = time.monotonic()
        self.saw.requests += 1
        try:
            answer = await self.http.request(method, path, json=body, headers=headers)
        finally:
            took = time.monotonic() - begun
            self.saw.longest = max(self.saw.longest, took)
        unsettled = answer.status_code == 503 and "did not say" in answer.text
        self.saw.answers["503 unsettled" if unsettled else str(answer.status_code)] += 1
        if answer.status_code < 500:
            self.saw.seconds.append(took)
        return answer

    def _one(self) -> Kept | None:
        return next(iter(self._some(1)), None)

    def _some(self, most: int) -> list[Kept]:
        alive = [task for task in self.tasks.values() if not task.deleted]
        return self.random.sample(alive, min(most, len(alive)))

    def _note(self, task: dict[str, Any]) -> None:
        if task["id"] in self.tasks:
            self.saw.wrong.append(f"{task['id']} was made twice")
        self._follows(task["version"])
        self.tasks[task["id"]] = Kept(task["id"], task["title"], task["description"], task["version"])

    def _changed(self, task: Kept, there: dict[str, Any]) -> None:
        self._follows(there["version"])
        task.description, task.version, task.writes = there["description"], there["version"], task.writes + 1

    def _deleted(self, task: Kept) -> None:
        task.deleted, task.writes = True, task.writes + 1

    def _follows(self, version: int) -> None:
        if version <= self.newest:
            self.saw.wrong.append(f"version {version} was acknowledged after {self.newest}")
        self.newest = version


def new_title() -> str:
    """One word of letters, which the search finds whole."""
    return "q" + uuid4().hex.translate(LETTERS)
