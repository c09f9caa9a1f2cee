"""A user of the API, as short as a test wants to say it."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select, update

from backend.models import User, table
from backend.services import accounts, sessions
from backend.services.audit import Caller
from backend.state import State

Json = dict[str, Any]


class Client:
    """Speaks for one signed-in user."""

    def __init__(self, http: httpx.AsyncClient, user_id: UUID, token: str, email: str) -> None:
        self.http = http
        self.user_id = user_id
        self.token = token
        self.email = email

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.call("POST", path, **({"json": body} if body is not None else {}), **options)

    async def patch(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return await self.call("PATCH", path, json=body, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("DELETE", path, **options)

    async def add(self, title: str, **fields: Any) -> Json:
        answer = await self.post("/v1/tasks", {"title": title, **fields})
        assert answer.status_code == 201, answer.text
        task: Json = answer.json()
        return task

    async def add_many(self, tasks: list[Json]) -> list[Json]:
        answer = await self.post("/v1/tasks/batch", {"tasks": tasks})
        assert answer.status_code == 201, answer.text
        items: list[Json] = answer.json()["items"]
        return items

    async def project(self, name: str, **fields: Any) -> Json:
        answer = await self.post("/v1/projects", {"name": name, **fields})
        assert answer.status_code == 201, answer.text
        project: Json = answer.json()
        return project

    async def save(self, name: str, text: str, **fields: Any) -> Json:
        answer = await self.post("/v1/filters", {"name": name, "filter": text, **fields})
        assert answer.status_code == 201, answer.text
        saved: Json = answer.json()
        return saved

    async def page(self, **parameters: Any) -> Json:
        answer = await self.get("/v1/tasks", params=parameters)
        assert answer.status_code == 200, answer.text
        page: Json = answer.json()
        return page

    async def titles(self, **parameters: Any) -> list[str]:
        return [task["title"] for task in (await self.page(**parameters))["items"]]

    async def walk(self, between: Callable[[], Awaitable[None]] | None = None, **parameters: Any) -> list[Json]:
        """Every page by cursor, from the first to the end; `between` two of them, something else."""
        items: list[Json] = []
        cursor: str | None = None
        while True:
            page = await self.page(**parameters, **({"cursor": cursor} if cursor else {}))
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items
            if between:
                await between()


class Statements(list[str]):
    """The SQL of what reached the database, in order."""

    def note(self, sql: str, _values: Any) -> None:
        self.append(sql)


async def fresh_account(http: httpx.AsyncClient, state: State, name: str) -> Client:
    """Signed in without a password's hashing, which takes longer than most tests."""
    email = f"{name}@example.com"
    opened = json.loads(await accounts.open_account(state.database, email, name.title(), None))
    return await another_session(http, state, UUID(opened["id"]), email)


async def another_session(http: httpx.AsyncClient, state: State, user_id: UUID, email: str) -> Client:
    users = table(User)
    async with state.database.engine.connect() as connection:
        hashed = (await connection.execute(select(users.c.password_hash).where(users.c.id == user_id))).scalar_one()
    lifetime, caller = timedelta(days=180), Caller("192.0.2.1", "tests")
    signed_in = await sessions.begin(state.database, user_id, lifetime, caller, password_hash=hashed)
    return Client(http, signed_in.user_id, state.keys.access_token(*signed_in[:5]), email)


async def settled_in(state: State, client: Client, timezone: str, language: str) -> Client:
    """The same user with another time zone and language; the tasks that are there stay as they were."""
    async with state.database.engine.connect() as connection:
        this = update(table(User)).where(table(User).c.id == client.user_id)
        await connection.execute(this.values(timezone=timezone, language=language))
    return await another_session(client.http, state, client.user_id, client.email)
