"""What is refused of a request before there is one: a head without end, and what is no HTTP.

uvicorn's own takes a request line and fields of any length: 150 MiB were accepted, and kept.
"""

import json
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from backend.errors import problem_of
from backend.hardening import ALWAYS

HEAD_BYTES: Final = 64 * 1024
LAST_SECONDS: Final = 0.5  # for a request that is on its way when the worker stops
CLOSE: Final = (b"connection", b"close")
_WORDS: Final = {
    400: "This is no HTTP/1.1 request.",
    431: f"The request line and the header fields are larger than {HEAD_BYTES // 1024} KiB together.",
}


class HeadTooLarge(Exception):
    """Ends the parser's work; never leaves this file."""


class Protocol(HttpToolsProtocol):
    """Counts what a request brings besides its body, which has limits of its own.

    The parser keeps a field until it is whole and only then tells of it. So the bytes that it was given and has
    said nothing of are counted too. The fields after a chunked body (trailers) count with those before it.
    """

    told = 0  # bytes of this request's head that the parser told of
    held = 0  # bytes that it was given since it last told of anything

    def shutdown(self) -> None:
        """The worker stops. Whoever is silent may have sent already: closing now would reset it unanswered.

        So what comes in the next moment is answered, with `Connection: close` (RFC 9112, section 9.6).
        """
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
        self.told = self.held = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self.held = 0
        super().on_body(body)

    def _count(self, size: int) -> None:
        self.held = 0
        self.told += size
        if self.told > HEAD_BYTES:
            raise HeadTooLarge  # the parser stops, and uvicorn calls `send_400_response`

    def send_400_response(self, msg: str) -> None:
        self._refuse(431 if self.told > HEAD_BYTES else 400)

    def _refuse(self, status: int) -> None:
        """Closes the connection, with an answer if one can be for this request.

        While an earlier request's answer is still to come, this one would be taken for it (RFC 9112, section 9.3.2),
        and so it would after the answer to this request itself, when it is the trailers that are wrong.
        """
        self.url, self.headers = b"", []
        if self.cycle is None or (self.cycle.response_complete and self.cycle.scope is not self.scope):
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
