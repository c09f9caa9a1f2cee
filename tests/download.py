"""An answer that is taken piece by piece, and an account with much to send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import delete, text

from backend.models import User, table
from backend.state import State
from tests.client import Client, Json

PATIENCE = 20  # seconds, of a test that would hang otherwise
# Words that neither compress nor end up in the search vector.
FILL = """
INSERT INTO tasks (user_id, id, version, title, title_key, description)
SELECT :owner, gen_random_uuid(), 1000000 + n, 'Task ' || n, 'task ' || n,
       (SELECT string_agg(md5(n || ' ' || part), '') FROM generate_series(1, :parts) part)
FROM generate_series(1, :tasks) n
"""


async def fill(state: State, owner: UUID, tasks: int, characters: int) -> None:
    async with state.database.engine.connect() as connection:
        await connection.execute(text(FILL), {"owner": owner, "tasks": tasks, "parts": characters // 32})


async def end_account(state: State, user_id: UUID) -> None:
    users = table(User)
    async with state.database.engine.connect() as connection:
        await connection.execute(delete(users).where(users.c.id == user_id).execution_options(crosses_users="ends it"))


class Download:
    """The answer piece by piece: the application is not let go on before the next one is asked for."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Json] = asyncio.Queue()
        self.left = asyncio.Event()
        self.asked = False
        self.complete = False
        self.answering: asyncio.Task[None] | None = None

    async def receive(self) -> Json:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.messages.put_nowait(message)
        await self.messages.join()

    async def piece(self) -> bytes | None:
        """None when nothing follows, whether the answer was complete or not."""
        assert self.answering
        if self.messages._unfinished_tasks:  # type: ignore[attr-defined]
            self.messages.task_done()
        message = asyncio.ensure_future(self.messages.get())
        done, _ = await asyncio.wait({message, self.answering}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert done, "Nothing comes, and it does not end"
        if not message.done():
            message.cancel()
            self.answering.result()
            return None
        if message.result()["type"] == "http.response.start":
            assert message.result()["status"] == 200
            return await self.piece()
        self.complete = not message.result().get("more_body")
        return bytes(message.result()["body"])

    async def rest(self) -> AsyncIterator[bytes]:
        while (piece := await self.piece()) is not None:
            yield piece

    async def size(self) -> int:
        return sum([len(piece) async for piece in self.rest()])


@asynccontextmanager
async def download(app: FastAPI, client: Client, path: str) -> AsyncIterator[Download]:
    taken = Download()
    headers = [(b"authorization", f"Bearer {client.token}".encode())]
    scope = {
        "type": "http",
        "scheme": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
    }
    taken.answering = asyncio.ensure_future(app(scope, taken.receive, taken.send))
    try:
        yield taken
    finally:
        taken.left.set()
        async with asyncio.timeout(PATIENCE):
            await taken.answering
