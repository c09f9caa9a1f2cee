"""Register, sign in, stay signed in, sign out."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import delete, select, update

from backend.models import RefreshToken, Session, User, table
from backend.security import passwords
from backend.services.recognition import Recognition
from backend.state import State
from tests.client import Client, Statements
from tests.test_input import assert_problem

ADA = {"email": "Ada@Example.com", "password": "correct horse battery", "name": " Ada "}
TOKENS, SESSIONS, USERS = table(RefreshToken), table(Session), table(User)


async def sign_in(http: httpx.AsyncClient, **form: str) -> httpx.Response:
    return await http.post("/v1/auth/token", data={"username": ADA["email"], "password": ADA["password"], **form})


async def refresh(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/v1/auth/refresh", json={"refresh_token": token})


@pytest.fixture
async def tokens(http: httpx.AsyncClient) -> dict[str, Any]:
    assert (await http.post("/v1/auth/register", json=ADA)).status_code == 201
    signed_in: dict[str, Any] = (await sign_in(http)).json()
    return signed_in


async def test_who_registers_can_sign_in_and_is_who_they_said(http: httpx.AsyncClient) -> None:
    registered = await http.post("/v1/auth/register", json=ADA)
    answer = await sign_in(http, username="ada@EXAMPLE.com")
    pair = answer.json()
    me = await http.get("/v1/me", headers={"Authorization": f"Bearer {pair['access_token']}"})

    assert registered.status_code == 201
    assert set(pair) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (pair["token_type"], pair["expires_in"]) == ("bearer", 900)
    assert answer.headers["Cache-Control"] == "no-store"
    assert me.json() == registered.json()
    account = me.json()
    assert list(account) == ["id", "email", "name", "timezone", "language", "is_verified", "created_at"]
    assert (account["email"], account["name"], account["is_verified"]) == ("Ada@example.com", "Ada", False)


async def test_an_address_that_is_taken_is_409_in_any_case(http: httpx.AsyncClient) -> None:
    await http.post("/v1/auth/register", json=ADA)

    assert_problem(await http.post("/v1/auth/register", json={**ADA, "email": "aDA@example.COM"}), 409)


@pytest.mark.parametrize(
    ("registered", "other"),
    [("jose\u0301@example.com", "jos\u00e9@example.com"), ("ada@xn--mnchen-3ya.de", "ADA@münchen.de")],
)
async def test_an_address_is_the_same_however_it_is_written(
    http: httpx.AsyncClient, registered: str, other: str
) -> None:
    assert (await http.post("/v1/auth/register", json={**ADA, "email": registered})).status_code == 201

    assert (await sign_in(http, username=registered)).status_code == 200
    assert (await sign_in(http, username=other)).status_code == 200
    assert (await http.post("/v1/auth/register", json={**ADA, "email": other})).status_code == 409


async def test_of_many_who_register_an_address_at_once_one_wins(http: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(http.post("/v1/auth/register", json=ADA) for _ in range(8)))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("email", value) for value in ("", "ada", "ada@", "@example.com", "a b@example.com", "x" * 250 + "@b.co", 5)),
        *(("email", value) for value in ("ada@example.com\0", "ada@\ud800.com", None)),
        *(("password", value) for value in ("short", "x" * 129, 12345678, None, "with a \0 in it")),
        *(("name", value) for value in ("", "  ", "x" * 101, None)),
        ("is_admin", True),
    ],
)
async def test_an_account_that_cannot_be_meant_is_422(http: httpx.AsyncClient, field: str, value: Any) -> None:
    content = json.dumps({**ADA, field: value}).encode()
    answer = await http.post("/v1/auth/register", content=content, headers={"Content-Type": "application/json"})

    assert assert_problem(answer, 422)["errors"][0]["loc"] == ["body", field]


@pytest.mark.parametrize("password", ["zqxjkvbp", "🔑" * 128, "  spaces are part of it  "])
async def test_a_password_is_taken_as_it_is(http: httpx.AsyncClient, password: str) -> None:
    await http.post("/v1/auth/register", json={**ADA, "password": password})

    assert (await sign_in(http, password=password)).status_code == 200
    assert (await sign_in(http, password=password.strip() + "x")).status_code == 401


@pytest.mark.parametrize("password", ["password", "PASSWORD1", "qwertyuiop", "12345678", "iloveyou"])
async def test_a_password_that_is_tried_first_is_refused(http: httpx.AsyncClient, password: str) -> None:
    problem = assert_problem(await http.post("/v1/auth/register", json={**ADA, "password": password}), 422)

    assert problem["errors"][0]["loc"] == ["body", "password"]
    assert len(passwords.common()) >= 3_000  # ASVS 5.0, 6.2.4
    assert min(map(len, passwords.common())) >= passwords.CHARACTERS[0]


async def test_a_password_is_kept_as_argon2id_and_a_weaker_hash_made_anew_at_sign_in(
    http: httpx.AsyncClient, state: State
) -> None:
    await http.post("/v1/auth/register", json=ADA)
    weak = PasswordHasher(time_cost=1, memory_cost=1_024, parallelism=1).hash(ADA["password"])

    async def kept() -> str:
        async with state.database.engine.connect() as connection:
            return str((await connection.execute(select(USERS.c.password_hash))).scalar_one())

    assert (await kept()).startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    async with state.database.engine.connect() as connection:
        await connection.execute(update(USERS).values(password_hash=weak))
    assert (await sign_in(http)).status_code == 200

    assert (await kept()).startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await sign_in(http)).status_code == 200


async def test_whatever_is_wrong_sign_in_says_the_same(http: httpx.AsyncClient, tokens: dict[str, Any]) -> None:
    wrong = [
        await sign_in(http, password="wrong"),
        await sign_in(http, username="nobody@example.com"),
        await sign_in(http, username="not an address"),
        await sign_in(http, password="x" * 5_000),
    ]

    assert {answer.status_code for answer in wrong} == {401}
    assert len({answer.text for answer in wrong}) == 1
    assert {answer.headers["WWW-Authenticate"] for answer in wrong} == {"Bearer"}


async def test_an_account_without_a_password_cannot_be_signed_in_to(http: httpx.AsyncClient, alice: Client) -> None:
    for password in ("", "None", "password"):
        assert (await sign_in(http, username=alice.email, password=password)).status_code in {401, 422}


async def test_what_swagger_sends_beside_is_accepted(http: httpx.AsyncClient, tokens: dict[str, Any]) -> None:
    beside = {"grant_type": "password", "scope": "", "client_id": "", "client_secret": ""}

    assert (await sign_in(http, **beside)).status_code == 200
    assert_problem(await sign_in(http, grant_type="client_credentials"), 422)
    assert_problem(await sign_in(http, colour="red"), 422)
    assert_problem(await http.post("/v1/auth/token", json={"username": "a", "password": "b"}), 415)


async def test_without_a_token_it_is_401_and_says_how_to_get_one(http: httpx.AsyncClient) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "}):
        answer = await http.get("/v1/tasks", headers=headers)
        assert_problem(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_refreshing_gives_a_new_pair_that_works(http: httpx.AsyncClient, tokens: dict[str, Any]) -> None:
    answer = await refresh(http, tokens["refresh_token"])
    pair = answer.json()

    assert answer.status_code == 200
    assert pair["refresh_token"] != tokens["refresh_token"]
    assert pair["access_token"] != tokens["access_token"]
    me = await http.get("/v1/me", headers={"Authorization": f"Bearer {pair['access_token']}"})
    assert me.status_code == 200


async def test_a_lost_answer_can_be_had_again_and_is_the_same_token(
    http: httpx.AsyncClient, tokens: dict[str, Any]
) -> None:
    first, again = [(await refresh(http, tokens["refresh_token"])).json() for _ in range(2)]

    assert first["refresh_token"] == again["refresh_token"]
    assert (await refresh(http, again["refresh_token"])).status_code == 200


async def test_of_many_who_refresh_at_once_all_get_the_same_successor(
    http: httpx.AsyncClient, tokens: dict[str, Any]
) -> None:
    answers = await asyncio.gather(*(refresh(http, tokens["refresh_token"]) for _ in range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


async def test_an_older_token_that_comes_back_ends_the_whole_family(
    http: httpx.AsyncClient, recognition: Recognition, tokens: dict[str, Any]
) -> None:
    stolen = tokens["refresh_token"]
    second = (await refresh(http, stolen)).json()["refresh_token"]
    third = (await refresh(http, second)).json()

    assert_problem(await refresh(http, stolen), 401)

    assert_problem(await refresh(http, third["refresh_token"]), 401)
    recognition.forget_all()  # as on another worker, or 10 seconds later
    answer = await http.get("/v1/me", headers={"Authorization": f"Bearer {third['access_token']}"})
    assert_problem(answer, 401)


async def test_the_predecessor_is_forgiven_for_10_seconds_only(
    http: httpx.AsyncClient, state: State, tokens: dict[str, Any]
) -> None:
    successor = (await refresh(http, tokens["refresh_token"])).json()["refresh_token"]
    async with state.database.engine.connect() as connection:
        used = TOKENS.c.used_at.is_not(None)
        await connection.execute(update(TOKENS).where(used).values(used_at=TOKENS.c.used_at - timedelta(seconds=11)))

    assert_problem(await refresh(http, tokens["refresh_token"]), 401)
    assert_problem(await refresh(http, successor), 401)


@pytest.mark.parametrize("what", ["idle", "absolute"])
async def test_a_sign_in_ends_when_it_is_idle_or_old(
    http: httpx.AsyncClient, state: State, tokens: dict[str, Any], what: str
) -> None:
    past = timedelta(days=31 if what == "idle" else 181)
    older = (
        update(TOKENS).values(created_at=TOKENS.c.created_at - past)
        if what == "idle"
        else update(SESSIONS).values(expires_at=SESSIONS.c.expires_at - past)
    )
    async with state.database.engine.connect() as connection:
        await connection.execute(older)

    assert_problem(await refresh(http, tokens["refresh_token"]), 401)


@pytest.mark.parametrize("token", ["", "x", "🔑", "a\0b", "x" * 201])
async def test_a_refresh_token_that_was_never_given_is_refused(http: httpx.AsyncClient, token: str) -> None:
    assert (await refresh(http, token)).status_code in {401, 422}


async def test_who_signs_out_is_out_at_once_with_both_tokens(http: httpx.AsyncClient, tokens: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await http.get("/v1/me", headers=headers)).status_code == 200

    assert (await http.post("/v1/auth/logout", headers=headers)).status_code == 204

    assert_problem(await refresh(http, tokens["refresh_token"]), 401)
    answer = await http.get("/v1/me", headers=headers)
    assert_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_signing_out_ends_this_sign_in_and_no_other(http: httpx.AsyncClient, tokens: dict[str, Any]) -> None:
    other = (await sign_in(http)).json()

    await http.post("/v1/auth/logout", headers={"Authorization": f"Bearer {tokens['access_token']}"})

    assert (await refresh(http, other["refresh_token"])).status_code == 200


async def test_a_session_is_looked_up_once_and_then_remembered(alice: Client, statements: Statements) -> None:
    for _ in range(5):
        await alice.get("/v1/me")

    assert len([statement for statement in statements if "FROM sessions" in statement]) == 1
    assert len(statements) == 6


async def test_no_token_is_stored_as_it_is(http: httpx.AsyncClient, state: State, tokens: dict[str, Any]) -> None:
    async with state.database.engine.connect() as connection:
        rows = (await connection.execute(TOKENS.select())).all()

    assert rows
    assert all(tokens["refresh_token"].encode() not in row.digest and len(row.digest) == 32 for row in rows)


async def test_a_token_of_an_account_that_is_gone_writes_nothing(alice: Client, state: State) -> None:
    await alice.add("Before")
    async with state.database.engine.connect() as connection:
        gone = delete(USERS).where(USERS.c.id == alice.user_id)
        await connection.execute(gone.execution_options(crosses_users="the account's end"))

    for answer in (
        await alice.post("/v1/tasks", {"title": "After"}),
        await alice.post("/v1/tasks/batch", {"tasks": [{"title": "After"}]}),
        await alice.get("/v1/me"),
    ):
        assert_problem(answer, 401)


async def test_an_account_has_the_time_zone_and_language_that_it_was_opened_with(http: httpx.AsyncClient) -> None:
    wanted = {
        "email": "lou@example.com",
        "password": "correct horse battery",
        "name": "Lou",
        "timezone": "Asia/Tokyo",
        "language": "de",
    }
    opened = await http.post("/v1/auth/register", json=wanted)
    assert (opened.json()["timezone"], opened.json()["language"]) == ("Asia/Tokyo", "de")
    form = {"username": "lou@example.com", "password": "correct horse battery"}
    token = (await http.post("/v1/auth/token", data=form)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    due = "2030-05-09T15:00:00Z"  # midnight in Tokyo
    await http.post("/v1/tasks", json={"title": "Die Häuser am Fluss", "due_date": due}, headers=headers)

    for query, total in (("search=haus", 1), ("search=die", 0), ("due_date=2030-05-10", 1), ("due_date=2030-05-09", 0)):
        answer = await http.get(f"/v1/tasks?{query}", headers=headers)
        assert answer.json()["total"] == total, query


@pytest.mark.parametrize(
    "wrong",
    [{"timezone": "Mars/Olympus"}, {"timezone": ""}, {"language": "english"}, {"language": "E1"}, {"language": 1}],
)
async def test_a_time_zone_or_language_that_is_none_is_refused(http: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    wanted = {"email": "lou@example.com", "password": "correct horse battery", "name": "Lou", **wrong}

    assert_problem(await http.post("/v1/auth/register", json=wanted), 422)
