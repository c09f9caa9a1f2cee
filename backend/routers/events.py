"""News of changes, as server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as Asgi

from backend.deps import NO_PARAMETERS, CanRead
from backend.routers.answers import problems
from backend.services.live import Listener, Live

HEARTBEAT_SECONDS: Final = 15.0
AGAIN_MS: Final = 2_000  # before a client that lost its connection comes back

router = APIRouter(prefix="/v1/events", tags=["Sync"], dependencies=NO_PARAMETERS)
LastEventId = Annotated[
    str | None, Header(description="The `id` of the last event that was heard.", examples=["42-0f8b1c3e"])
]


class Stream(StreamingResponse):
    """Leaves, whatever becomes of the connection."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, listener: Listener, last_id: str | None) -> None:
        # nginx would keep events until there are 4 KB of them.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_events(listener, last_id), headers=headers)
        self.live, self.listener = live, listener

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        at_stop = scope.get("tend.at_stop", [])  # of the server's connection (protocol.py)
        at_stop.append(self.listener.end)
        try:
            await super().__call__(scope, receive, send)
        finally:
            at_stop.remove(self.listener.end)
            self.live.leave(self.listener)


async def _events(listener: Listener, told: str | None) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=AGAIN_MS, comment="connected")
    while not listener.over:
        news = listener.news
        if news.id != told:
            told = news.id
            yield format_sse_event(event="change", id=news.id, data_str=f'{{"change":{news.seq}}}')
        before = news
        await listener.wait(HEARTBEAT_SECONDS)
        if listener.news is before and not listener.over:
            yield format_sse_event(comment="")


@router.get(
    "",
    status_code=200,
    response_class=Stream,
    responses={
        **problems(401, 403, 422),
        200: {
            "description": "Events until the sign-in ends or the connection is closed.",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'event: change\ndata: {"change":42}\nid: 42-0f8b1c3e\n\n',
                }
            },
        },
    },
)
async def events(mine: CanRead, request: Request, last_event_id: LastEventId = None) -> Response:
    """Hear within two seconds that something of yours has changed, wherever it was changed.

    An event says no more than how far the changes have come: what has changed is what a sync, or a listing, then
    tells. The first one comes at once, unless `Last-Event-ID` has it. Ten connections of a user to a worker; a comment
    every 15 seconds when nothing changes.
    """
    live: Live = request.app.state["live"]
    return Stream(live, await live.join(mine), last_event_id)
