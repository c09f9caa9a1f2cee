"""Trying too often: counted in the database, for all workers."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete, select, update

from backend.config import Settings
from backend.errors import TooMany
from backend.main import create_app
from backend.models import Throttle, table
from backend.services import throttles
from backend.services.throttles import Limit, Try
from backend.state import State
from tests.client import Client
from tests.test_accounts import ADA
from tests.test_input import assert_problem

THROTTLES = table(Throttle)


def client_at(app: FastAPI, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://tend")


async def sign_in(http: httpx.AsyncClient, email: str = ADA["email"], password: str = "wrong") -> httpx.Response:
    return await http.post("/v1/auth/token", data={"username": email, "password": password})


@pytest.fixture(autouse=True)
async def no_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counting is what is tried here: no password is right but the right one."""

    async def verify(password: str, hashed: str | None) -> tuple[bool, None]:
        return password == ADA["password"] and hashed is not None, None

    monkeypatch.setattr("backend.services.sign_in.verify_password", verify)


@pytest.fixture
async def ada(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/auth/register", json=ADA)).status_code == 201


@pytest.mark.parametrize("email", [ADA["email"], "nobody@example.com"])
async def test_ten_failures_are_enough_whether_there_is_an_account_or_not(app: FastAPI, ada: None, email: str) -> None:
    async with client_at(app, "192.0.2.7") as there, client_at(app, "192.0.2.8") as other:
        for _ in range(10):
            assert_problem(await sign_in(there, email), 401)
        refused = await sign_in(there, email.upper(), ADA["password"])
        from_elsewhere = await sign_in(other, email)
        of_another = await sign_in(there, "another@example.com")

    problem = assert_problem(refused, 429)
    wait = int(refused.headers["Retry-After"])
    assert 0 < wait <= 900
    assert refused.headers["RateLimit-Policy"] == '"sign-in";q=10;w=900'
    assert refused.headers["RateLimit"] == f'"sign-in";r=0;t={wait}'
    assert problem["detail"] == "Too many tries. Wait a while."
    assert_problem(from_elsewhere, 401)
    assert_problem(of_another, 401)


async def test_the_window_ends(app: FastAPI, ada: None, state: State) -> None:
    async with client_at(app, "192.0.2.7") as there:
        for _ in range(11):
            await sign_in(there)
        async with state.database.engine.connect() as connection:
            await connection.execute(update(THROTTLES).values(until=THROTTLES.c.until - timedelta(seconds=901)))

        assert (await sign_in(there, password=ADA["password"])).status_code == 200


async def test_only_failures_count(app: FastAPI, ada: None) -> None:
    async with client_at(app, "192.0.2.7") as there:
        for _ in range(12):
            assert (await sign_in(there, password=ADA["password"])).status_code == 200
        assert_problem(await sign_in(there), 401)


async def test_what_was_refused_does_not_count(app: FastAPI, ada: None) -> None:
    async with client_at(app, "192.0.2.7") as there:
        answers = await asyncio.gather(*(sign_in(there, password=ADA["password"]) for _ in range(40)))
        assert {answer.status_code for answer in answers} <= {200, 429}
        assert (await sign_in(there, password=ADA["password"])).status_code == 200


async def test_one_program_with_an_old_password_does_not_lock_its_whole_address(app: FastAPI, ada: None) -> None:
    async with client_at(app, "192.0.2.7") as there:
        for _ in range(throttles.ADDRESS.most + 5):
            await sign_in(there, "old@example.com")

        assert (await sign_in(there, password=ADA["password"])).status_code == 200


async def test_an_address_that_tries_many_accounts_is_stopped(
    app: FastAPI, ada: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttles, "ADDRESS", Limit("sign-in-address", 3, 900))
    async with client_at(app, "2001:db8:1:2::1") as there, client_at(app, "2001:db8:1:2::ffff") as neighbour:
        for n in range(3):
            assert_problem(await sign_in(there, f"nobody{n}@example.com"), 401)
        assert_problem(await sign_in(there, "nobody4@example.com"), 429)
        assert_problem(await sign_in(neighbour, "nobody5@example.com"), 429)
    async with client_at(app, "2001:db8:1:3::1") as further:
        assert_problem(await sign_in(further), 401)


async def test_it_holds_over_workers(app: FastAPI, ada: None, settings: Settings) -> None:
    other = create_app(settings)
    async with (
        other.router.lifespan_context(other),
        client_at(app, "192.0.2.7") as one,
        client_at(other, "192.0.2.7") as two,
    ):
        answers = [await sign_in(each) for each in [one, two] * 6]

    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2


async def test_of_many_at_once_as_many_as_allowed_come_through(state: State) -> None:
    one = Try(Limit("test", 5, 60), ("x",))

    done = await asyncio.gather(*(throttles.take(state.database, one) for _ in range(20)), return_exceptions=True)

    assert sum(isinstance(each, TooMany) for each in done) == 15
    assert sum(each is None for each in done) == 5


async def test_two_counts_in_any_order_do_not_wait_for_each_other(state: State) -> None:
    a, b = Try(Limit("test", 1_000, 60), ("a",)), Try(Limit("test", 1_000, 60), ("b",))

    await asyncio.gather(*(throttles.take(state.database, *(pair)) for pair in [(a, b), (b, a)] * 50))

    assert (await throttles.count(state.database, a))[0] == 101


async def test_the_password_is_not_guessed_by_whoever_is_signed_in(alice: Client) -> None:
    body = {"current_password": "wrong", "new_password": "a staple is not a horse"}
    for _ in range(10):
        assert_problem(await alice.post("/v1/me/password", body), 403)

    assert_problem(await alice.post("/v1/me/password", body), 429)


async def test_whoever_is_stopped_leaves_no_further_row(
    app: FastAPI, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttles, "ADDRESS", Limit("sign-in-address", 3, 900))
    async with client_at(app, "192.0.2.9") as there:
        for n in range(9):
            await sign_in(there, f"nobody{n}@example.com")
    async with state.database.engine.connect() as connection:
        assert len((await connection.execute(select(THROTTLES))).all()) == 4  # the address, and three accounts


async def test_nobody_is_named_in_what_is_counted(app: FastAPI, ada: None, state: State) -> None:
    async with client_at(app, "192.0.2.7") as there:
        await sign_in(there)
    async with state.database.engine.connect() as connection:
        rows: Any = (await connection.execute(select(THROTTLES))).all()

    assert rows
    assert all(len(row.key) == 32 for row in rows)


async def test_what_is_over_is_purged(state: State) -> None:
    async with state.database.engine.connect() as connection:
        await connection.execute(delete(THROTTLES))
    await throttles.count(state.database, Try(Limit("old", 1, -1), ()))
    await throttles.count(state.database, Try(Limit("new", 1, 60), ()))

    await throttles.purge(state.database)

    async with state.database.engine.connect() as connection:
        assert len((await connection.execute(select(THROTTLES))).all()) == 1
