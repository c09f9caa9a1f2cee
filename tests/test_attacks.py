"""Attacks that have a name, tried from outside. Those on one part alone stand with that part's tests."""

import base64
import json
import random
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from jose import jwt

from backend.security.tokens import InvalidToken, Keys
from backend.state import State
from backend.telemetry import logs
from tests.client import Client, Json
from tests.test_access_tokens import made
from tests.test_input import assert_problem
from tests.test_tokens import KEYS, SECRET, claims, token
from tests.test_walls import BODIES, anything, filled, routes

ADA = {"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}
PRIVILEGED: Json = {
    "id": str(uuid4()),
    "user_id": str(uuid4()),
    "owner": str(uuid4()),
    "session_id": str(uuid4()),
    "is_verified": True,
    "is_admin": True,
    "role": "admin",
    "scope": "account",
    "scopes": ["account"],
    "password_hash": "x",
    "email_key": "x",
    "disabled_at": None,
    "ends_at": None,
    "created_at": "2001-01-01T00:00:00Z",
    "updated_at": "2001-01-01T00:00:00Z",
    "deleted_at": None,
    "completed_at": "2001-01-01T00:00:00Z",
    "version": 1,
    "seq": 1,
    "last_used_at": None,
    "digest": "x",
    "hint": "x",
}


def refused(sent: str) -> bool:
    try:
        KEYS.read(sent)
    except InvalidToken:
        return True
    return False


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_token_with_any_bit_turned_is_refused() -> None:
    parts = [raw(each) for each in token().split(".")]
    for place, content in enumerate(parts):
        for bit in range(len(content) * 8):
            turned = bytearray(content)
            turned[bit // 8] ^= 1 << bit % 8
            sent = [part(bytes(turned) if n == place else each) for n, each in enumerate(parts)]
            assert refused(".".join(sent)), (place, bit)


def test_a_token_that_is_cut_anywhere_or_grown_is_refused() -> None:
    sound = token()
    for length in range(len(sound)):
        assert refused(sound[:length]), length
    for grown in (sound + ".", sound + "." + sound, "." + sound, sound + "A" * 4, sound + " ", sound + "\0"):
        assert refused(grown), grown
    assert not refused(sound)


def test_random_bytes_are_refused_without_an_error_of_another_kind() -> None:
    chance = random.Random(1)
    for _ in range(2_000):
        text = "".join(chr(chance.choice([*range(32, 127), 0, 0x1F511, 0xD800])) for _ in range(chance.randrange(60)))
        assert refused(text)
        assert refused(".".join([part(text.encode(errors="ignore"))] * 3))


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "HS384", "RS256", "ES256", "EdDSA", None, 1, ["HS256"]]
)
def test_a_token_that_names_another_algorithm_is_refused_however_it_is_signed(algorithm: Any) -> None:
    head = {"alg": algorithm, "typ": "at+jwt", "kid": KEYS.accepted()[0].kid}
    signature = token().split(".")[2]

    for signed in ("", signature, part(b"x" * 32)):
        assert refused(f"{part(head)}.{part(claims())}.{signed}")


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"jku": "https://evil.example/jwks.json", "kid": "evil"},
        {"x5u": "https://evil.example/cert.pem", "kid": "evil"},
        {"jwk": {"kty": "oct", "k": part(b"x" * 32)}, "kid": "evil"},
        {"kid": "../../dev/null"},
        {"kid": "' OR 1=1 --"},
        {"kid": ["x"]},
        {"typ": "JWT"},
    ],
)
def test_a_header_that_names_a_key_of_its_own_or_demands_something_is_refused(header: Json) -> None:
    for secret in (SECRET.decode(), "x" * 32, ""):
        head = {"alg": "HS256", "typ": "at+jwt", "kid": KEYS.accepted()[0].kid, **header}
        try:
            sent = str(jwt.encode(claims(), secret, algorithm="HS256", headers=head))
        except Exception:
            continue  # the library itself refuses to sign with it
        assert refused(sent), header


def test_a_token_of_another_service_or_purpose_is_refused() -> None:
    for others in ({"aud": "other"}, {"aud": ["tend", "other"]}, {"iss": "https://evil.example"}, {"token_use": "id"}):
        sent = token(**others)
        if others != {"aud": ["tend", "other"]}:
            assert refused(sent), others
    assert refused(token(typ="at+jwt", nbf=int(time.time()) + 600))


async def test_an_oversized_token_is_refused_before_it_is_read(http: httpx.AsyncClient, state: State) -> None:
    long = state.keys.access_token(uuid4(), uuid4(), "U" * 5_000, "en")

    for sent in (long, "x" * 60_000, ".".join(["x" * 20_000] * 3), "tend_" + "x" * 50_000):
        assert_problem(await http.get("/v1/me", headers={"Authorization": f"Bearer {sent}"}), 401)
    assert_problem(await http.get("/v1/me", headers={"Authorization": f"Bearer {long[:4096]}"}), 401)


async def test_a_token_is_not_taken_from_anywhere_but_its_header(alice: Client, http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/me", params={"access_token": alice.token})).status_code in {401, 422}
    assert_problem(await http.get("/v1/me", headers={"Cookie": f"access_token={alice.token}"}), 401)
    assert_problem(await http.get("/v1/me", headers={"Authorization": alice.token}), 401)
    assert_problem(await http.get("/v1/me", headers={"Authorization": f"Basic {alice.token}"}), 401)


async def test_a_refresh_token_is_no_access_token_and_the_other_way_round(http: httpx.AsyncClient) -> None:
    await http.post("/v1/auth/register", json=ADA)
    form = {"username": ADA["email"], "password": ADA["password"]}
    pair = (await http.post("/v1/auth/token", data=form)).json()

    bearer = {"Authorization": f"Bearer {pair['refresh_token']}"}
    assert_problem(await http.get("/v1/me", headers=bearer), 401)
    assert_problem(await http.post("/v1/auth/refresh", json={"refresh_token": pair["access_token"]}), 401)


async def test_no_answer_tells_whether_an_address_has_an_account(http: httpx.AsyncClient, state: State) -> None:
    """But for registration, which tells by design."""
    await http.post("/v1/auth/register", json=ADA)
    await state.later.settled()
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/v1/auth/token", {"data": {"username": "{}", "password": "wrong"}}),
        ("/v1/auth/token", {"data": {"username": "{}", "password": "x" * 1_000}}),
        ("/v1/auth/password-reset", {"json": {"email": "{}"}}),
        ("/v1/auth/verify-email", {"json": {"email": "{}"}}),
    ]
    for path, body in asked:
        answers = []
        for email in (ADA["email"], "nobody@example.com"):
            filled_in = json.loads(json.dumps(body).replace("{}", email))
            answers.append(await http.post(path, headers={"X-Request-ID": "the-same-one"}, **filled_in))
        known, unknown = answers
        assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
        assert known.headers == unknown.headers


async def test_what_decides_who_one_is_cannot_be_assigned_in_any_body(app: FastAPI, alice: Client) -> None:
    """Each field that a table has and a body has not, on each route that takes a body."""
    taken = {
        "/v1/tasks": {"id"},
        "/v1/projects": {"id"},
        "/v1/filters": {"id"},
        "/v1/tasks/{task_id}/comments": {"id"},
        "/v1/webhooks": {"id"},
        "/v1/me/tokens": {"scopes"},
    }
    for (method, path), body in BODIES.items():
        for name, value in PRIVILEGED.items():
            if name in taken.get(path, ()):
                continue
            sent = {**filled(body, anything()), name: value}
            problem = assert_problem(await alice.call(method, filled(path, anything()), json=sent), 422)
            assert ["body", name] in [error["loc"] for error in problem["errors"]], (method, path)
    assert {path for method, path in routes(app) if method in {"POST", "PATCH", "PUT"}} - {p for _, p in BODIES} == {
        "/v1/auth/logout",
        "/v1/webhooks/{webhook_id}/test",
        "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
        "/v1/me/second-factor",
        "/v1/me/second-factor/recovery-codes",
        "/v1/trash/tasks/{deleted_task_id}/restore",
        "/v1/trash/projects/{deleted_project_id}/restore",
        "/v1/tasks/{task_id}/dependencies/{other_id}",
    }, "a route that takes a body is not among those that are tried"


@pytest.mark.parametrize("name", ["id", "is_verified", "is_admin", "email_key", "password_hash", "scopes"])
async def test_nobody_registers_as_more_than_they_are(http: httpx.AsyncClient, name: str) -> None:
    assert_problem(await http.post("/v1/auth/register", json={**ADA, name: PRIVILEGED[name]}), 422)


async def test_a_session_of_one_does_not_refresh_into_another(http: httpx.AsyncClient, state: State) -> None:
    """The successor of a token follows from it and the secret: without the secret nobody walks ahead."""
    await http.post("/v1/auth/register", json=ADA)
    form = {"username": ADA["email"], "password": ADA["password"]}
    pair = (await http.post("/v1/auth/token", data=form)).json()
    guessed = Keys([b"another secret, as long as the first one"], 900).successor(pair["refresh_token"])

    assert_problem(await http.post("/v1/auth/refresh", json={"refresh_token": guessed}), 401)
    assert (await http.post("/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]})).status_code == 200


async def test_what_is_refused_is_in_the_log_in_one_line_whatever_it_holds(
    http: httpx.AsyncClient, alice: Client, caplog: pytest.LogCaptureFixture
) -> None:
    script, _ = await made(alice, "tasks:read")
    with caplog.at_level("INFO", "tend.audit"):
        await http.get("/v1/me", headers={"Authorization": "Bearer forged"})
        await script.post("/v1/tasks", {"title": "x"})
        await http.get("/v1/x%0a{}", headers={"Authorization": "Bearer forged"})
        await alice.patch("/v1/me", {"name": "x"}, headers={"User-Agent": 'evil"\t} {"event": "signed_in"'})

    as_json = logs.formatter(as_json=True, words=False)
    lines = [as_json.format(record) for record in caplog.records if record.name == "tend.audit"]
    told = [json.loads(line) for line in lines]
    assert [(each["event"], each.get("status")) for each in told] == [
        ("refused", 401),
        ("refused", 403),
        ("account_changed", None),
    ]
    assert not any("\n" in line or "forged" in line for line in lines)
    assert told[2]["device"] == 'evil"} {"event": "signed_in"'
