"""The limit on a user's requests, when there is one: over all workers, and cheap."""

import asyncio
import re
import time
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from backend.models import Throttle, table
from backend.services import allowances
from backend.state import State
from tests.client import Client, Statements, fresh_account
from tests.conftest import settings_for, worker
from tests.test_input import assert_problem

THROTTLES = table(Throttle)


def limited(url: str, folder: Path, most: int) -> AbstractAsyncContextManager[tuple[FastAPI, httpx.AsyncClient]]:
    return worker(settings_for(url, folder, api_requests_per_minute=most))


async def test_a_user_has_so_many_requests_a_minute_and_is_told_how_many_are_left(
    state: State, database_url: str, tmp_path: Path
) -> None:
    async with limited(database_url, tmp_path, 5) as (app, http):
        alice, bob = [await fresh_account(http, state, name) for name in ("alice", "bob")]
        answers = [await alice.get("/v1/tasks") for _ in range(5)]
        refused = await alice.post("/v1/tasks", {"title": "One too many"})
        counted = Statements()
        app.state.tend.database.watchers.append(counted.note)
        assert_problem(await alice.get("/v1/tasks"), 429)

        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"requests";q=5;w=60'}
        left = [re.fullmatch(r'"requests";r=(\d+);t=\d+', answer.headers["RateLimit"]) for answer in answers]
        assert [match and match[1] for match in left] == ["4", "3", "2", "1", "0"]
        assert_problem(refused, 429)
        assert counted == []  # the refusal is remembered
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["RateLimit"].startswith('"requests";r=0;t=')
        assert (await bob.get("/v1/tasks")).status_code == 200
        assert (await bob.call("HEAD", "/v1/tasks")).headers["RateLimit"].startswith('"requests";r=3;')


async def test_it_holds_over_workers_and_gives_no_more_than_there_is(
    state: State, database_url: str, tmp_path: Path
) -> None:
    async with limited(database_url, tmp_path, 60) as (_, one), limited(database_url, tmp_path, 60) as (_, two):
        here = await fresh_account(one, state, "alice")
        there = Client(two, here.user_id, here.token, "")
        answers = await asyncio.gather(*(client.get("/v1/me") for client in [here, there] * 50))

    served = sum(answer.status_code == 200 for answer in answers)
    assert served == 60
    assert {answer.status_code for answer in answers} == {200, 429}


async def test_a_worker_asks_the_database_for_a_part_at_a_time(state: State, database_url: str, tmp_path: Path) -> None:
    async with limited(database_url, tmp_path, 200) as (app, http):
        alice = await fresh_account(http, state, "alice")
        counted = Statements()
        app.state.tend.database.watchers.append(counted.note)
        for _ in range(30):
            assert (await alice.get("/v1/me")).status_code == 200

    assert len([statement for statement in counted if "throttles" in statement]) == 3
    assert allowances.PARTS == 20


async def test_the_next_minute_is_another(
    state: State, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with limited(database_url, tmp_path, 1) as (app, http):
        alice = await fresh_account(http, state, "alice")
        assert (await alice.get("/v1/me")).status_code == 200
        assert_problem(await alice.get("/v1/me"), 429)
        async with state.database.engine.connect() as connection:
            await connection.execute(update(THROTTLES).values(until=THROTTLES.c.until - timedelta(seconds=61)))
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 61)

        assert (await alice.get("/v1/me")).status_code == 200
        assert app.state.allowances is not None


async def test_unless_it_is_configured_there_is_none(alice: Client, app: FastAPI) -> None:
    answer = await alice.get("/v1/tasks")

    assert app.state.allowances is None
    assert "RateLimit" not in answer.headers
