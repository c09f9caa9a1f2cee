"""Everything that is kept about the user, to take along."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as Asgi

from backend.deps import NO_PARAMETERS, CanManage, CanRead, TheExports
from backend.errors import TendError
from backend.routers.answers import problems
from backend.rules.days import zone

log = logging.getLogger("tend")
router = APIRouter(prefix="/v1/me", tags=["Your account"], dependencies=NO_PARAMETERS)


class Archive(StreamingResponse):
    """Begun with its first piece in hand, so that what is wrong by then is an error like any other.

    What goes wrong later leaves the body without its end, and the server cuts the connection (RFC 9112,
    section 8): nobody takes a part for all.
    """

    media_type = "application/zip"

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        super().__init__(_joined(first, rest), headers=headers)
        self.rest = rest

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        async with aclosing(self.rest):  # at once, when the client went away: another export may wait for its end
            try:
                await super().__call__(scope, receive, send)
            except TendError as error:
                log.warning("An export was broken off: %s", error.detail)


async def _joined(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in rest:
        yield piece


@router.get("/export", status_code=200, response_class=Archive, responses=problems(401, 403))
async def export(exports: TheExports, mine: CanManage, _tasks_too: CanRead) -> Response:
    """Everything that is kept about you, as a ZIP of JSON files: the account, and a file a table with a row a line.

    What is in the trash is there too, with its `deleted_at`; passwords, tokens and their hashes are not.
    A download that breaks off was not complete: ask again. One at a time; a second waits up to 10
    seconds for the first, and is a 503 then.
    """
    now = datetime.now(zone(mine.timezone))
    pieces = exports.archive(mine, now)
    disposition = f'attachment; filename="tend-export-{now:%Y-%m-%d}.zip"'
    return Archive(await anext(pieces), pieces, {"Content-Disposition": disposition, "Cache-Control": "no-store"})
