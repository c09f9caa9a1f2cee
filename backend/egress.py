"""Posts to addresses that users have named, and to no machine that is only reachable from here.

Every name is looked up once, what it leads to is looked at, and that very address is connected to: a name cannot lead
elsewhere in between. So it is for each redirect.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx
from anyio import CapacityLimiter, to_thread

from backend.rules.addresses import is_reachable

SECONDS: Final = 15.0  # for all of it: look-up, connection, redirects, answer
REDIRECTS: Final = 3
MOST_READ: Final = 64 * 1024  # bytes of an answer: past it the connection is not kept
CONNECTIONS: Final = 100
LOOK_UPS: Final = 8  # at once, each a thread, which no slow name server can make others wait for


@cache
def authorities() -> ssl.SSLContext:
    """Whose certificates are trusted; SSL_CERT_FILE names others. To read them takes a tenth of a second."""
    return httpx.create_ssl_context()


class Outcome(NamedTuple):
    """`status` is that of the last answer, None without one; `error` is for a person."""

    status: int | None
    error: str | None
    seconds: float

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Refused(Exception):
    """It is not sent there."""


class Egress:
    """One an event loop. `networks` are those that may be reached besides the internet, in CIDR."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=authorities(),
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=10.0,
            network_backend=_Guarded(tuple(networks)),
        )

    async def post(self, url: str, headers: Mapping[str, str], body: str) -> Outcome:
        """What became of it: never raises. Redirects that keep the method (307, 308) are followed."""
        began = time.monotonic()
        status, error = None, None
        try:
            async with asyncio.timeout(SECONDS):
                status, error = await self._followed(url, headers, body.encode())
        except Exception as failure:
            error = _said(failure)
        return Outcome(status, error, time.monotonic() - began)

    async def _followed(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
        for _ in range(REDIRECTS + 1):
            status, location = await self._sent(url, headers, body)
            if 200 <= status < 300:
                return status, None
            if not 300 <= status < 400:
                return status, f"It answered with {status}."
            if status not in {307, 308} or not location:
                return status, f"It answered with {status}, a redirect that is not followed: set the URL anew."
            following = urljoin(url, location)
            if urlsplit(url).scheme == "https" and urlsplit(following).scheme != "https":
                return status, f"It answered with {status}, which leads away from https."
            url = following
        return status, f"It was redirected more than {REDIRECTS} times."

    async def _sent(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with self._pool.stream("POST", url, headers=given, content=body) as response:
            location = {name.lower(): value for name, value in response.headers}.get(b"location")
            with suppress(httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, TimeoutError):
                await _read_away(response)  # it is taken, whatever else it says
            return response.status, location.decode("latin-1") if location else None

    async def close(self) -> None:
        await self._pool.aclose()


async def _read_away(response: httpcore.Response) -> None:
    read = 0
    async with asyncio.timeout(SECONDS / 3):
        async for piece in response.aiter_stream():
            read += len(piece)
            if read > MOST_READ:
                return


class _Guarded(httpcore.AsyncNetworkBackend):
    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = networks
        self._inner = httpcore.AnyIOBackend()
        self._look_ups = CapacityLimiter(LOOK_UPS)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - of httpcore's interface
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = Refused("It leads to an address that is not public, or one that is not allowed.")
        for address in await self._addresses(host, port):
            if is_reachable(address, self._networks):
                try:
                    return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
                except httpcore.ConnectError as error:
                    failure = error
        raise failure

    async def _addresses(self, host: str, port: int) -> list[str]:
        def look_up() -> list[str]:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(each[4][0]) for each in found))

        try:
            return await to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=self._look_ups)
        except OSError:
            raise Refused("Nobody knows its name (DNS).") from None
        except UnicodeError:
            raise Refused("Its name is not one of a host.") from None

    async def connect_unix_socket(self, *_arguments: Any, **_named: Any) -> httpcore.AsyncNetworkStream:
        raise Refused("Not a web address.")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _said(failure: Exception) -> str:
    if isinstance(failure, Refused):
        return str(failure)
    if isinstance(failure, TimeoutError | httpcore.TimeoutException):
        return f"No answer within {SECONDS:g} seconds."
    if isinstance(failure, httpcore.ConnectError):
        _, wrong, why = str(failure).partition("certificate verify failed: ")
        return f"Its certificate is not believed: {why.split(' (_')[0]}." if wrong else "It could not be connected to."
    if isinstance(failure, httpcore.ProtocolError | httpcore.NetworkError):
        return "The connection broke before it had answered, or its answer was no HTTP."
    return f"It could not be sent ({type(failure).__name__})."
