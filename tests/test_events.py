"""`GET /v1/events`: who is connected hears that something has changed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from backend.config import Settings
from backend.errors import Unavailable
from backend.protocol import Stopping
from backend.routers import events
from backend.scope import Scope
from backend.services import live
from backend.services.live import Live
from backend.state import State
from tend_client import AsyncOffline, AsyncTend, NotSignedIn, Store, Tokens, Unreachable
from tests.client import Client, Statements, another_session
from tests.conftest import worker
from tests.over_tcp import listening
from tests.test_input import assert_problem
from tests.wire import wire_to

SOON = 5.0  # seconds for what takes one or two: the machine is busy


@pytest.fixture
async def address(app: FastAPI, state: State) -> AsyncIterator[str]:
    async with listening(app) as address:
        yield address


class Ear:
    """What came over one stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.lines = response.aiter_lines()

    async def event(self) -> dict[str, str]:
        """The next one, comments left out; nothing when the stream ended."""
        async with asyncio.timeout(SOON):
            found: dict[str, str] = {}
            async for line in self.lines:
                name, _, value = line.partition(": ")
                if name and value and line[0] != ":" and name != "retry":
                    found[name] = value
                if not line and found:
                    return found
            return {}

    async def is_silent(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                async for line in self.lines:
                    if line and line[0] not in ":r":
                        return False
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def ear(address: str, user: Client, **headers: str) -> AsyncIterator[Ear]:
    sent = {"Authorization": f"Bearer {user.token}", **{name.replace("_", "-"): v for name, v in headers.items()}}
    async with (
        httpx.AsyncClient(base_url=address, timeout=SOON) as http,
        http.stream("GET", "/v1/events", headers=sent) as response,
    ):
        yield Ear(response)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_the_first_event_says_how_far_it_has_come_and_the_next_that_something_changed(
    address: str, alice: Client, state: State
) -> None:
    figs = await alice.add("Figs")
    async with ear(address, alice) as heard:
        assert heard.response.headers["content-type"].startswith("text/event-stream")
        first = await heard.event()
        assert (first["event"], first["data"]) == ("change", f'{{"change":{figs["version"]}}}')
        soil = await alice.add("Soil")
        second = await heard.event()
    assert second["data"] == f'{{"change":{soil["version"]}}}'
    await until(lambda: state.listening.total() == 0)


async def test_what_another_worker_or_a_command_changed_is_heard_within_two_seconds(
    address: str, alice: Client, settings: Settings, state: State
) -> None:
    async with worker(settings) as (_, http), ear(address, alice) as heard:
        await heard.event()
        elsewhere = Client(http, alice.user_id, alice.token, alice.email)
        began = time.monotonic()
        await elsewhere.add("From elsewhere")
        await heard.event()
        took = time.monotonic() - began
        async with state.database.engine.connect() as connection:
            await connection.execute(text("UPDATE sync_state SET seq = seq + 1"))
        assert (await heard.event())["data"] == '{"change":2}'
    assert live.LOOK_SECONDS <= 1  # what makes it two, with the time of a look
    assert took < SOON


async def test_another_user_s_changes_are_not_heard(address: str, alice: Client, bob: Client) -> None:
    async with ear(address, alice) as heard:
        await heard.event()
        await bob.add("Bob's")
        assert await heard.is_silent(1.5)


async def test_who_comes_back_hears_at_once_of_what_was_missed_and_only_then(address: str, alice: Client) -> None:
    async with ear(address, alice) as heard:
        last = (await heard.event())["id"]
    async with ear(address, alice, Last_Event_ID=last) as heard:
        assert await heard.is_silent(1.2)
    await alice.add("Figs")
    async with ear(address, alice, Last_Event_ID=last) as heard:
        assert (await heard.event())["data"] == '{"change":1}'


async def test_after_a_restore_the_same_number_is_news(address: str, alice: Client, state: State) -> None:
    async with ear(address, alice) as heard:
        before = await heard.event()
        async with state.database.engine.connect() as connection:
            await connection.execute(text("UPDATE sync_state SET epoch = gen_random_uuid()"))
        after = await heard.event()
    assert before["data"] == after["data"]
    assert before["id"] != after["id"]


async def test_one_statement_looks_for_all_who_listen_and_none_where_nobody_does(
    app: FastAPI, alice: Client, bob: Client, state: State, statements: Statements
) -> None:
    found: Live = app.state.live
    listeners = [await found.join(Scope(user.user_id, state.database)) for user in (alice, bob, alice)]
    statements.clear()
    await found.look()
    assert len(statements) == 1
    for each in listeners:
        found.leave(each)
    statements.clear()
    await asyncio.sleep(live.LOOK_SECONDS * 1.5)
    assert len(statements) == 0


async def test_it_ends_with_the_sign_in(address: str, alice: Client, state: State) -> None:
    other = await another_session(alice.http, state, alice.user_id, alice.email)
    async with ear(address, alice) as ends, ear(address, other) as stays:
        await ends.event()
        await stays.event()
        await alice.post("/v1/auth/logout")
        assert await ends.event() == {}
        assert await stays.is_silent(1.2)
        async with state.database.engine.connect() as connection:
            await connection.execute(text("UPDATE users SET disabled_at = now()"))
        assert await stays.event() == {}


async def test_it_ends_when_a_token_is_revoked_and_when_the_account_is_gone(
    address: str, alice: Client, state: State
) -> None:
    made = (await alice.post("/v1/me/tokens", {"name": "x", "scopes": ["tasks:read"]})).json()
    program = Client(alice.http, alice.user_id, made["token"], alice.email)
    async with ear(address, program) as ends, ear(address, alice) as stays:
        await ends.event()
        await stays.event()
        await alice.delete(f"/v1/me/tokens/{made['id']}")
        assert await ends.event() == {}
        async with state.database.engine.connect() as connection:
            await connection.execute(text("DELETE FROM users"))
        assert await stays.event() == {}


async def test_ten_of_one_user_and_room_again_when_one_has_left(app: FastAPI, address: str, alice: Client) -> None:
    found: Live = app.state.live
    mine = Scope(alice.user_id, app.state.tend.database)
    listeners = [await found.join(mine) for _ in range(live.MOST_OF_ONE)]

    async with httpx.AsyncClient(base_url=address) as http:
        answer = await http.get("/v1/events", headers={"Authorization": f"Bearer {alice.token}"})
    assert_problem(answer, 429)
    assert answer.headers["retry-after"] == "60"
    found.leave(listeners.pop())
    async with ear(address, alice) as heard:
        assert await heard.event()
    for each in listeners:
        found.leave(each)
    await until(lambda: app.state.tend.listening.total() == 0)


async def test_silence_is_broken_by_a_heartbeat(address: str, alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.1)
    async with ear(address, alice) as heard:
        await heard.event()
        async with asyncio.timeout(SOON):
            beats = []
            async for line in heard.lines:
                if line.startswith(":"):
                    beats.append(line)
                if len(beats) == 3:
                    break
    assert len(beats) == 3


async def test_a_server_that_stops_ends_it_at_once(app: FastAPI, alice: Client, state: State) -> None:
    async with ear_on_own(app, alice) as (heard, stop):
        await heard.event()
        began = time.monotonic()
        stopping = asyncio.create_task(stop())
        assert await heard.event() == {}
        await stopping
        assert time.monotonic() - began < 4  # not when uvicorn loses its patience


@asynccontextmanager
async def ear_on_own(app: FastAPI, user: Client) -> AsyncIterator[tuple[Ear, Any]]:
    served = listening(app)
    address = await served.__aenter__()

    async def stop() -> None:
        await served.__aexit__(None, None, None)

    async with ear(address, user) as heard:
        yield heard, stop


async def test_nobody_listens_without_a_token(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as http:
        assert_problem(await http.get("/v1/events"), 401)


async def test_the_database_that_is_away_for_a_while_ends_nothing(
    app: FastAPI, alice: Client, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: Live = app.state.live
    listener = await found.join(Scope(alice.user_id, state.database, session_id=await session_of(alice)))
    monkeypatch.setattr(found, "look", broken := Broken(found.look))
    await until(lambda: broken.failed == 2)
    assert not listener.over
    await alice.add("Figs")
    broken.works = True
    await until(lambda: listener.news.seq == 1)
    found.leave(listener)


class Broken:
    def __init__(self, look: Any) -> None:
        self.look, self.failed, self.works = look, 0, False

    async def __call__(self) -> None:
        if self.works:
            await self.look()
            return
        self.failed += 1
        raise RuntimeError("x") if self.failed == 1 else Unavailable("The database cannot be reached.")


async def session_of(user: Client) -> Any:
    return UUID((await user.get("/v1/me/sessions")).json()["items"][0]["id"])


async def test_those_who_are_about_to_listen_are_counted(app: FastAPI, alice: Client) -> None:
    found: Live = app.state.live
    mine = Scope(alice.user_id, app.state.tend.database)
    first = await found.join(mine)
    joining = [asyncio.create_task(found.join(mine)) for _ in range(live.MOST_OF_ONE - 1)]
    await asyncio.sleep(0)
    found.leave(first)
    listeners = await asyncio.gather(*joining)
    assert app.state.tend.listening[alice.user_id] == len(listeners)
    for each in listeners:
        found.leave(each)
    assert app.state.tend.listening.total() == 0


def test_what_begins_while_the_worker_stops_ends_at_once() -> None:
    ended: list[str] = []
    stopping = Stopping()
    stopping.append(early := lambda: ended.append("early"))
    stopping.stop()
    stopping.append(lambda: ended.append("late"))
    assert ended == ["early", "late"]
    stopping.remove(early)


async def test_the_client_follows_and_comes_back_when_it_was_cut_off(app: FastAPI, state: State, alice: Client) -> None:
    async with (
        listening(app) as address,
        wire_to(address) as wire,
        AsyncTend(wire.url, Tokens(alice.token)) as tend,
    ):
        device = AsyncOffline(tend, Store(":memory:"))
        await alice.add("First")
        async with asyncio.timeout(2 * SOON), aclosing(device.follow()) as following:
            assert (await anext(following)).received == 1
            await alice.add("Second")
            assert (await anext(following)).received == 1
            wire.cut()
            await alice.add("While nobody heard")
            assert (await anext(following)).received == 1
        await alice.post("/v1/auth/logout")
        with pytest.raises(NotSignedIn):
            async for _ in tend.events():
                pass
    async with AsyncTend(address, Tokens(alice.token), tries=2) as tend:
        with pytest.raises(Unreachable):
            async for _ in tend.events():
                pass
