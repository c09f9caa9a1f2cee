"""One user's connection: HTTP/1.1 with keep-alive over asyncio, parsed in C by httptools, one request at a time.

httpx takes about a millisecond of a core for a request and this a tenth of it, and the load runs on the server's cores.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import httptools

STALLED_SECONDS = 60.0


@dataclass(slots=True)
class Answer:
    """`status` 0: there was none, and `body` says why."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """Opened at the first request, and anew when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self.opened = 0

    async def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        fields = [f"{name}: {value}" for name, value in headers.items()]
        if body or method in {"POST", "PATCH"}:
            fields.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *fields, "", ""]).encode()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                if self._transport is None or self._transport.is_closing():
                    await loop.create_connection(lambda: self, "127.0.0.1", self._port)
                    self.opened += 1
                assert self._transport is not None
                self._waiting = loop.create_future()
                self._transport.write(head + body)
                return await self._waiting
        except (OSError, TimeoutError) as error:
            self.close()
            return Answer(0, {}, repr(error).encode())
        finally:
            self._waiting = None

    def close(self) -> None:
        if self._transport:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"no HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(f"closed by the server {exc or ''}")

    def _fail(self, why: str) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(Answer(0, {}, why.encode()))
        self.close()

    def on_message_begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(Answer(self._parser.get_status_code(), self._headers, bytes(self._body)))
