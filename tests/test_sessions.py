"""Where one is signed in: seen, ended, and how soon every worker knows."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update

from backend.config import Settings
from backend.errors import NotSignedIn
from backend.main import create_app
from backend.models import RefreshToken, Session, User, table
from backend.security.passwords import hash_password
from backend.services import accounts, recognition, sessions
from backend.services.audit import Caller
from backend.services.recognition import Recognition
from backend.state import State
from tests.client import Client, Json, Statements, another_session
from tests.test_input import assert_problem

SESSIONS, TOKENS, USERS = table(Session), table(RefreshToken), table(User)


@pytest.fixture
async def elsewhere(settings: Settings) -> AsyncIterator[FastAPI]:
    """Another worker of the same service."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


def at(app: FastAPI, client: Client) -> Client:
    """The same token, at another worker."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return Client(httpx.AsyncClient(transport=transport, base_url="http://tend"), client.user_id, client.token, "")


async def listed(client: Client) -> list[Json]:
    answer = await client.get("/v1/me/sessions")
    assert answer.status_code == 200, answer.text
    items: list[Json] = answer.json()["items"]
    return items


async def aged(state: State, seconds: int, client: Client) -> None:
    """As if their sessions had been used last so long ago."""
    async with state.database.engine.connect() as connection:
        this = update(SESSIONS).where(SESSIONS.c.user_id == client.user_id)
        await connection.execute(this.values(last_used_at=SESSIONS.c.last_used_at - timedelta(seconds=seconds)))


async def test_a_session_tells_its_device_its_address_and_which_one_asks(
    http: httpx.AsyncClient, alice: Client, state: State
) -> None:
    form = {"username": "lea@example.com", "password": "correct horse battery"}
    await http.post("/v1/auth/register", json={"email": form["username"], "password": form["password"], "name": "Lea"})
    named = await http.post("/v1/auth/token", data={**form, "device": " Lea's phone "})
    unnamed = await http.post("/v1/auth/token", data=form, headers={"User-Agent": "curl/8\x01" + "x" * 300})
    lea = Client(http, alice.user_id, unnamed.json()["access_token"], "")

    newest, oldest = await listed(lea)

    assert named.status_code == 200
    assert (oldest["device"], oldest["is_current"]) == ("Lea's phone", False)
    assert newest["is_current"]
    assert newest["device"].startswith("curl/8x")
    assert len(newest["device"]) == 200
    assert newest["address"] == "127.0.0.1"
    assert set(newest) == {"id", "device", "address", "is_current", "created_at", "last_used_at", "expires_at"}


async def test_a_session_that_is_ended_is_gone_with_both_its_tokens(alice: Client, state: State) -> None:
    other = await another_session(alice.http, state, alice.user_id, alice.email)
    assert (await other.get("/v1/me")).status_code == 200
    (theirs,) = [one for one in await listed(alice) if not one["is_current"]]

    assert (await alice.delete(f"/v1/me/sessions/{theirs['id']}")).status_code == 204

    assert_problem(await other.get("/v1/me"), 401)
    assert len(await listed(alice)) == 1
    assert_problem(await alice.delete(f"/v1/me/sessions/{theirs['id']}"), 404)


async def test_all_other_sessions_can_be_ended_at_once(alice: Client, bob: Client, state: State) -> None:
    others = [await another_session(alice.http, state, alice.user_id, alice.email) for _ in range(3)]
    assert (await others[0].get("/v1/me")).status_code == 200

    assert (await alice.delete("/v1/me/sessions")).json() == {"ended": 3}

    for other in others:
        assert_problem(await other.get("/v1/me"), 401)
    assert (await alice.get("/v1/me")).status_code == (await bob.get("/v1/me")).status_code == 200
    assert (await alice.delete("/v1/me/sessions")).json() == {"ended": 0}


async def test_another_worker_believes_an_ended_session_for_10_seconds_and_no_longer(
    alice: Client, elsewhere: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = at(elsewhere, alice)
    assert (await there.get("/v1/me")).status_code == 200

    await alice.post("/v1/auth/logout")

    assert (await there.get("/v1/me")).status_code == 200
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + recognition.REMEMBERED_SECONDS + 0.1)
    assert recognition.REMEMBERED_SECONDS <= 10
    assert_problem(await there.get("/v1/me"), 401)


@pytest.mark.parametrize("what", ["disabled", "password"])
async def test_a_disabled_account_and_a_new_password_act_on_every_worker(
    alice: Client, state: State, elsewhere: FastAPI, what: str
) -> None:
    hashed = await hash_password("correct horse battery")
    async with state.database.engine.connect() as connection:
        await connection.execute(update(USERS).where(USERS.c.id == alice.user_id).values(password_hash=hashed))
    other = await another_session(alice.http, state, alice.user_id, alice.email)
    there = at(elsewhere, other)
    assert (await there.get("/v1/me")).status_code == 200

    if what == "disabled":
        async with state.database.engine.connect() as connection:
            disabled = update(USERS).where(USERS.c.id == alice.user_id).values(disabled_at=func.now())
            await connection.execute(disabled)
    else:
        body = {"current_password": "correct horse battery", "new_password": "a staple is not a horse"}
        assert (await alice.post("/v1/me/password", body)).status_code == 204

    elsewhere.state.recognition.forget_all()  # 10 seconds later
    assert_problem(await there.get("/v1/me"), 401)


async def test_a_session_that_is_believed_a_little_longer_does_nothing_dear_with_it(
    alice: Client, elsewhere: FastAPI
) -> None:
    """Or the ten seconds would be enough to make a token that lasts a year."""
    there = at(elsewhere, alice)
    assert (await there.get("/v1/me")).status_code == 200
    await alice.post("/v1/auth/logout")
    assert (await there.get("/v1/tasks")).status_code == 200

    assert_problem(await there.post("/v1/me/tokens", {"name": "x", "scopes": ["account"]}), 401)
    assert_problem(await there.get("/v1/tasks"), 401)


async def test_a_password_that_was_changed_during_a_sign_in_signs_nobody_in(alice: Client, state: State) -> None:
    hashed = await hash_password("correct horse battery")
    async with state.database.engine.connect() as connection:
        await connection.execute(update(USERS).where(USERS.c.id == alice.user_id).values(password_hash=hashed))

    with pytest.raises(NotSignedIn):
        await sessions.begin(
            state.database, alice.user_id, timedelta(days=1), Caller("x", "x"), password_hash="the one before"
        )
    assert await another_session(alice.http, state, alice.user_id, alice.email)


async def test_who_was_disabled_can_come_back_by_signing_in_anew(
    alice: Client, state: State, recognition: Recognition
) -> None:
    assert await accounts.set_disabled(state.database, alice.email, True)
    refused = await alice.get("/v1/me")
    assert await accounts.set_disabled(state.database, alice.email, False)
    recognition.forget_all()

    assert_problem(refused, 401)
    assert_problem(await alice.get("/v1/tasks"), 401)  # the sessions of before have ended
    again = await another_session(alice.http, state, alice.user_id, alice.email)
    assert (await again.get("/v1/me")).status_code == 200
    assert not await accounts.set_disabled(state.database, "nobody@example.com", True)


async def test_a_disabled_account_is_not_signed_in_to_even_with_the_password(
    http: httpx.AsyncClient, state: State
) -> None:
    ada = {"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}
    await http.post("/v1/auth/register", json=ada)
    form = {"username": ada["email"], "password": ada["password"]}
    pair = (await http.post("/v1/auth/token", data=form)).json()
    await accounts.set_disabled(state.database, ada["email"], True)

    right = assert_problem(await http.post("/v1/auth/token", data=form), 401)
    wrong = assert_problem(await http.post("/v1/auth/token", data={**form, "password": "wrong"}), 401)

    assert "disabled" in right["detail"]
    assert "disabled" not in wrong["detail"]
    assert_problem(await http.post("/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]}), 401)


async def test_of_many_requests_at_once_one_looks_the_session_up(alice: Client, statements: Statements) -> None:
    answers = await asyncio.gather(*(alice.get("/v1/me") for _ in range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert len([statement for statement in statements if "FROM sessions" in statement]) == 1


async def test_two_access_tokens_of_a_session_are_one_lookup(
    alice: Client, state: State, statements: Statements
) -> None:
    (session,) = await listed(alice)
    ring, now = state.keys, 1_700_000_000
    for _ in range(3):
        token = ring.access_token(alice.user_id, UUID(session["id"]), "UTC", "en", now)
        assert (await Client(alice.http, alice.user_id, token, "").get("/v1/me")).status_code == 200

    assert len([statement for statement in statements if "FROM sessions JOIN users" in statement]) == 1


async def test_a_session_of_another_user_is_not_believed(
    alice: Client, bob: Client, state: State, recognition: Recognition
) -> None:
    (session,) = await listed(alice)
    recognition.forget_all()
    forged = state.keys.access_token(bob.user_id, UUID(session["id"]), "UTC", "en")

    assert_problem(await Client(bob.http, bob.user_id, forged, "").get("/v1/me"), 401)


async def test_a_failing_lookup_is_not_remembered(alice: Client, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(sessions, "look_up", away)
        assert_problem(await alice.get("/v1/me"), 500)

    assert (await alice.get("/v1/me")).status_code == 200


async def test_last_use_is_written_afterwards_for_all_at_once(
    alice: Client, bob: Client, state: State, recognition: Recognition, statements: Statements
) -> None:
    for client in (alice, bob):
        await aged(state, 3_600, client)
        recognition.forget_all()
        assert (await client.get("/v1/tasks")).status_code == 200
    assert not [statement for statement in statements if statement.startswith("UPDATE")]
    before = {one: (await listed(one))[0]["last_used_at"] for one in (alice, bob)}

    await recognition.write_uses()

    for client in (alice, bob):
        assert (await listed(client))[0]["last_used_at"] > before[client]
    assert len([statement for statement in statements if statement.startswith("UPDATE sessions")]) == 1


async def test_what_was_used_is_written_when_the_worker_stops(alice: Client, state: State, settings: Settings) -> None:
    await aged(state, 3_600, alice)
    (before,) = await listed(alice)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await at(app, alice).get("/v1/tasks")

    (after,) = await listed(alice)
    assert after["last_used_at"] > before["last_used_at"]


async def test_one_session_too_many_ends_the_one_that_was_used_longest_ago(
    alice: Client, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = Caller("192.0.2.1", "tests")
    for _ in range(sessions.MOST - 1):
        await sessions.begin(state.database, alice.user_id, timedelta(days=1), caller)
    (first,) = [one for one in await listed(alice) if one["is_current"]]

    newest = await another_session(alice.http, state, alice.user_id, alice.email)

    kept = await listed(newest)
    assert len(kept) == sessions.MOST
    assert first["id"] not in {one["id"] for one in kept}


async def test_an_idle_session_is_not_shown(alice: Client, state: State) -> None:
    other = await another_session(alice.http, state, alice.user_id, alice.email)
    await aged(state, 31 * 86_400, alice)
    await another_session(alice.http, state, alice.user_id, alice.email)

    assert len(await listed(other)) == 1


async def test_tokens_of_a_session_go_with_the_account(alice: Client, state: State) -> None:
    async with state.database.engine.connect() as connection:
        counted = select(func.count()).select_from(TOKENS)
        assert (await connection.execute(counted)).scalar_one() == 1
