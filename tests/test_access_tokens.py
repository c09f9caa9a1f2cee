"""Personal access tokens: what they may do, how long, and that nobody learns them twice."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from backend.models import AccessToken, Session, table
from backend.security.opaque import is_personal_token, personal_token
from backend.services import access_tokens, accounts, signing_out
from backend.services.recognition import Recognition
from backend.state import State
from tests.client import Client, Json, Statements, another_session
from tests.test_input import assert_problem
from tests.test_walls import BODIES, ENDLESS, anything, filled, routes

TOKENS, SESSIONS = table(AccessToken), table(Session)
SECURITY = Path(__file__).parent.parent / "docs" / "security.md"
ALL = ["tasks:read", "tasks:write", "account"]


async def made(client: Client, *scopes: str, **others: Any) -> tuple[Client, Json]:
    """A client that has the new token alone, and what was answered."""
    answer = await client.post("/v1/me/tokens", {"name": "A script", "scopes": list(scopes), **others})
    assert answer.status_code == 201, answer.text
    return Client(client.http, client.user_id, answer.json()["token"], client.email), answer.json()


async def test_a_token_is_shown_once_and_then_only_its_end(alice: Client, state: State) -> None:
    script, shown = await made(alice, "tasks:read", "tasks:write")

    assert re.fullmatch(r"tend_[0-9A-Za-z]{36}", shown["token"])
    assert (await script.add("By the script"))["title"] == "By the script"
    assert await alice.titles() == ["By the script"]
    (listed,) = (await alice.get("/v1/me/tokens")).json()["items"]
    assert listed == {name: value for name, value in shown.items() if name != "token"}
    assert listed["hint"] == shown["token"][-4:]
    async with state.database.engine.connect() as connection:
        (row,) = (await connection.execute(select(TOKENS))).all()
    assert shown["token"] not in str(row)
    assert len(row.digest) == 32


async def test_a_revoked_token_is_refused(alice: Client) -> None:
    script, shown = await made(alice, "tasks:read")
    assert (await script.get("/v1/tasks")).status_code == 200

    assert (await alice.delete(f"/v1/me/tokens/{shown['id']}")).status_code == 204

    assert_problem(await script.get("/v1/tasks"), 401)
    assert_problem(await alice.delete(f"/v1/me/tokens/{shown['id']}"), 404)


async def test_a_token_expires(alice: Client, state: State, recognition: Recognition) -> None:
    script, shown = await made(alice, "tasks:read")
    assert (await script.get("/v1/tasks")).status_code == 200
    async with state.database.engine.connect() as connection:
        await connection.execute(update(TOKENS).values(expires_at=datetime.now(UTC)))

    recognition.forget_all()

    assert_problem(await script.get("/v1/tasks"), 401)
    assert (await alice.get("/v1/me/tokens")).json() == {"items": []}
    assert shown["expires_at"] > datetime.now(UTC).isoformat()


async def test_without_a_time_it_expires_in_90_days(alice: Client) -> None:
    _, shown = await made(alice, "account")

    ends = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < ends < timedelta(days=90, minutes=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": []},
        {"scopes": ["tasks:read", "tasks:read"]},
        {"scopes": ["admin"]},
        {"scopes": "tasks:read"},
        {"name": ""},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_at": "2999-01-01T00:00:00Z"},
        {"expires_at": "tomorrow"},
        {"user_id": "01997f3e-1111-7c31-9d04-8b1f6f1c2a55"},
        {"token": "tend_mine"},
        {"digest": "x"},
    ],
)
async def test_a_token_that_cannot_be_meant_is_refused(alice: Client, wrong: Json) -> None:
    body = {"name": "A script", "scopes": ["tasks:read"], **wrong}

    assert_problem(await alice.post("/v1/me/tokens", body), 422)


async def test_a_token_cannot_make_another_nor_change_the_password(alice: Client) -> None:
    script, _ = await made(alice, *ALL)

    for path, body in (
        ("/v1/me/tokens", {"name": "x", "scopes": ["account"]}),
        ("/v1/me/password", {"current_password": "x", "new_password": "a staple is not a horse"}),
        ("/v1/auth/logout", None),
    ):
        assert "Sign in" in assert_problem(await script.post(path, body), 403)["detail"]


async def test_an_old_sign_in_is_not_enough_to_make_one(alice: Client, state: State) -> None:
    (session,) = (await alice.get("/v1/me/sessions")).json()["items"]
    long_ago = datetime.now(UTC).timestamp() - 15 * 60 - 1
    old = state.keys.access_token(alice.user_id, UUID(session["id"]), "UTC", "en", long_ago)

    answer = await Client(alice.http, alice.user_id, old, "").post(
        "/v1/me/tokens", {"name": "x", "scopes": ["account"]}
    )

    assert_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_user_authentication", max_age=900'


async def test_what_is_documented_as_needing_a_fresh_sign_in_needs_one(
    app: FastAPI, alice: Client, state: State
) -> None:
    (session,) = (await alice.get("/v1/me/sessions")).json()["items"]
    long_ago = datetime.now(UTC).timestamp() - 15 * 60 - 1
    old = state.keys.access_token(alice.user_id, UUID(session["id"]), "UTC", "en", long_ago)
    late = Client(alice.http, alice.user_id, old, "")
    dear = [route for route, needed in table_of_routes().items() if needed == "a sign-in of the last 15 minutes"]

    assert len(dear) > 8
    for method, path in dear:
        body = filled(BODIES.get((method, path)), anything())
        answer = await late.call(method, filled(path, anything()), json=body)
        assert_problem(answer, 401)
        assert "insufficient_user_authentication" in answer.headers["WWW-Authenticate"], (method, path)


async def test_refreshing_does_not_make_a_sign_in_fresh(http: httpx.AsyncClient, state: State) -> None:
    ada = {"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}
    await http.post("/v1/auth/register", json=ada)
    form = {"username": ada["email"], "password": ada["password"]}
    pair = (await http.post("/v1/auth/token", data=form)).json()
    async with state.database.engine.connect() as connection:
        earlier = SESSIONS.c.created_at - timedelta(minutes=16)
        await connection.execute(update(SESSIONS).values(created_at=earlier))

    again = (await http.post("/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]})).json()

    refreshed = Client(http, UUID(int=0), again["access_token"], "")
    assert_problem(await refreshed.post("/v1/me/tokens", {"name": "x", "scopes": ["account"]}), 401)
    assert (await refreshed.get("/v1/tasks")).status_code == 200


async def test_no_more_than_50(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(access_tokens.MOST):
        await made(alice, "tasks:read")

    assert_problem(await alice.post("/v1/me/tokens", {"name": "x", "scopes": ["account"]}), 409)
    (newest, *_) = (await alice.get("/v1/me/tokens")).json()["items"]
    assert (await alice.delete(f"/v1/me/tokens/{newest['id']}")).status_code == 204
    await made(alice, "tasks:read")


async def test_whom_the_operator_signs_out_has_no_session_and_no_token_left(
    state: State, alice: Client, bob: Client, recognition: Recognition
) -> None:
    script, _ = await made(alice, "tasks:read")
    assert {alice.email, bob.email} <= set(await signing_out.signed_in(state.database))

    assert await signing_out.sign_out(state.database, alice.email.upper())
    recognition.forget_all()

    for gone in (alice, script):
        assert_problem(await gone.get("/v1/tasks"), 401)
    assert (await bob.get("/v1/tasks")).status_code == 200
    assert alice.email not in await signing_out.signed_in(state.database)
    again = await another_session(alice.http, state, alice.user_id, alice.email)
    assert (await again.get("/v1/me/audit")).json()["items"][1]["kind"] == "signed_out_everywhere"
    assert not await signing_out.sign_out(state.database, "nobody@example.com")


async def test_a_disabled_account_s_tokens_are_refused(alice: Client, state: State, recognition: Recognition) -> None:
    script, _ = await made(alice, "tasks:read")
    await accounts.set_disabled(state.database, alice.email, True)
    recognition.forget_all()

    assert_problem(await script.get("/v1/tasks"), 401)


async def test_last_use_is_known_to_the_minute(alice: Client, recognition: Recognition) -> None:
    script, shown = await made(alice, "tasks:read")
    assert shown["last_used_at"] is None
    await script.get("/v1/tasks")
    await recognition.write_uses()

    (listed,) = (await alice.get("/v1/me/tokens")).json()["items"]
    assert listed["last_used_at"] > shown["created_at"]


async def test_what_was_mistyped_never_reaches_the_database(alice: Client, statements: Statements) -> None:
    token = personal_token()
    typed = [token[:-1], token + "x", token[:20] + ("a" if token[20] != "a" else "b") + token[21:], "tend_", "tend_é"]

    for each in [*typed, token.upper()]:
        assert not is_personal_token(each)
        assert_problem(await Client(alice.http, alice.user_id, each, "").get("/v1/tasks"), 401) if each.isascii() else 0
    assert statements == []
    assert is_personal_token(token)
    assert_problem(await Client(alice.http, alice.user_id, token, "").get("/v1/tasks"), 401)
    assert len(statements) == 1


def table_of_routes() -> dict[tuple[str, str], str]:
    """As the documentation has it: `| GET | /v1/tasks | tasks:read |`."""
    rows = re.findall(r"^\| ([A-Z]+) \| `(/[^`]+)` \| ([^|]+) \|$", SECURITY.read_text(), re.MULTILINE)
    return {(method, path): needed.strip().strip("`") for method, path, needed in rows}


async def test_the_documentation_says_of_every_route_which_scope_it_needs(app: FastAPI) -> None:
    assert set(table_of_routes()) == set(routes(app, endless=True))


async def test_every_route_takes_the_scope_that_is_documented_and_no_other(
    app: FastAPI, alice: Client, http: httpx.AsyncClient
) -> None:
    clients = {scope: (await made(alice, scope))[0] for scope in ALL}

    for (method, path), needed in table_of_routes().items():
        body = filled(BODIES.get((method, path)), anything())
        for scope, client in clients.items():
            if path in ENDLESS and scope == needed:
                continue
            answer = await client.call(method, filled(path, anything()), json=body)
            challenge = answer.headers.get("WWW-Authenticate", "")
            if scope == needed:
                assert answer.status_code < 400 or answer.status_code in {404, 422}, (method, path, answer.text)
            elif needed in ALL:
                assert_problem(answer, 403)
                assert challenge == f'Bearer error="insufficient_scope", scope="{needed}"', (method, path)
            else:
                assert_problem(answer, 403)
