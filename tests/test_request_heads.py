"""What is refused of a request before it is read, over a socket: heads without end, large bodies, no HTTP."""

import json
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any

import psutil
import pytest

from tests.served import Served, serving

LIMIT = 64 * 1024
LIVE = b"GET /health/live HTTP/1.1\r\nHost: tend\r\n"
POST = b"POST /v1/tasks HTTP/1.1\r\nHost: tend\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"Connection: close\r\n\r\n"


@pytest.fixture(scope="module")
def tend(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("heads") / "data", DATABASE_URL=database_url) as served:
        yield served


def connected(tend: Served) -> socket.socket:
    host, port = tend.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def answers(tend: Served, parts: Iterable[bytes], pause: float = 0) -> list[tuple[int, dict[str, str], Any]]:
    """To what is sent until the server closes; a server that has closed is sent no more."""
    got = b""
    with connected(tend) as peer:
        try:
            for part in parts:
                peer.sendall(part)
                time.sleep(pause)
            while data := peer.recv(65536):
                got += data
        except ConnectionError:
            got += rest(peer)
    return list(parsed(got))


def rest(peer: socket.socket) -> bytes:
    """What had come before the connection was reset."""
    got = b""
    try:
        while data := peer.recv(65536):
            got += data
    except ConnectionError:
        pass
    return got


def parsed(got: bytes) -> Iterator[tuple[int, dict[str, str], Any]]:
    while got:
        head, _, got = got.partition(b"\r\n\r\n")
        line, *fields = head.decode("ascii").split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        size = int(headers["content-length"])
        yield int(line.split()[1]), headers, json.loads(got[:size])
        got = got[size:]


def statuses(tend: Served, parts: Iterable[bytes], pause: float = 0) -> list[int]:
    return [status for status, *_ in answers(tend, parts, pause)]


def assert_refused(tend: Served, parts: Iterable[bytes], status: int) -> None:
    ((got, headers, problem),) = answers(tend, parts)
    assert got == problem["status"] == status
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


HEADS: dict[str, list[bytes]] = {
    "one field in one piece": [LIVE + b"A: " + b"x" * LIMIT + b"\r\n" + END],
    "one field without end": [LIVE + b"A: ", *[b"x" * 65536] * 200],
    "a name without end": [LIVE, *[b"x" * 65536] * 200],
    "many fields": [LIVE, *[b"A: x\r\n"] * 20_000],
    "an address without end": [b"GET /", *[b"x" * 65536] * 200],
    "many small pieces": [LIVE + b"A: ", *[b"x" * 100] * 1_000],
}


@pytest.mark.parametrize("parts", HEADS.values(), ids=HEADS)
def test_a_head_over_64_kib_is_431_and_the_connection_ends(tend: Served, parts: list[bytes]) -> None:
    assert_refused(tend, parts, 431)


def test_a_head_of_nearly_64_kib_is_read_and_each_request_counts_from_zero(tend: Served) -> None:
    filler = b"A: " + b"x" * (LIMIT - 200) + b"\r\n"

    assert statuses(tend, [LIVE + filler + END]) == [200]
    assert statuses(tend, [LIVE + filler + b"\r\n"] * 3 + [LIVE + END], pause=0.1) == [200] * 4


def test_a_body_does_not_count_as_head(tend: Served) -> None:
    body = b"x" * 500_000
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [b"x" * 10] * 20_000)

    assert statuses(tend, [POST + b"Content-Length: 500000\r\n\r\n", body, LIVE + END]) == [401, 200]
    assert statuses(tend, [CHUNKED, pieces, b"0\r\n\r\n", LIVE + END]) == [422, 200]


def test_requests_sent_at_once_are_answered_in_their_order(tend: Served) -> None:
    nothing = b"GET /nothing HTTP/1.1\r\nHost: tend\r\n\r\n"

    assert statuses(tend, [LIVE + b"\r\n" + nothing + LIVE + b"\r\n" + nothing + LIVE + END]) == [
        *(200, 404, 200, 404, 200)
    ]


def test_a_request_sent_byte_by_byte_is_answered(tend: Served) -> None:
    assert statuses(tend, (bytes([byte]) for byte in LIVE + END), pause=0.001) == [200]


def test_a_head_that_is_refused_leaves_nothing_in_memory(tend: Served) -> None:
    process = psutil.Process(tend.process.pid)
    before = process.memory_info().rss
    kept = [connected(tend) for _ in range(20)]  # clients that do not close

    for peer in kept:
        try:
            peer.sendall(LIVE + b"A: ")
            for _ in range(80):
                peer.sendall(b"x" * 65536)  # 5 MiB each
        except ConnectionError:
            continue

    assert statuses(tend, [LIVE + END]) == [200]
    assert process.memory_info().rss - before < 32 * 1024 * 1024
    for peer in kept:
        peer.close()


@pytest.mark.parametrize(
    "sent", [b"garbage\r\n\r\n", b"\0\1\2\3", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"G" * 200_000]
)
def test_what_is_no_http_is_400_in_the_shape_of_all_errors(tend: Served, sent: bytes) -> None:
    assert_refused(tend, [sent], 400)


def test_an_answered_connection_still_hears_what_is_wrong_with_the_next_request(tend: Served) -> None:
    assert statuses(tend, [LIVE + b"\r\n", b"garbage\r\n\r\n"], pause=0.3) == [200, 400]


@pytest.mark.parametrize(
    "parts",
    [
        [LIVE + b"\r\n" + b"garbage\r\n\r\n"],
        [CHUNKED + b"5\r\nhello\r\n0\r\n", *[b"A: x\r\n"] * 20_000],
        [CHUNKED + b"5\r\nhello\r\n0\r\nA: ", *[b"x" * 65536] * 20],
        [CHUNKED + b"5;", *[b"x" * 65536] * 20],
    ],
    ids=["a request after one under way", "many trailers", "a trailer without end", "a chunk's extension without end"],
)
def test_a_refusal_that_would_be_taken_for_another_answer_is_silent(tend: Served, parts: list[bytes]) -> None:
    assert answers(tend, parts) == []


@pytest.mark.parametrize("path", [b"/v1/tasks", b"/v1/nothing", b"/v1/auth/register"])
@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_a_body_over_its_limit_is_refused_by_its_length_alone(tend: Served, path: bytes, expect: bytes) -> None:
    head = POST.replace(b"/v1/tasks", path) + expect + b"Content-Length: 2000000\r\n\r\n"

    assert_refused(tend, [head], 413)


def test_a_body_in_chunks_is_cut_off_at_the_limit(tend: Served) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield CHUNKED
        for _ in range(2_000):
            sent += 65536
            yield b"10000\r\n" + b"x" * 65536 + b"\r\n"

    assert_refused(tend, endless(), 413)
    assert sent < 30_000_000  # the limit, and what the system's buffers take


def test_a_peer_on_this_machine_is_not_believed_without_being_named(tend: Served) -> None:
    """uvicorn by itself believes 127.0.0.1."""
    ((status, headers, _),) = answers(tend, [LIVE + b"X-Forwarded-Proto: https\r\n" + END])

    assert status == 200
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize("fields", [b"", b"Host: a\r\nHost: b\r\n"], ids=["none", "two"])
def test_a_request_names_one_host(tend: Served, fields: bytes) -> None:
    """RFC 9112, section 3.2."""
    assert_refused(tend, [b"GET /health/live HTTP/1.1\r\n" + fields + END], 400)
    assert statuses(tend, [b"GET /health/live HTTP/1.0\r\n\r\n"]) == [200]


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip", b"identity", b"xchunked"])
def test_a_transfer_coding_that_is_not_known_is_501(tend: Served, coding: bytes) -> None:
    """RFC 9112, section 6.1: what it would be taken for is where requests are smuggled."""
    assert_refused(tend, [POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n" + LIVE + END], 501)


@pytest.mark.parametrize(
    "fields",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: +4\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_a_body_whose_end_could_be_read_in_two_ways_is_refused(tend: Served, fields: bytes) -> None:
    assert_refused(tend, [POST + fields + b"\r\n0\r\n\r\n" + LIVE + END], 400)


def test_an_upgrade_is_not_made_and_the_connection_ends_with_the_answer(tend: Served) -> None:
    """The parser would read nothing more, and whoever asked again on it would wait."""
    for asked in (b"h2c", b"websocket"):
        ((status, headers, _),) = answers(tend, [LIVE + b"Connection: Upgrade\r\nUpgrade: " + asked + b"\r\n\r\n"])
        assert (status, headers["connection"]) == (200, "close")


def test_a_body_in_very_many_very_small_chunks_is_given_up(tend: Served) -> None:
    """A million of one byte took seven seconds of the worker."""
    sent = 0

    def crumbs() -> Iterator[bytes]:
        nonlocal sent
        yield CHUNKED.replace(b"/v1/tasks", b"/v1/auth/refresh")
        for _ in range(100):
            sent += 10_000
            yield b"1\r\nx\r\n" * 10_000

    assert answers(tend, crumbs(), pause=0.01) == []
    assert sent < 500_000


def test_a_body_that_nobody_reads_ends_somewhere(tend: Served) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield CHUNKED.replace(b"/v1/tasks", b"/v1/nothing")
        for _ in range(2_000):
            sent += 65536
            yield b"10000\r\n" + b"x" * 65536 + b"\r\n"

    assert statuses(tend, endless()) == [404]
    assert sent < 50_000_000
