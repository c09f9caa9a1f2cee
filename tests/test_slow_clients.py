"""Clients that take their time, or all the connections, over sockets. The slow ones are slow all at once."""

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from backend.peers import LOOK_SECONDS
from tests.served import Served, serving
from tests.test_request_heads import rest

pytestmark = pytest.mark.long
several_addresses = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no 127.0.0.2 before it is told to")

LIVE = b"GET /health/live HTTP/1.1\r\nHost: tend\r\n"
POST = b"POST /v1/auth/refresh HTTP/1.1\r\nHost: tend\r\nContent-Type: application/json\r\n"
PROXY = "127.0.0.4"
OF_ONE, OF_ALL = 10, 25
LONG = 8.0  # seconds: so late that nothing here should last until then


@pytest.fixture(scope="module")
def tend(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Served]:
    with serving(
        tmp_path_factory.mktemp("slow") / "data",
        DATABASE_URL=database_url,
        CLIENT_TIMEOUT_SECONDS="1",
        KEEP_ALIVE_SECONDS="2",
    ) as served:
        yield served


def connected(tend: Served, source: str = "127.0.0.1", window: int = 0) -> socket.socket:
    host, port = tend.url.removeprefix("http://").split(":")
    peer = socket.socket()
    peer.settimeout(LONG)
    if window:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    peer.bind((source, 0))
    peer.connect((host, int(port)))
    return peer


def dripped(tend: Served, begin: bytes, drop: bytes, pause: float, most: float = LONG) -> bytes:
    """What comes back while one drop after another is sent, until the server closes or `most` seconds are over."""
    ends = time.monotonic() + most
    with connected(tend) as peer:
        peer.sendall(begin)
        try:
            while time.monotonic() < ends:
                peer.settimeout(pause)
                try:
                    got = peer.recv(65536)
                except TimeoutError:
                    peer.sendall(drop)
                else:
                    peer.settimeout(LONG)
                    return got + rest(peer) if got else b""
        except ConnectionError:
            return b""
    return b"still open"


def unread(tend: Served) -> bytes:
    """Of many large answers, what is there after some seconds in which none was read."""
    with connected(tend, window=4096) as peer:
        peer.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: tend\r\n\r\n" * 100)
        time.sleep(4)
        return rest(peer)


SLOW: dict[str, Callable[[Served], bytes]] = {
    "head": lambda tend: dripped(tend, LIVE, b"A: x\r\n", 0.2),
    "body": lambda tend: dripped(tend, POST + b"Content-Length: 1000\r\n\r\n", b"x", 0.2),
    "chunks": lambda tend: dripped(tend, POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.2),
    "fast enough": lambda tend: dripped(tend, POST + b"Content-Length: 8000\r\n\r\n", b"x" * 500, 0.15),
    "nothing": lambda tend: dripped(tend, b"", b"", 1),
    "empty lines": lambda tend: dripped(tend, b"", b"\r\n", 0.2),
    "after an answer": lambda tend: dripped(tend, LIVE + b"\r\n", b"\r\n", 0.2),
    "unread": unread,
}


@pytest.fixture(scope="module")
def slow(tend: Served) -> dict[str, bytes]:
    with ThreadPoolExecutor(len(SLOW)) as pool:
        return dict(zip(SLOW, pool.map(lambda client: client(tend), SLOW.values()), strict=True))


@pytest.mark.parametrize("name", ["head", "body", "chunks"])
def test_a_request_that_does_not_come_in_time_is_408_and_the_connection_ends(slow: dict[str, bytes], name: str) -> None:
    head, _, body = slow[name].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close" in head
    assert json.loads(body)["status"] == 408


def test_a_body_that_comes_at_a_kilobyte_a_second_or_more_is_waited_for(slow: dict[str, bytes]) -> None:
    assert slow["fast enough"].startswith(b"HTTP/1.1 422 ")


@pytest.mark.parametrize("name", ["nothing", "empty lines"])
def test_a_connection_on_which_nothing_is_asked_is_closed_without_a_word(slow: dict[str, bytes], name: str) -> None:
    assert slow[name] == b""


def test_a_connection_is_closed_a_while_after_its_last_answer(slow: dict[str, bytes]) -> None:
    assert slow["after an answer"].count(b"HTTP/1.1 ") == 1


def test_an_answer_that_is_not_taken_is_given_up_and_is_no_error(tend: Served, slow: dict[str, bytes]) -> None:
    assert slow["unread"].count(b"HTTP/1.1 200 ") < 100
    tend.read(0.1)
    assert "Traceback" not in tend.printed


@pytest.fixture
def crowded(tmp_path: Path, database_url: str) -> Iterator[Served]:
    """One with few connections, which waits for each longer than a test takes."""
    with serving(
        tmp_path / "data",
        DATABASE_URL=database_url,
        TRUSTED_PROXIES=PROXY,
        MAX_CONNECTIONS=str(OF_ALL),
        MAX_CONNECTIONS_PER_ADDRESS=str(OF_ONE),
        CLIENT_TIMEOUT_SECONDS="120",
        KEEP_ALIVE_SECONDS="120",
    ) as served:
        yield served


def status(tend: Served, source: str) -> bytes:
    with connected(tend, source) as peer:
        peer.sendall(LIVE + b"Connection: close\r\n\r\n")
        return rest(peer)[9:12]


def hold(tend: Served, stack: ExitStack, source: str, count: int) -> None:
    """Connections whose requests have begun and do not end: the server says so of each before this returns."""
    for _ in range(count):
        peer = stack.enter_context(connected(tend, source))
        peer.sendall(POST + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n")
        assert peer.recv(65536).startswith(b"HTTP/1.1 100 ")


@several_addresses
def test_one_address_takes_its_share_and_no_more(crowded: Served) -> None:
    with ExitStack() as stack:
        hold(crowded, stack, "127.0.0.2", OF_ONE)

        assert status(crowded, "127.0.0.2") == b"503"
        assert status(crowded, "127.0.0.3") == b"200"
    deadline = time.monotonic() + LONG
    while (came := status(crowded, "127.0.0.2")) != b"200" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert came == b"200"


@several_addresses
def test_a_proxy_that_is_trusted_may_take_them_all(crowded: Served) -> None:
    with ExitStack() as stack:
        hold(crowded, stack, PROXY, OF_ALL - 1)

        assert status(crowded, PROXY) == b"200"


@several_addresses
def test_when_all_are_taken_the_one_that_was_idle_longest_makes_room_and_no_other(crowded: Served) -> None:
    with ExitStack() as stack:
        idle, younger = (stack.enter_context(connected(crowded, source)) for source in ("127.0.0.2", "127.0.0.6"))
        for peer in (younger, idle):
            peer.sendall(LIVE + b"\r\n")
            assert peer.recv(8, socket.MSG_PEEK) == b"HTTP/1.1"  # answered: idle from here on
        time.sleep(2.5 * LOOK_SECONDS)  # its clock goes in steps of that
        younger.sendall(LIVE + b"\r\n")
        hold(crowded, stack, PROXY, OF_ALL - 2)

        hold(crowded, stack, "127.0.0.3", 1)
        assert rest(idle).startswith(b"HTTP/1.1 200 ")  # its answer, and then the end
        hold(crowded, stack, "127.0.0.3", 1)
        assert rest(younger).count(b"HTTP/1.1 200 ") == 2
        assert status(crowded, "127.0.0.5") == b"503"  # all that are left are at work
