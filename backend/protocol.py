"""What is refused of a request before there is one: a head without end, what comes too slowly, what is no HTTP.

uvicorn's own takes a request line and fields of any length: 150 MiB were accepted, and kept. It waits for the rest of
a request for ever.
"""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from backend.errors import problem_of
from backend.hardening import ALWAYS
from backend.peers import Limits, Peer, Peers, Phase
from backend.rules.addresses import client_address

HEAD_BYTES: Final = 64 * 1024
LAST_SECONDS: Final = 0.5  # for a request that is on its way when the worker stops
CLOSE: Final = (b"connection", b"close")
FIELD_BYTES: Final = 32  # what a field counts besides its text, as in HPACK (RFC 7541, section 4.1)
BODY_BYTES: Final = 17 * 1024 * 1024  # the largest that a route takes is 16 MiB, and refuses more with 413
PIECES: Final = 10_000  # of a body; more of them have `PIECE_BYTES` on average, or cost more than they bring
PIECE_BYTES: Final = 8
_WORDS: Final = {
    400: "This is no HTTP/1.1 request.",
    408: "The request did not come in time.",
    503: "Too many connections at once.",
    501: "Of the transfer codings, this server knows `chunked` alone.",
    431: f"The request line and the header fields are larger than {HEAD_BYTES // 1024} KiB together.",
}


_peers: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Peers]] = WeakKeyDictionary()


class Refused(Exception):
    """Ends the parser's work; never leaves this file."""


def protocol(limits: Limits) -> type[asyncio.Protocol]:
    """For `uvicorn.Config(http=…)`, which calls it and asks no more of it; it goes to the workers as a pickle."""
    return cast(type[asyncio.Protocol], partial(Protocol, limits=limits))


class Stopping:
    """What is to be ended when the worker stops: at once, if it does already."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], None]] = []
        self._stops = False

    def append(self, end: Callable[[], None]) -> None:
        self._ends.append(end)
        if self._stops:
            end()

    def remove(self, end: Callable[[], None]) -> None:
        self._ends.remove(end)

    def stop(self) -> None:
        self._stops = True
        for end in [*self._ends]:
            end()


class Protocol(HttpToolsProtocol):
    """Counts what a request brings besides its body, which has limits of its own.

    The parser keeps a field until it is whole and only then tells of it. So the bytes that it was given and has
    said nothing of are counted too. The fields after a chunked body (trailers) count with those before it.
    """

    told = 0  # bytes of this request's head that the parser told of
    held = 0  # bytes that it was given since it last told of anything
    pieces = 0  # of this request's body
    brought = 0  # bytes of it
    refusal = 400
    answering: RequestResponseCycle | None = None  # `cycle` is the newest, which waits when several were sent at once

    def __init__(self, *arguments: Any, limits: Limits | None = None, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self.at_stop = Stopping()  # heeded by what is answered here (routers/events.py)
        self.peers = _peers.get(self.loop) or _peers.setdefault(self.loop, Peers(limits or Limits(), self.loop))

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        self.peer = Peer(transport, self.flow, client_address({"client": self.client}), host, self._refuse)
        if not self.peers.admit(self.peer):
            self._refuse(503)

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn tells the newest request alone; the one that is answered would write on, which is an error."""
        self.peers.leave(self.peer)
        if self.answering and not self.answering.response_complete:
            self.answering.disconnected = True
            self.answering.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.answering = cycle
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """The worker stops: what would never end is told so.

        Whoever is silent may have sent already: closing now would reset it unanswered.

        So what comes in the next moment is answered, with `Connection: close` (RFC 9112, section 9.6).
        """
        self.at_stop.stop()
        if self.cycle is not None and not self.cycle.response_complete:
            super().shutdown()
            return
        if CLOSE not in self.server_state.default_headers:
            self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        self.loop.call_later(LAST_SECONDS, super().shutdown)

    def data_received(self, data: bytes) -> None:
        self.held += len(data)
        super().data_received(data)
        if self.told + self.held > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431)

    def on_message_begin(self) -> None:
        self.told = self.held = self.pieces = self.brought = 0
        peer = self.peer
        peer.phase = Phase.HEAD
        peer.since = self.peers.now
        peer.received = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + FIELD_BYTES)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        names = [name for name, _ in self.headers]
        if names.count(b"host") != 1 or b"transfer-encoding" in names:
            self._check_fields(names)
        self.peer.phase = Phase.BODY
        super().on_headers_complete()
        self.scope["tend.at_stop"] = self.at_stop  # type: ignore[typeddict-unknown-key]
        if self.parser.should_upgrade():  # nobody here does, and the parser reads nothing after such a request
            self.cycle.keep_alive = False

    def _check_fields(self, names: list[bytes]) -> None:
        """RFC 9112: one Host (section 3.2), and no transfer coding that is not known (section 6.1)."""
        if any(name == b"transfer-encoding" and value.lower() != b"chunked" for name, value in self.headers):
            self._stop(501)
        hosts = names.count(b"host")
        if hosts > 1 or (not hosts and self.parser.get_http_version() != "1.0"):
            self._stop(400)

    def on_body(self, body: bytes) -> None:
        self.held = 0
        self.pieces += 1
        self.brought += len(body)
        self.peer.received += len(body)
        if self.brought > BODY_BYTES or (self.pieces > PIECES and self.brought < self.pieces * PIECE_BYTES):
            self._stop(400)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.peer.phase = Phase.ANSWER
        if self.cycle.response_complete:
            self._rest()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.peer.phase is Phase.ANSWER and self.cycle.response_complete:
            self._rest()

    def _rest(self) -> None:
        self.peer.phase = Phase.IDLE
        self.peer.since = self.peers.now

    def _unsupported_upgrade_warning(self) -> None:
        """Two lines in the log for each request that somebody sends so."""

    def _count(self, size: int) -> None:
        self.held = 0
        self.told += size
        if self.told > HEAD_BYTES:
            self._stop(431)

    def _stop(self, status: int) -> None:
        """The parser stops, and uvicorn calls `send_400_response`."""
        self.refusal = status
        raise Refused

    def send_400_response(self, msg: str) -> None:
        self._refuse(self.refusal)

    def _refuse(self, status: int) -> None:
        """Closes the connection, with an answer if one can be for this request.

        While an earlier request's answer is still to come, this one would be taken for it (RFC 9112, section 9.3.2),
        and so it would after the answer to this request itself, when it is the trailers that are wrong.
        """
        self.url, self.headers = b"", []
        if self._is_answerable(status):
            body = json.dumps(problem_of("", status, _WORDS[status]), separators=(",", ":")).encode()
            fields = [
                *self.server_state.default_headers,
                (b"content-type", b"application/problem+json"),
                (b"content-length", str(len(body)).encode()),
                CLOSE,
                *ALWAYS,
            ]
            head = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
            self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self.transport.close()

    def _is_answerable(self, status: int) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None:
            return True
        if cycle.scope is not self.scope:
            return cycle.response_complete
        if status != 408 or cycle.response_started or self.pipeline:
            return False
        cycle.disconnected = True  # or what waits for the body would answer too
        cycle.message_event.set()
        return True
