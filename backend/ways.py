"""Connections to the internet alone: a name is looked up, what it leads to is looked at, and that is connected to."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final

import httpcore

from backend.rules.addresses import is_reachable

LOOK_UP_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 4.0  # for each address of a name
LOOK_UPS: Final = 200  # at once, each a thread: those that a name server leaves without an answer too
MOST_READ: Final = 128 * 1024  # bytes of an answer, its head and whatever comes before that included


class Refused(Exception):
    """It is not sent there."""


class Guarded(httpcore.AsyncNetworkBackend):
    """`networks` may be reached besides the internet, or alone."""

    def __init__(self, networks: tuple[str, ...], *, internet: bool = True) -> None:
        self._networks = networks
        self._internet = internet
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - of httpcore's interface
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = Refused("It leads to an address that is not public, or one that is not allowed.")
        for address in await _addresses(host, port):
            if not is_reachable(address, self._networks, internet=self._internet):
                if is_reachable(address):
                    failure = Refused("It is not https, which is needed on the internet.")
                continue
            try:
                return _Bounded(await self._inner.connect_tcp(address, port, CONNECT_SECONDS, local_address))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                failure = httpcore.ConnectError("none of its addresses answers")
        raise failure

    async def connect_unix_socket(self, *_arguments: Any, **_named: Any) -> httpcore.AsyncNetworkStream:
        raise Refused("Not a web address.")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Bounded(httpcore.AsyncNetworkStream):
    """An answer that has no end is cut off."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._read = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        data = await self._stream.read(max_bytes, timeout)
        self._read += len(data)
        if self._read > MOST_READ:
            raise httpcore.ReadError(f"more than {MOST_READ:,} bytes")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._read = 0
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return _Bounded(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


_looking_up = threading.BoundedSemaphore(LOOK_UPS)


async def _addresses(host: str, port: int) -> list[str]:
    """In a thread that nothing waits for at the end, unlike those of the loop: a name server may take minutes."""

    def look_up() -> list[str]:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(each[4][0]) for each in found))

    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            return await _in_thread(look_up)
    except TimeoutError:
        raise Refused(f"Its name was not found within {LOOK_UP_SECONDS:g} seconds (DNS).") from None
    except OSError:
        raise Refused("Nobody knows its name (DNS).") from None
    except UnicodeError:
        raise Refused("Its name is not one of a host.") from None


async def _in_thread(work: Callable[[], list[str]]) -> list[str]:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[str]] = loop.create_future()

    def tell(result: list[str] | None, error: Exception | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(result or [])

    def run() -> None:
        try:
            told: tuple[list[str] | None, Exception | None] = (work(), None)
        except Exception as error:
            told = None, error
        finally:
            _looking_up.release()
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, *told)

    if not _looking_up.acquire(blocking=False):
        raise Refused("Too many names are being looked up (DNS).")
    try:
        threading.Thread(target=run, daemon=True, name="look-up").start()
    except RuntimeError:  # the system has no more of them
        _looking_up.release()
        raise Refused("Too many names are being looked up (DNS).") from None
    return await done
