"""The way between the application and the database, which can break: a TCP proxy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

from sqlalchemy import make_url

Fate = Literal["pass", "cut before", "cut within", "cut after", "swallow"]


class Wire:
    """Passes bytes on, until something is asked of it.

    What happens to requests that hold the bytes `marked` is `fate`: the connection is cut before the server sees
    them, when it has seen half, or when it has answered and before the client sees that; or nothing comes back.
    """

    def __init__(self, target: str) -> None:
        url = make_url(target)
        host = url.query.get("host", url.host or "127.0.0.1")
        self._target = (str(host), url.port or 5432)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._url = url
        self._port = 0
        self.marked = b""
        self.fate: Fate = "pass"
        self.times = 0  # how often the fate strikes still
        self.struck = 0
        self.delay = 0.0  # seconds, each way
        self.connections = 0

    @property
    def url(self) -> str:
        there = self._url.set(host="127.0.0.1", port=self._port).difference_update_query(["host"])
        return there.render_as_string(hide_password=False)

    def strike(self, fate: Fate, marked: bytes, times: int = 1) -> None:
        self.fate, self.marked, self.times, self.struck = fate, marked, times, 0

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """No new connections, and those there are end."""
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        host, port = self._target
        path = Path(host) / f".s.PGSQL.{port}"
        try:
            if host.startswith("/"):
                there, to_there = await asyncio.open_unix_connection(str(path))
            else:
                there, to_there = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, to_there}
        self._open |= both
        doomed = asyncio.Event()
        ways = [
            asyncio.create_task(self._forth(reader, to_there, doomed)),
            asyncio.create_task(self._back(there, writer, doomed)),
        ]
        with suppress(asyncio.CancelledError):  # at the loop's end; asyncio would print its trace
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for each in both:
            each.transport.abort()
        self._open -= both

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if self.delay:
                await asyncio.sleep(self.delay)
            struck = self.times > 0 and self.marked in data and self.fate != "pass"
            if struck:
                self.times -= 1
                self.struck += 1
                if self.fate == "cut before":
                    return
                if self.fate == "cut within":
                    data = data[: len(data) // 2]
                if self.fate in {"cut after", "swallow"}:
                    doomed.set()
            with suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
            if struck and self.fate == "cut within":
                await asyncio.sleep(0.05)
                return

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if doomed.is_set():
                if self.fate == "swallow":
                    continue
                return
            if self.delay:
                await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def wire_to(target: str) -> AsyncIterator[Wire]:
    wire = Wire(target)
    await wire.listen()
    try:
        yield wire
    finally:
        with suppress(AssertionError):
            await wire.refuse()
