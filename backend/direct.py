"""The way of the busiest reads: from the request straight to their function, past FastAPI's routing.

FastAPI has the same routes: for the documentation, and for every request that is no plain GET. On its way
to the same function it builds two exit stacks, solves dependencies and wraps the answer four times, which
costs more of a worker's time than the statement does.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Asgi

from backend import handlers
from backend.deps import signed_in
from backend.scope import Scope

_BODY = {b"content-length", b"transfer-encoding"}  # FastAPI looks how long it is
Endpoint = Callable[[Scope, Request], Awaitable[Response]]


class Direct:
    """Middleware around FastAPI's own stack. `endpoints` are by path, and want a signed-in user."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, Endpoint]) -> None:
        self.app = app
        self.endpoints = endpoints

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        endpoint = self.endpoints.get(scope["path"]) if scope.get("method") == "GET" else None
        if endpoint is None or any(name in _BODY for name, _ in scope["headers"]):
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await endpoint(await signed_in(request), request)
        except Exception as error:
            answer = await handlers.answer_to(request, error)
        await answer(scope, receive, send)
