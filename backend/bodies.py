"""What may come as a body, before anybody parses it: how it is written, how much it holds, and how much of all at once.

A body of 16 MiB can be five million empty lists: 12 seconds of a core, and 400 MB.
"""

import re
from collections import Counter
from itertools import islice
from typing import Final

from fastapi.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend import handlers
from backend.deps import holder_of
from backend.errors import Unsupported
from backend.rules.addresses import client_address

SMALL_BYTES: Final = 64 * 1024  # never refused for what others send
HELD_BYTES: Final = 64 * 1024 * 1024  # by a worker, of larger ones, until they are answered
HELD_BYTES_OF_ONE: Final = HELD_BYTES // 2  # for one address: others still come through
MOST_PARTS: Final = 100_000  # of JSON; the largest batch that can be meant has about 60,000
# A string to its end, or to that of the body; possessive, so that no quote is looked at twice.
_PARTS: Final = re.compile(rb'[\[{,]|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def holds_too_much(body: bytes) -> bool:
    """More strings, lists, objects and commas than any request needs. What stands in strings does not count."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") + body.count(b'"') <= MOST_PARTS:
        return False
    return any(True for _ in islice(_PARTS.finditer(body), MOST_PARTS, None))


class Bodies:
    """Middleware around the direct way and FastAPI.

    Whoever sends to a path that begins with `large`, where a body may be larger than elsewhere, shows a token first:
    FastAPI reads the body before it looks.
    """

    def __init__(self, app: ASGIApp, large: str) -> None:
        self.app = app
        self.large = large
        self.held = 0  # bytes
        self.of: Counter[str] = Counter()  # bytes of larger ones, by address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        try:
            if headers.get(b"content-encoding", b"identity").lower() != b"identity":
                raise Unsupported("Send the body as it is, without a Content-Encoding.")
            if scope["path"].startswith(self.large):
                await holder_of(Request(scope))
        except Exception as error:
            await (await handlers.answer_to(Request(scope), error))(scope, receive, send)
            return
        body = _Body(scope, receive, b"json" in headers.get(b"content-type", b"").lower(), self)
        try:
            await self.app(scope, body.receive, send)
        finally:
            body.let_go()


class _Body:
    """One that is being received; what is wrong with it is raised where it is read."""

    def __init__(self, scope: Scope, receive: Receive, is_json: bool, among: Bodies) -> None:
        self._scope, self._receive = scope, receive
        self._among = among
        self._pieces: list[bytes] | None = [] if is_json else None
        self._size = 0
        self._address = ""  # of a larger one

    async def receive(self) -> Message:
        message = await self._receive()
        piece: bytes = message.get("body", b"")
        self._hold(len(piece))
        if self._pieces is not None:
            self._pieces.append(piece)
            if not message.get("more_body"):
                whole, self._pieces = b"".join(self._pieces), None
                if b"\0" in whole or holds_too_much(whole):  # UTF-16 has zeros (RFC 8259, section 8.1)
                    raise HTTPException(400)
        return message

    def _hold(self, size: int) -> None:
        self._size += size
        self._among.held += size
        if self._size <= SMALL_BYTES:
            return
        if not self._address:
            self._address, size = client_address(self._scope), self._size
        self._among.of[self._address] += size
        if self._among.held > HELD_BYTES or self._among.of[self._address] > HELD_BYTES_OF_ONE:
            raise HTTPException(
                503, "Too much is being sent here at once.", {"Retry-After": "5", "Connection": "close"}
            )

    def let_go(self) -> None:
        self._among.held -= self._size
        if self._address:
            self._among.of[self._address] -= self._size
            if not self._among.of[self._address]:
                del self._among.of[self._address]
