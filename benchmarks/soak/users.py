"""What a user does, chosen by chance from a seed, and what the user's data must be afterwards."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from benchmarks.soak.client import Answer, Connection
from benchmarks.soak.tally import Tally

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PATIENCE = 5  # times as long as otherwise, who was not let in waits before trying again
KNOWN_MOST = 200  # tasks that a user remembers the ids of
WORDS = ("fix", "request", "add support", '"unit test"', "docs or readme", "release -merge", "perfrmance")
SORTS = ("updated", "title", "priority", "due_date", "created&order=asc")
FILTERS = (
    "status=pending&priority=high",
    "has_due_date=true&sort=due_date",
    "overdue=true",
    "filter=" + quote("is:pending (priority:high or due<=+1w)"),
    "any_tags=fix&any_tags=feat",
)


class User:
    def __init__(self, number: int, email: str, password: str, tasks: int, port: int, tally: Tally, seed: int) -> None:
        self.chance = random.Random(f"{seed} {number}")
        self.number, self.email, self.password = number, email, password
        self.tally = tally
        self.connection = Connection(port)
        self.expected = tasks
        self.filters: list[str] = []
        self.known: list[str] = []
        self.unsure = False  # a write had no answer: what is there now is not known
        self.access = self.refreshed = self.cursor = self.mark = ""
        self.due = 0.0
        self.made = 0

    async def live(self, begins: float, ends: float, think: float) -> None:
        """An open loop: when something is asked was decided beforehand, and an answer that is late delays nothing.

        Its time counts from when it was due. Counted from when it was sent, an answer that takes ten seconds would
        be one slow request instead of all those that waited for it (coordinated omission).
        """
        at = begins
        act: Act = User.sign_in
        while at < ends:
            if (rest := at - perf_counter()) > 0:
                await asyncio.sleep(rest)
            self.due = at
            await act(self)
            chosen = self.chance.choices(_ACTS, _WEIGHTS)[0]
            act = chosen if self.access else User.sign_in  # once more, when it was refused
            at += self.chance.expovariate(1 / think) * (1 if self.access else PATIENCE)

    async def _ask(
        self,
        kind: str,
        method: str,
        target: str,
        body: Any = None,
        *,
        meant: tuple[int, ...] = (200,),
        headers: dict[str, str] | None = None,
    ) -> Answer | None:
        """The answer, if it is one that was meant; the time of the first request of an act counts from `due`."""
        sent = {"X-Forwarded-For": f"10.1.{self.number >> 8}.{self.number & 255}", **(headers or {})}
        if self.access:
            sent["Authorization"] = f"Bearer {self.access}"
        payload = b""
        if isinstance(body, bytes):
            payload = body
        elif body is not None:
            sent |= JSON
            payload = json.dumps(body).encode()
        since = self.due or perf_counter()
        answer = await self.connection.ask(method, target, sent, payload)
        self.tally.note(kind, answer, perf_counter() - since, meant)
        self.due = 0.0
        if answer.status in meant:
            return answer
        self.unsure |= method != "GET" and (answer.status == 0 or answer.status >= 500)
        return None

    async def sign_in(self) -> None:
        self.access = ""
        form = urlencode({"username": self.email, "password": self.password}).encode()
        if answer := await self._ask("sign in", "POST", "/v1/auth/token", form, headers=FORM):
            self._take_pair(answer)

    async def refresh(self) -> None:
        if answer := await self._ask("refresh", "POST", "/v1/auth/refresh", {"refresh_token": self.refreshed}):
            self._take_pair(answer)

    def _take_pair(self, answer: Answer) -> None:
        pair = answer.json()
        self.access, self.refreshed = pair["access_token"], pair["refresh_token"]

    async def leave_and_return(self) -> None:
        await self._ask("sign out", "POST", "/v1/auth/logout", meant=(204,))
        self.connection.close()
        await self.sign_in()

    async def first_page(self) -> None:
        if answer := await self._ask("first page", "GET", "/v1/tasks"):
            self._see(answer)

    async def filtered(self) -> None:
        await self._ask("filtered", "GET", f"/v1/tasks?{self.chance.choice(FILTERS)}")

    async def sorted(self) -> None:
        await self._ask("sorted", "GET", f"/v1/tasks?limit=50&sort={self.chance.choice(SORTS)}")

    async def next_page(self) -> None:
        target = f"/v1/tasks?cursor={quote(self.cursor)}" if self.cursor else "/v1/tasks"
        if answer := await self._ask("next page", "GET", target):
            self.cursor = answer.json()["next_cursor"] or ""

    async def search(self) -> None:
        await self._ask("search", "GET", f"/v1/tasks?highlight=true&search={quote(self.chance.choice(WORDS))}")

    async def facets(self) -> None:
        await self._ask("facets", "GET", "/v1/tasks?facets=tag,priority,status&limit=1")

    async def unchanged(self) -> None:
        headers = {"If-None-Match": self.mark} if self.mark else {}
        answer = await self._ask("if changed", "GET", "/v1/tasks", headers=headers, meant=(200, 304))
        if answer and answer.status == 200:
            self._see(answer)

    def _see(self, answer: Answer) -> None:
        page = answer.json()
        self.mark, self.cursor = answer.headers["etag"], page["next_cursor"] or ""
        self._remember([task["id"] for task in page["items"]])

    def _remember(self, ids: list[str]) -> None:
        self.known = list(dict.fromkeys([*self.known, *ids]))[-KNOWN_MOST:]

    async def read(self) -> Answer | None:
        if not self.known:
            await self.create()
            return None
        return await self._ask("read", "GET", f"/v1/tasks/{self.chance.choice(self.known)}")

    def _task(self) -> dict[str, Any]:
        """With an id made by the client, so that chance alone decides."""
        self.made += 1
        return {
            "id": str(UUID(int=self.chance.getrandbits(128), version=4)),
            "title": f"{self.chance.choice(WORDS)} {self.made}",
            "description": "What there is to say about it. " * self.chance.randrange(8),
            "priority": self.chance.choice(["low", "medium", "high"]),
            "tags": self.chance.sample(["feat", "fix", "docs", "home"], 2),
        }

    async def create(self) -> None:
        task = self._task()
        if await self._ask("create", "POST", "/v1/tasks", task, meant=(201,)):
            self.expected += 1
            self._remember([task["id"]])
            if self.chance.random() < 0.1:
                await self._ask("create again: 409", "POST", "/v1/tasks", task, meant=(409,))

    async def change(self) -> None:
        answer = await self.read()
        if not answer:
            return
        task = answer.json()
        path, headers = f"/v1/tasks/{task['id']}", {"If-Match": answer.headers["etag"]}
        patch = self.chance.choice([{"completed": not task["completed"]}, {"title": f"{task['title'][:150]} *"}])
        if await self._ask("change", "PATCH", path, patch, headers=headers) and self.chance.random() < 0.1:
            await self._ask("change, stale: 412", "PATCH", path, patch, headers=headers, meant=(412,))

    async def delete(self) -> None:
        if len(self.known) > 5:
            task = self.known.pop(self.chance.randrange(len(self.known)))
            if await self._ask("delete", "DELETE", f"/v1/tasks/{task}", meant=(204,)):
                self.expected -= 1

    async def batch(self) -> None:
        tasks = [self._task() for _ in range(20)]
        ids = [task["id"] for task in tasks]
        if not await self._ask("batch: 20 created", "POST", "/v1/tasks/batch", {"tasks": tasks}, meant=(201,)):
            return
        self.expected += len(ids)
        patch = {"ids": ids, "set": {"priority": "low"}}
        await self._ask("batch: 20 changed", "PATCH", "/v1/tasks/batch", patch)
        if await self._ask("batch: 20 deleted", "POST", "/v1/tasks/batch/delete", {"ids": ids}):
            self.expected -= len(ids)

    async def tags(self) -> None:
        await self._ask("tags", "GET", "/v1/tags")

    async def saved(self) -> None:
        if len(self.filters) < 5:
            self.made += 1
            body = {"name": f"Filter {self.made}", "filter": "is:pending priority:high"}
            if answer := await self._ask("filter saved", "POST", "/v1/filters", body, meant=(201,)):
                self.filters.append(answer.json()["id"])
        elif self.chance.random() < 0.2:
            if await self._ask("filter deleted", "DELETE", f"/v1/filters/{self.filters[0]}", meant=(204,)):
                self.filters.pop(0)
        else:
            await self._ask("by saved filter", "GET", f"/v1/tasks?saved={self.chance.choice(self.filters)}")

    async def profile(self) -> None:
        await self._ask("profile", "GET", "/v1/me")

    async def rename(self) -> None:
        await self._ask("profile changed", "PATCH", "/v1/me", {"name": f"Name {self.chance.randrange(100)}"})

    async def export(self) -> None:
        await self._ask("export", "GET", "/v1/me/export")

    async def verify(self) -> str:
        """What is otherwise than it must be; empty when nothing is."""
        self.due = 0.0
        await self.sign_in()
        page = await self._ask("verified", "GET", "/v1/tasks?limit=1")
        saved = await self._ask("verified", "GET", "/v1/filters")
        if not page or not saved:
            return f"{self.email}: no answer"
        found = page.json()["total"], len(saved.json()["items"])
        wanted = self.expected, len(self.filters)
        if found == wanted:
            return ""
        why = " (a write had no answer)" if self.unsure else ""
        return f"{self.email}: {found} tasks and filters instead of {wanted}{why}"


Act = Callable[[User], Awaitable[Any]]
_MIX: dict[Act, float] = {
    User.first_page: 18,
    User.filtered: 12,
    User.sorted: 7,
    User.next_page: 10,
    User.search: 7,
    User.facets: 3,
    User.unchanged: 12,
    User.read: 6,
    User.create: 8,
    User.change: 8,
    User.delete: 4,
    User.batch: 0.5,
    User.tags: 2,
    User.saved: 2,
    User.profile: 2,
    User.rename: 0.3,
    User.refresh: 1,
    User.leave_and_return: 0.3,
    User.export: 0.1,
}
_ACTS, _WEIGHTS = list(_MIX), list(_MIX.values())
