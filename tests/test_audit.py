"""The audit trail: what it tells, to whom, and what it never does."""

import json
import logging
from typing import Any

import httpx
import pytest
from psycopg.errors import CheckViolation

from backend.services import sessions
from backend.services.audit import Caller
from backend.services.recognition import Recognition
from backend.state import State
from tests.client import Client, Json
from tests.test_access_tokens import made
from tests.test_input import assert_problem
from tests.test_own_account import ADA, NEW, ada, sign_in

__all__ = ["ada"]


def fields_of(record: logging.LogRecord) -> Json:
    fields: Any = record.msg
    return dict(fields)


async def events(client: Client, **parameters: Any) -> list[Json]:
    answer = await client.get("/v1/me/audit", params=parameters)
    assert answer.status_code == 200, answer.text
    items: list[Json] = answer.json()["items"]
    return items


async def test_the_trail_tells_what_happened_newest_first(
    ada: Client, http: httpx.AsyncClient, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "tend.audit"):
        await sign_in(http, "wrong")
        await state.later.settled()
        _, token = await made(ada, "tasks:read", "account")
        await ada.delete(f"/v1/me/tokens/{token['id']}")
        await ada.post("/v1/me/password", {"current_password": ADA["password"], "new_password": NEW})
        await ada.delete("/v1/me/sessions")

    found = await events(ada)

    kinds = [event["kind"] for event in found]
    assert kinds == ["password_changed", "token_revoked", "token_created", "sign_in_failed", "signed_in"]
    assert found[2]["detail"] == {"token": token["id"], "name": "A script", "scopes": ["account", "tasks:read"]}
    assert {event["address"] for event in found} == {"127.0.0.1"}
    assert set(found[0]) == {"id", "at", "kind", "address", "device", "detail"}
    logged = [fields_of(record) for record in caplog.records if record.name == "tend.audit"]
    assert [each["event"] for each in logged] == kinds[-2::-1]
    assert {each["user"] for each in logged} == {str(ada.user_id)}
    for secret in (ADA["password"], NEW, "wrong", token["token"], ada.token):
        assert secret not in caplog.text
        assert secret not in json.dumps(found)


async def test_a_failure_without_an_account_is_in_the_log_alone(
    http: httpx.AsyncClient, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "tend.audit"):
        await http.post("/v1/auth/token", data={"username": "nobody@example.com", "password": "secret words"})
        await state.later.settled()

    (record,) = [record for record in caplog.records if record.name == "tend.audit"]
    told = fields_of(record)
    assert (told["event"], told["user"]) == ("sign_in_failed", None)
    assert "secret words" not in caplog.text


async def test_the_trail_is_walked_by_cursor_and_is_one_s_own(alice: Client, bob: Client, state: State) -> None:
    for n in range(5):
        await alice.patch("/v1/me", {"name": f"Alice {n}"})
    seen: list[Json] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await alice.get("/v1/me/audit", params={"limit": 2, **cursor})).json()
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert seen == await events(alice)
    assert len(seen) == 6
    assert_problem(await bob.get("/v1/me/audit", params=cursor), 422)
    assert_problem(await alice.get("/v1/me/audit", params={"cursor": "x"}), 422)
    assert_problem(await alice.get("/v1/me/audit", params={"limit": 201}), 422)
    assert [event["kind"] for event in await events(bob)] == ["signed_in"]


async def test_an_event_is_stored_with_what_it_tells_of_or_neither_is(alice: Client, recognition: Recognition) -> None:
    """A device that is too long breaks the event, and with it the change."""
    mine = await recognition.scope_of(alice.token)

    with pytest.raises(CheckViolation, match="device_length"):
        await sessions.sign_out(mine, Caller("x", "x" * 201))

    assert len((await alice.get("/v1/me/sessions")).json()["items"]) == 1


async def test_a_refresh_token_that_comes_back_is_in_the_trail(
    http: httpx.AsyncClient, ada: Client, state: State
) -> None:
    pair = (await sign_in(http)).json()
    first = pair["refresh_token"]
    second = (await http.post("/v1/auth/refresh", json={"refresh_token": first})).json()["refresh_token"]
    await http.post("/v1/auth/refresh", json={"refresh_token": second})
    assert_problem(await http.post("/v1/auth/refresh", json={"refresh_token": first}), 401)

    assert (await events(ada))[0]["kind"] == "refresh_token_reused"
