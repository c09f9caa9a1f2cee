"""The Python client, against the application."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from backend.state import State
from tend_client import (
    AsyncTend,
    Conflict,
    Invalid,
    NotFound,
    NotSignedIn,
    PreconditionFailed,
    Tend,
    Tokens,
    Unavailable,
    Unreachable,
)
from tests.client import Client

PASSWORD = "correct horse battery"


class Wire(httpx.AsyncBaseTransport):
    """The application, and what becomes of each call: an answer that is lost, or one in its place."""

    def __init__(self, app: FastAPI) -> None:
        self.inner = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.requests: list[httpx.Request] = []
        self.trouble: Iterator[Any] = iter(())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        trouble = next(self.trouble, None)
        if trouble == "unsent":
            raise httpx.ConnectError("nobody there")
        if isinstance(trouble, httpx.Response):
            return trouble
        response = await self.inner.handle_async_request(request)
        if trouble == "unheard":
            raise httpx.ReadError("cut off")
        return response


@pytest.fixture
def wire(app: FastAPI, state: State) -> Wire:
    return Wire(app)


@pytest.fixture
async def tend(wire: Wire, alice: Client) -> AsyncIterator[AsyncTend]:
    async with AsyncTend("http://tend", Tokens(alice.token), transport=wire) as tend:
        yield tend


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits are told, and not waited for."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("tend_client._async.client.async_sleep", note)
    return waits


async def test_an_account_is_opened_signed_in_and_left(wire: Wire) -> None:
    kept: list[Tokens | None] = []
    async with AsyncTend("http://tend", on_tokens=kept.append, transport=wire) as tend:
        account = await tend.register("ada@example.com", PASSWORD, "Ada")
        with pytest.raises(Conflict):
            await tend.register("ada@example.com", PASSWORD, "Ada")
        with pytest.raises(NotSignedIn):
            await tend.sign_in("ada@example.com", "another password")
        wire.trouble = iter(["unsent"])
        with pytest.raises(Unreachable):
            await tend.sign_in("ada@example.com", PASSWORD)
        await tend.sign_in("ada@example.com", PASSWORD)
        assert await tend.me() == account
        await tend.sign_out()
        with pytest.raises(NotSignedIn):
            await tend.me()
    assert [each is None for each in kept] == [False, True]


async def test_an_access_token_that_has_expired_is_renewed_once_for_all(wire: Wire, state: State) -> None:
    kept: list[Tokens | None] = []
    async with AsyncTend("http://tend", on_tokens=kept.append, transport=wire) as tend:
        await tend.register("ada@example.com", PASSWORD, "Ada")
        await tend.sign_in("ada@example.com", PASSWORD)
    assert kept[0] is not None
    async with AsyncTend(
        "http://tend", Tokens("stale", kept[0].refresh), on_tokens=kept.append, transport=wire
    ) as tend:
        await tend.tasks.create(title="Figs")
        assert (await tend.me())["name"] == "Ada"
    refreshes = [each for each in wire.requests if each.url.path == "/v1/auth/refresh"]
    assert (len(kept), len(refreshes)) == (2, 1)
    assert refreshes[0].extensions["timeout"]["read"] == 4  # the same pair comes again for ten seconds
    async with AsyncTend("http://tend", Tokens("stale", "stale"), on_tokens=kept.append, transport=wire) as tend:
        with pytest.raises(NotSignedIn):
            await tend.me()
    assert kept[-1] is None


async def test_things_are_made_read_changed_listed_and_deleted(tend: AsyncTend) -> None:
    task = await tend.tasks.create(title="Figs", tags=["home"])
    assert await tend.tasks.get(task["id"]) == task
    changed = await tend.tasks.update(task["id"], version=task["version"], title="Water the figs", due_date=None)
    assert changed["title"] == "Water the figs"
    with pytest.raises(PreconditionFailed):
        await tend.tasks.update(task["id"], version=task["version"], title="x")
    comment = await tend.comments(task["id"]).create(body="New leaves")
    assert (await tend.comments(task["id"]).page())["items"] == [comment]
    await tend.projects.create(name="Balcony")
    assert [project["name"] async for project in tend.projects.iterate()] == ["Balcony"]
    assert (await tend.tasks.page(status="pending", overdue=False, tags=["home"]))["total"] == 1
    await tend.tasks.delete(task["id"])
    with pytest.raises(NotFound):
        await tend.tasks.get(task["id"])
    with pytest.raises(Invalid) as refused:
        await tend.tasks.create(title="")
    assert refused.value.errors[0]["loc"] == ["body", "title"]


async def test_a_list_is_walked_to_its_end(tend: AsyncTend, alice: Client) -> None:
    await alice.add_many([{"title": f"Task {n}"} for n in range(25)])

    titles = [task["title"] async for task in tend.tasks.iterate(limit=10, sort="title")]

    assert sorted(titles) == sorted(f"Task {n}" for n in range(25))


@pytest.mark.parametrize("trouble", ["unsent", "unheard"])
async def test_what_was_lost_on_the_way_is_sent_again_and_done_once(
    tend: AsyncTend, wire: Wire, alice: Client, trouble: str, at_once: list[float]
) -> None:
    wire.trouble = iter([trouble, trouble])
    task = await tend.tasks.create(title="Figs")
    wire.trouble = iter([trouble])
    changed = await tend.tasks.update(task["id"], title="Water the figs")
    wire.trouble = iter([trouble])
    await tend.tasks.delete(task["id"])

    assert len(at_once) == 4
    assert changed["version"] == task["version"] + 1
    assert (await alice.page())["total"] == 0
    assert (await alice.get("/v1/activity")).json()["items"][0]["kind"] == "deleted"
    assert len((await alice.get("/v1/activity")).json()["items"]) == 3


async def test_a_busy_server_is_given_the_time_it_asks_for(tend: AsyncTend, wire: Wire, at_once: list[float]) -> None:
    busy = httpx.Response(503, headers={"Retry-After": "7"}, json={"title": "Service Unavailable", "status": 503})
    wire.trouble = iter([busy])
    await tend.me()
    assert at_once == [7.0]
    wire.trouble = iter([busy] * 5)
    with pytest.raises(Unavailable):
        await tend.me()
    wire.trouble = iter([httpx.Response(503, headers={"Retry-After": "3600"})])
    with pytest.raises(Unavailable):
        await tend.me()
    wire.trouble = iter(["unsent"] * 5)
    with pytest.raises(Unreachable):
        await tend.me()


def test_the_blocking_half_walks_a_list_too() -> None:
    answers = iter(
        [
            httpx.Response(200, json={"items": [{"id": "1"}], "next_cursor": "x"}),
            httpx.Response(200, json={"items": [{"id": "2"}], "next_cursor": None}),
        ]
    )
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return next(answers)

    with Tend("http://tend", Tokens("x"), transport=httpx.MockTransport(answer)) as tend:
        assert [task["id"] for task in tend.tasks.iterate(status="pending")] == ["1", "2"]
    assert [each.url.query for each in asked] == [b"status=pending", b"status=pending&cursor=x"]
    assert asked[0].headers["authorization"] == "Bearer x"
