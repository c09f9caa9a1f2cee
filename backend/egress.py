"""Posts to addresses that users have named, and to no machine that is only reachable from here.

Every name is looked up once, what it leads to is looked at, and that very address is connected to: a name cannot lead
elsewhere in between. So it is for each redirect.
"""

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import httpcore

from backend.config.values import authorities as authorities_file
from backend.ways import Guarded, Refused

SECONDS: Final = 15.0  # for all of it: look-up, connection, redirects, answer
REDIRECTS: Final = 3
CONNECTIONS: Final = 100


@cache
def authorities() -> ssl.SSLContext:
    """Whose certificates are trusted: this machine's; SSL_CERT_FILE names others. To read them takes a while."""
    return ssl.create_default_context(cafile=authorities_file())


class Outcome(NamedTuple):
    """`status` is that of the last answer, None without one; `error` is for a person."""

    status: int | None
    error: str | None
    seconds: float
    retry_after: float = 0.0  # seconds

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Egress:
    """One an event loop. `networks` are those that may be reached besides the internet, in CIDR; `plain`: the internet
    may be reached without TLS too.
    """

    def __init__(self, networks: Iterable[str] = (), *, plain: bool = True) -> None:
        allowed = tuple(networks)
        self._pools = {
            "https": _pool(Guarded(allowed)),
            "http": _pool(Guarded(allowed, internet=plain)),
        }

    async def post(self, url: str, headers: Mapping[str, str], body: str) -> Outcome:
        """What became of it: never raises. Redirects that keep the method (307, 308) are followed."""
        began, heard = time.monotonic(), _Heard()
        error: str | None
        try:
            async with asyncio.timeout(SECONDS):
                error = await self._followed(url, headers, body.encode(), heard)
        except Exception as failure:
            error = _said(failure)
        if heard.status and 200 <= heard.status < 300:
            error = None  # it has taken it, whatever else it says or does not
        return Outcome(heard.status, error, time.monotonic() - began, heard.retry_after)

    async def _followed(self, url: str, headers: Mapping[str, str], body: bytes, heard: "_Heard") -> str | None:
        for _ in range(REDIRECTS + 1):
            await self._sent(url, headers, body, heard)
            if not 300 <= (heard.status or 0) < 400:
                return f"It answered with {heard.status}."
            if heard.status not in {307, 308} or not heard.location:
                return f"It answered with {heard.status}, a redirect that is not followed: set the URL anew."
            following = _joined(url, heard.location)
            if url.lower().startswith("https:") and following.lower().startswith("http:"):
                return f"It answered with {heard.status}, which leads away from https."
            url = following
        return f"It was redirected more than {REDIRECTS} times."

    async def _sent(self, url: str, headers: Mapping[str, str], body: bytes, heard: "_Heard") -> None:
        try:
            there = urlsplit(url)
            pool, user = self._pools.get(there.scheme), there.username
        except ValueError:
            pool = user = None
        if pool is None or user is not None:
            raise Refused("It leads to what is no web address, or to one with a user in it.")
        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        heard.status = None
        async with pool.stream("POST", url, headers=given, content=body) as response:
            heard.note(response)
            with suppress(httpcore.NetworkError, httpcore.ProtocolError):
                async for _piece in response.aiter_stream():  # for the connection to be used again
                    pass

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


class _Heard:
    """Of the last answer."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.location: str | None = None
        self.retry_after = 0.0

    def note(self, response: httpcore.Response) -> None:
        fields = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        seconds = fields.get(b"retry-after", "")
        self.status, self.location = response.status, fields.get(b"location")
        self.retry_after = float(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 7 else 0.0


def _pool(way: Guarded) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(
        ssl_context=authorities(),
        max_connections=CONNECTIONS,
        max_keepalive_connections=CONNECTIONS,
        keepalive_expiry=10.0,
        network_backend=way,
    )


def _said(failure: Exception) -> str:
    if isinstance(failure, Refused):
        return str(failure)
    if isinstance(failure, TimeoutError | httpcore.TimeoutException):
        return f"No answer within {SECONDS:g} seconds."
    if isinstance(failure, httpcore.ConnectError):
        _, wrong, why = str(failure).partition("certificate verify failed: ")
        if wrong:
            return f"Its certificate is not believed: {why.split(' (_')[0]}."
        return "It speaks no TLS." if "SSL" in str(failure) else "It could not be connected to."
    if isinstance(failure, httpcore.ProtocolError | httpcore.NetworkError):
        return "The connection broke before it had answered, or its answer was no HTTP."
    return f"It could not be sent ({type(failure).__name__})."
