"""What a body may hold, before it is parsed."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn
from uvicorn.server import ServerState

from backend import bodies
from backend.peers import Limits
from backend.protocol import Protocol
from tests.client import Client
from tests.test_input import JSON, assert_problem

TASK = b'{"title": "x"}'


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/filters", "/v1/auth/token"])
@pytest.mark.parametrize("coding", ["gzip", "br", "x"])
async def test_a_body_in_a_content_coding_is_415_and_never_unpacked(alice: Client, path: str, coding: str) -> None:
    for body in (TASK, gzip.compress(b"0" * 1_000_000)):
        answer = await alice.post(path, content=body, headers={**JSON, "Content-Encoding": coding})
        assert "Content-Encoding" in assert_problem(answer, 415)["detail"]
    assert await alice.titles() == []


async def test_identity_is_no_coding(alice: Client) -> None:
    answer = await alice.post("/v1/tasks", content=TASK, headers={**JSON, "Content-Encoding": "identity"})

    assert answer.status_code == 201


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
async def test_json_is_utf_8(alice: Client, charset: str) -> None:
    """RFC 8259, section 8.1; Python would read the others too."""
    assert_problem(await alice.post("/v1/tasks", content=TASK.decode().encode(charset), headers=JSON), 422)


FULL: dict[str, bytes] = {
    "lists": b"[" + b"[]," * 300_000 + b"[]]",
    "objects": b'{"tasks": [' + b"{}," * 300_000 + b"{}]}",
    "strings": b'{"ids": [' + b'"",' * 300_000 + b'""]}',
    "members": b"{" + b'"title":"x",' * 80_000 + b'"title":"x"}',
    "a string without end, then nothing but quotes": b'["' + b'\\"' * 400_000,
}


@pytest.mark.parametrize("body", FULL.values(), ids=FULL)
def test_more_parts_than_any_request_needs_are_too_many(body: bytes) -> None:
    assert bodies.holds_too_much(body) == (b'\\"' not in body)


def test_what_stands_in_strings_is_no_part() -> None:
    text = json.dumps(["[{,}]" * 100_000, '\\"[,' * 100_000, "\\"])

    assert not bodies.holds_too_much(text.encode())


async def test_the_largest_batch_that_can_be_meant_is_none_too_much(alice: Client) -> None:
    tags = [f"tag {n}" for n in range(20)]
    task = {"title": "[{,}]", "description": '[{"', "tags": tags, "priority": "low", "due_date": None}

    answer = await alice.post("/v1/tasks/batch", {"tasks": [{**task, "completed": False}] * 1_000})

    assert answer.status_code == 201


@pytest.mark.parametrize("query", ["", "?"])
async def test_too_many_parts_are_422_even_if_they_come_to_a_task(alice: Client, query: str) -> None:
    assert_problem(await alice.post(f"/v1/tasks{query}", content=FULL["members"], headers=JSON), 422)
    assert await alice.titles() == []


async def test_a_large_body_is_not_read_for_who_is_not_signed_in(http: httpx.AsyncClient) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 65_536

    for method, path in (("POST", "/v1/tasks/batch"), ("PATCH", "/v1/tasks/batch"), ("POST", "/v1/tasks/batch/delete")):
        assert_problem(await http.request(method, path, content=endless(), headers=JSON), 401)
    assert read == 0


async def half_sent(client: Client) -> tuple[asyncio.Task[Any], asyncio.Event]:
    """A request of 150 KB whose end comes when the event is set."""
    halfway, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b" " * 150_000
        halfway.set()
        await go_on.wait()
        yield TASK

    request: asyncio.Task[Any] = asyncio.create_task(client.post("/v1/tasks", content=slow(), headers=JSON))
    await halfway.wait()
    return request, go_on


async def test_when_much_is_being_sent_a_large_body_is_503_and_a_small_one_taken(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "HELD_BYTES", 200_000)
    first, go_on = await half_sent(alice)
    large = b" " * 150_000 + TASK

    for path in ("/v1/tasks", "/v1/tasks/batch", "/v1/auth/register"):
        answer = await alice.post(path, content=large, headers=JSON)
        assert_problem(answer, 503)
        assert answer.headers["Retry-After"]
    assert (await alice.post("/v1/tasks", content=TASK, headers=JSON)).status_code == 201
    go_on.set()
    assert (await first).status_code == 201
    assert (await alice.post("/v1/tasks", content=large, headers=JSON)).status_code == 201


async def test_one_address_has_a_part_of_what_may_be_sent_at_once(
    http: httpx.AsyncClient, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "HELD_BYTES_OF_ONE", 200_000)
    large = b" " * 150_000 + TASK
    app = http._transport.app  # type: ignore[attr-defined]
    first, go_on = await half_sent(alice)

    assert_problem(await alice.post("/v1/tasks", content=large, headers=JSON), 503)
    elsewhere = httpx.ASGITransport(app, client=("203.0.113.7", 1))
    async with httpx.AsyncClient(transport=elsewhere, base_url="http://tend") as other:
        theirs = {**JSON, "Authorization": f"Bearer {bob.token}"}
        assert (await other.post("/v1/tasks", content=large, headers=theirs)).status_code == 201
    go_on.set()
    assert (await first).status_code == 201
    assert (await alice.post("/v1/tasks", content=large, headers=JSON)).status_code == 201


class Silent(asyncio.Transport):
    """A connection whose other end takes all that is written."""

    closed = False

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def pause_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


async def test_a_body_whose_pace_is_counted_anew_is_not_taken_for_one_of_nothing() -> None:
    """While the application does not read, nobody is to hurry; what has come still has."""

    async def busy(_scope: object, _receive: object, _send: object) -> None:
        await asyncio.sleep(60)

    configured = uvicorn.Config(busy, lifespan="off")
    configured.load()
    protocol = Protocol(configured, ServerState(), {}, asyncio.get_running_loop())
    wire = Silent()
    protocol.connection_made(wire)
    protocol.data_received(b"POST /v1/tasks HTTP/1.1\r\nHost: tend\r\nTransfer-Encoding: chunked\r\n\r\n")

    for _ in range(3):
        protocol.data_received(b"a\r\nxxxxxxxxxx\r\n" * 7_000)
        assert protocol.flow.read_paused
        protocol.peer.look(protocol.peers.now, Limits())

    assert not wire.closed
    for task in protocol.tasks:
        task.cancel()
