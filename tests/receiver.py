"""An address that webhooks lead to: a server of the tests' own, which takes, refuses, redirects or hangs up."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import uvicorn
from standardwebhooks.webhooks import Webhook

from tests.client import Json
from tests.over_tcp import free_socket


class Message(NamedTuple):
    path: str
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def said(self) -> Json:
        said: Json = json.loads(self.body)
        return said

    def read(self, secret: str) -> Json:
        """By the library that receivers use. Raises WebhookVerificationError."""
        said: Json = Webhook(secret).verify(self.body, self.headers)
        return said


class Answer(NamedTuple):
    status: int = 204
    location: str | None = None
    hangs_up: bool = False  # after it has read all
    seconds: float = 0.0  # before it answers
    body: bytes = b""
    retry_after: str | None = None


class Receiver:
    """Answers as `answers` say, then with `usual`."""

    def __init__(self) -> None:
        self.address = ""
        self.got: list[Message] = []
        self.answers: deque[Answer] = deque()
        self.usual = Answer()
        self.at_once = self.most_at_once = 0

    @property
    def types(self) -> list[str]:
        return [message.said["type"] for message in self.got]

    @property
    def rows(self) -> list[Any]:
        """Of each message, what a row is called by."""
        rows = [message.said["data"]["row"] for message in self.got]
        return [row and (row.get("title") or row.get("name") or row.get("body")) for row in rows]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            piece = await receive()
            body, more = body + piece.get("body", b""), piece.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.got.append(Message(scope["path"], headers, body.decode()))
        answer = self.answers.popleft() if self.answers else self.usual
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(answer.seconds)
        self.at_once -= 1
        if answer.hangs_up:
            raise RuntimeError("The receiver hangs up.")
        given = {b"location": answer.location, b"retry-after": answer.retry_after}
        headers_out = [(name, value.encode()) for name, value in given.items() if value]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers_out})
        await send({"type": "http.response.body", "body": answer.body})


@asynccontextmanager
async def receiving(**options: Any) -> AsyncIterator[Receiver]:
    """On 127.0.0.1; `options` are uvicorn's."""
    receiver, listener = Receiver(), free_socket()
    receiver.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(receiver, lifespan="off", log_config=None, timeout_graceful_shutdown=1, **options)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield receiver
    finally:
        server.should_exit = True
        await serving
        listener.close()
