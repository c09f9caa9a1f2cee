"""The way of the busiest requests: straight to their function, past FastAPI's routing.

FastAPI has the same routes: for the documentation, and for every request that is not plainly right. On its
way to the same function it builds exit stacks, solves dependencies and wraps the answer four times, which
costs more of a worker's time than the statement does.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Asgi

from backend import handlers
from backend.deps import scope_of
from backend.scope import Scope

Read = Callable[[Scope, Request], Awaitable[Response]]
Write = Callable[[Scope, Any], Awaitable[Response]]


class Direct:
    """Middleware around FastAPI's own stack, for a signed-in user.

    `reads` (for `tasks:read`) are asked by GET without a body, `writes` (for `tasks:write`) by POST without a
    query, with a body of at most `body_bytes` that the model accepts. Whatever is otherwise, FastAPI answers.
    """

    def __init__(
        self,
        app: ASGIApp,
        reads: Mapping[str, Read],
        writes: Mapping[str, tuple[type[BaseModel], Write]],
        body_bytes: int,
    ) -> None:
        self.app = app
        self.reads = reads
        self.writes = writes
        self.body_bytes = body_bytes

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_read(scope):
            await self._read(self.reads[scope["path"]], scope, receive, send)
        elif scope["type"] == "http" and self._is_write(scope):
            await self._write(*self.writes[scope["path"]], scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_read(self, scope: Asgi) -> bool:
        if scope["method"] != "GET" or scope["path"] not in self.reads:
            return False
        return all(name not in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])

    def _is_write(self, scope: Asgi) -> bool:
        if scope["method"] != "POST" or scope["path"] not in self.writes or scope["query_string"]:
            return False
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        fits = length.isdigit() and len(length) < 10 and int(length) <= self.body_bytes
        return fits and headers.get(b"content-type") == b"application/json"

    async def _read(self, endpoint: Read, scope: Asgi, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            answer = await endpoint(await scope_of(request, "tasks:read"), request)
        except Exception as error:
            answer = await handlers.answer_to(request, error)
        await answer(scope, receive, send)

    async def _write(self, model: type[BaseModel], endpoint: Write, scope: Asgi, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            mine = await scope_of(request, "tasks:write")
            body = await request.body()
            given = _read(model, body)
            answer = await endpoint(mine, given) if given else None
        except ClientDisconnect:
            return
        except Exception as error:
            answer = await handlers.answer_to(request, error)
        if answer:
            await answer(scope, receive, send)
        else:  # FastAPI says what is wrong with it
            await self.app(scope, again(body, receive), send)


def _read(model: type[BaseModel], body: bytes) -> BaseModel | None:
    with suppress(ValueError, RecursionError):
        return model.model_validate(json.loads(body))
    return None


def again(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, then whatever comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
