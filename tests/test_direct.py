"""The direct way answers as FastAPI's own: whatever is asked, and whatever is wrong with it."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from backend.direct import Direct
from backend.main import Tend
from tests.client import Client

JSON = {"Content-Type": "application/json"}
BODIES: list[tuple[bytes, dict[str, str]]] = [
    (b'{"title": "x"}', JSON),
    (b'{"title": "x"}', {"Content-Type": "application/json; charset=utf-8"}),
    (b'{"title": "x"}', {"Content-Type": "text/plain"}),
    (b'{"title": "x"}', {}),
    (b'{"title": ""}', JSON),
    (b'{"title": "x", "title": "y"}', JSON),
    (b'{"title": "x", "color": 1}', JSON),
    (b'{"title": NaN}', JSON),
    (b'{"title": "x"', JSON),
    (b"", JSON),
    (b"null", JSON),
    (b"[]", JSON),
    (b"\xff", JSON),
    (b"[" * 50_000, JSON),
    (b'{"title": "' + b"x" * 1_100_000 + b'"}', JSON),
    (json.dumps({"title": "x"}).encode("utf-16"), JSON),
]
QUERIES = ["", "limit=1", "limit=x", "nothing=1", "limit=1&limit=2", "page=2&limit=1", "search=", "%ff=1", "cursor=x"]


@pytest.fixture
def around(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Turns the direct way off."""
    assert isinstance(app, Tend)

    def off() -> None:
        monkeypatch.setattr(Direct, "_is_read", lambda *_: False)
        monkeypatch.setattr(Direct, "_is_write", lambda *_: False)

    return off


def said(answer: httpx.Response) -> Any:
    body = answer.json() if answer.content else None
    if isinstance(body, dict):
        for made_anew in ("id", "position", "version", "created_at", "updated_at"):
            body.pop(made_anew, None)
    kept = {name: answer.headers.get(name) for name in ("content-type", "link", "www-authenticate", "connection")}
    return answer.status_code, body, kept


@pytest.mark.parametrize("signed_in", [True, False])
async def test_a_listing_is_answered_the_same_both_ways(
    alice: Client, http: httpx.AsyncClient, around: Any, signed_in: bool
) -> None:
    await alice.add_many([{"title": f"Task {n}"} for n in range(3)])
    headers = {"Authorization": f"Bearer {alice.token}"} if signed_in else {}

    async def answers() -> list[Any]:
        return [
            said(await http.request(method, f"/v1/tasks?{query}", headers=headers, content=content))
            for query in QUERIES
            for method, content in (("GET", None), ("GET", b"{}"), ("HEAD", None), ("OPTIONS", None), ("PUT", None))
        ]

    directly = await answers()
    around()

    assert await answers() == directly


@pytest.mark.parametrize(("body", "headers"), BODIES, ids=[str(body[:24]) + str(len(heads)) for body, heads in BODIES])
async def test_a_creation_is_answered_the_same_both_ways(
    alice: Client, around: Any, body: bytes, headers: dict[str, str]
) -> None:
    directly = said(await alice.post("/v1/tasks", content=body, headers=headers))
    around()

    assert said(await alice.post("/v1/tasks", content=body, headers=headers)) == directly


async def test_a_creation_that_is_sent_twice_is_one_conflict_both_ways(alice: Client, around: Any) -> None:
    task = {"id": str(uuid4()), "title": "x"}
    assert (await alice.post("/v1/tasks", task)).status_code == 201
    directly = said(await alice.post("/v1/tasks", task))
    around()

    assert said(await alice.post("/v1/tasks", task)) == directly
    assert directly[0] == 409


async def test_what_comes_in_pieces_is_put_together(alice: Client) -> None:
    async def pieces() -> Any:
        for piece in (b'{"ti', b'tle": "Pie', b'ces"}'):
            yield piece

    for headers in (JSON, {**JSON, "Content-Length": "19"}):
        answer = await alice.post("/v1/tasks", content=pieces(), headers=headers)
        assert answer.status_code == 201, answer.text
        assert answer.json()["title"] == "Pieces"


async def test_what_is_added_as_middleware_lies_around_the_direct_way(app: FastAPI) -> None:
    seen = []

    class Around:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["path"])
            await self.inner(scope, receive, send)

    other = Tend()
    other.state.tend = app.state.tend
    other.add_middleware(Around)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(other), base_url="http://tend") as http:
        await http.get("/v1/tasks")

    assert seen == ["/v1/tasks"]
