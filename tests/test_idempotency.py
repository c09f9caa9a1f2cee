"""`Idempotency-Key`: the same request is done once and answered the same, and nothing else is taken for it."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from backend.scope import Scope
from backend.services import housekeeping
from backend.state import State
from tests.client import Client, Json, Statements, another_session
from tests.conftest import settings_for, worker
from tests.test_access_tokens import made
from tests.test_direct import BODIES as WRONG
from tests.test_direct import said
from tests.test_door import rival
from tests.test_input import assert_problem

KEPT = ("content-type", "content-length", "etag", "location")
BOTH_WAYS = pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
"""The direct way takes the first, and FastAPI the other."""

NO_STRINGS = [
    *("", '""', "x", "8e03978e-40d5-43e8-bc93-6894a57f9324", '"a', 'a"', '"a""b"', '"a\\b"', '"\\"', '"a";p=1'),
    *('"a", "b"', '"\x7f"', '"é"', f'"{"x" * 256}"', ":YQ==:", "?1", "7"),
]


def key(name: str = "", **others: str) -> Json:
    return {"headers": {"Idempotency-Key": f'"{name or uuid4()}"', **others}}


def shown(answer: httpx.Response) -> Any:
    return answer.status_code, answer.content, {name: answer.headers.get(name) for name in KEPT}


def assert_refused_key(answer: httpx.Response, words: str) -> None:
    [fault] = assert_problem(answer, 422)["errors"]
    assert fault["loc"] == ["header", "Idempotency-Key"]
    assert words in fault["msg"]


async def counter(state: State, user: Client) -> int:
    async with state.database.engine.connect() as connection:
        asked = text("SELECT seq FROM sync_state WHERE user_id = :u")
        return int((await connection.execute(asked, {"u": user.user_id})).scalar_one())


async def stored(state: State) -> int:
    async with state.database.engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM idempotency_keys"))).scalar_one())


@BOTH_WAYS
async def test_the_same_request_is_answered_the_same_and_done_once(
    alice: Client, state: State, content_type: str
) -> None:
    sent = {"content": b'{"title": "Water the figs"}', **key(**{"Content-Type": content_type})}

    first = await alice.post("/v1/tasks", **sent)
    number = await counter(state, alice)
    again = [await alice.post("/v1/tasks", **sent) for _ in range(3)]

    assert first.status_code == 201
    assert first.headers["Location"]
    assert first.headers["ETag"] == '"1"'
    assert "Idempotency-Replayed" not in first.headers
    for each in again:
        assert shown(each) == shown(first)
        assert each.headers["Idempotency-Replayed"] == "true"
        assert each.headers["Tend-Change"] == first.headers["Tend-Change"] == "1"
    assert (await alice.page())["total"] == 1
    assert await counter(state, alice) == number  # a replay is no change


async def test_what_is_told_again_is_what_was_then_and_the_change_number_is_that_of_now(alice: Client) -> None:
    same = key()
    task = (await alice.post("/v1/tasks", {"title": "First"}, **same)).json()
    await alice.patch(f"/v1/tasks/{task['id']}", {"title": "Second"})

    again = await alice.post("/v1/tasks", {"title": "First"}, **same)

    assert again.json() == task
    assert again.headers["Tend-Change"] == "2"


async def test_without_the_header_it_costs_nothing_and_with_it_four_statements(
    alice: Client, statements: Statements
) -> None:
    await alice.get("/v1/tasks")  # remembers the token
    counts = []
    for sent in ({}, same := key(), same):
        statements.clear()
        assert (await alice.post("/v1/tasks", {"title": "x"}, **sent)).status_code == 201
        counts.append(len(statements))

    assert counts == [1, 4, 2]


async def test_a_key_is_for_one_request_alone(alice: Client) -> None:
    task = await alice.add("First")
    same, body = key(), {"ids": [task["id"]], "set": {"title": "Changed"}}
    assert (await alice.patch("/v1/tasks/batch", body, **same)).status_code == 200

    others = [
        await alice.patch("/v1/tasks/batch", {**body, "set": {"title": "Other"}}, **same),
        await alice.post("/v1/tasks/batch", body, **same),
        await alice.patch(f"/v1/tasks/{task['id']}", body, **same),
        await alice.patch("/v1/tasks/batch?limit=1", body, **same),
        await alice.patch("/v1/tasks/batch", body, headers={**same["headers"], "If-Match": '"1"'}),
    ]

    for answer in others:
        assert_refused_key(answer, "another request had this key")
    assert await alice.titles() == ["Changed"]


async def test_another_user_s_same_key_never_meets_it(alice: Client, bob: Client) -> None:
    same = key("the same")

    answers = [await user.post("/v1/tasks", {"title": "x"}, **same) for user in (alice, bob)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] != answers[1].json()["id"]
    assert all("Idempotency-Replayed" not in answer.headers for answer in answers)


async def test_a_request_that_is_still_being_answered_is_409_and_done_once(alice: Client, state: State) -> None:
    same, mine = key(), Scope(alice.user_id, state.database)
    async with rival(mine):
        first = asyncio.create_task(alice.post("/v1/tasks", {"title": "x"}, **same))
        await asyncio.sleep(0.2)
        meanwhile = await alice.post("/v1/tasks", {"title": "x"}, **same)
        other = asyncio.create_task(alice.post("/v1/tasks", {"title": "y"}, **key()))

    assert assert_problem(meanwhile, 409)["type"] == "urn:tend:problem:in-flight"
    assert meanwhile.headers["Retry-After"] == "1"
    assert "Tend-Change" not in meanwhile.headers
    assert (await first).status_code == (await other).status_code == 201
    assert (await alice.post("/v1/tasks", {"title": "x"}, **same)).json() == (await first).json()
    assert (await alice.page())["total"] == 2


async def test_of_two_at_once_one_is_done_a_hundred_times(alice: Client) -> None:
    for n in range(100):
        same = key()
        path, body = ("/v1/tasks", {"title": f"{n}"}) if n % 2 else ("/v1/tasks/batch", {"tasks": [{"title": f"{n}"}]})
        answers = await asyncio.gather(*(alice.post(path, body, **same) for _ in range(2)))

        done = [answer for answer in answers if answer.status_code == 201]
        assert len([answer for answer in done if "Idempotency-Replayed" not in answer.headers]) == 1
        assert len({answer.content for answer in done}) == 1
        for answer in answers:
            if answer not in done:
                assert_problem(answer, 409)
    assert (await alice.page())["total"] == 100


@pytest.mark.parametrize("written", NO_STRINGS)
async def test_a_key_that_is_no_string_is_refused(alice: Client, written: str) -> None:
    headers = {"Idempotency-Key": written.encode("latin-1")}

    assert_refused_key(await alice.post("/v1/tasks", {"title": "x"}, headers=headers), "1 to 255 characters")
    assert await alice.titles() == []


@pytest.mark.parametrize("written", ['"x"', f'"{"x" * 255}"', '"\\"\\\\ !~"', '  "x"  '])
async def test_any_string_is_a_key(alice: Client, written: str) -> None:
    sent: Any = {"json": {"title": "x"}, "headers": {"Idempotency-Key": written}}

    first, second = [await alice.post("/v1/tasks", **sent) for _ in range(2)]

    assert shown(first) == shown(second)
    assert (first.status_code, (await alice.page())["total"]) == (201, 1)


async def test_two_keys_are_refused(alice: Client) -> None:
    headers = [("Authorization", f"Bearer {alice.token}"), ("Idempotency-Key", '"a"'), ("Idempotency-Key", '"a"')]

    assert_refused_key(await alice.http.post("/v1/tasks", json={"title": "x"}, headers=headers), "given twice")


async def test_a_refusal_is_not_kept_and_the_same_request_may_do_better(alice: Client, state: State) -> None:
    saved, same = await alice.save("Garden", "#garden"), key()
    body = {"name": "Garden", "filter": "#figs"}

    for _ in range(2):
        answer = await alice.post("/v1/filters", body, **same)
        assert_problem(answer, 409)
        assert "Retry-After" not in answer.headers
    assert await stored(state) == 0
    await alice.delete(f"/v1/filters/{saved['id']}")

    assert (await alice.post("/v1/filters", body, **same)).status_code == 201
    assert (await alice.post("/v1/filters", body, **same)).headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(("body", "headers"), WRONG, ids=[str(body[:24]) + str(len(heads)) for body, heads in WRONG])
async def test_it_changes_no_other_answer(alice: Client, body: bytes, headers: dict[str, str]) -> None:
    without = said(await alice.post("/v1/tasks", content=body, headers=headers))

    assert said(await alice.post("/v1/tasks", content=body, **key(**headers))) == without


async def test_a_body_that_no_route_would_take_is_read_no_further(
    alice: Client,
) -> None:
    read = 0

    async def pieces() -> Any:
        nonlocal read
        for _ in range(64):
            read += 1
            yield b" " * 1024 * 1024

    answer = await alice.post("/v1/tasks", content=pieces(), **key(**{"Content-Type": "application/json"}))

    assert_problem(answer, 413)
    assert read < 20


async def test_strangers_and_paths_that_are_not_there_are_answered_as_ever(
    http: httpx.AsyncClient, alice: Client
) -> None:
    assert_problem(await http.post("/v1/tasks", json={"title": "x"}, **key()), 401)
    assert_problem(await alice.post("/v1/nothing", {"title": "x"}, **key()), 404)
    assert_problem(await alice.post(f"/v1/tasks/{uuid4()}", {"title": "x"}, **key()), 405)
    refused = await alice.patch("/v1/tags/%0A", {}, headers={"Idempotency-Key": "no quotes"})
    assert assert_problem(refused, 422)["errors"][0]["loc"] == ["header", "Idempotency-Key"]
    for path in ("/v1/filters", "/v1/auth/token"):  # whatever the key, and whether the path takes one
        answer = await alice.patch(path, {}, headers={"Idempotency-Key": "no quotes"})
        assert "POST" in assert_problem(answer, 405)["detail"]


async def test_what_fails_after_the_write_is_undone(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_version: int) -> str:
        raise RuntimeError("after the write")

    same = key()
    with monkeypatch.context() as patched:
        patched.setattr("backend.routers.tasks.etag", fails)
        failed = await alice.post("/v1/tasks", {"title": "x"}, **same)

    assert_problem(failed, 500)
    assert "Tend-Change" not in failed.headers
    assert await alice.titles() == []
    assert (await alice.post("/v1/tasks", {"title": "x"}, **same)).status_code == 201


async def test_a_lesser_token_hears_nothing_of_it(alice: Client) -> None:
    same = key()
    assert (await alice.post("/v1/tasks", {"title": "Secret"}, **same)).status_code == 201
    lesser, _ = await made(alice, "tasks:read")

    answer = await lesser.post("/v1/tasks", {"title": "Secret"}, **same)

    assert_refused_key(answer, "another request")
    assert_problem(await lesser.post("/v1/tasks", {"title": "Secret"}, **key()), 403)


async def test_another_sign_in_of_the_same_user_hears_it(alice: Client, state: State) -> None:
    same = key()
    first = await alice.post("/v1/tasks", {"title": "x"}, **same)
    elsewhere = await another_session(alice.http, state, alice.user_id, alice.email)

    assert shown(await elsewhere.post("/v1/tasks", {"title": "x"}, **same)) == shown(first)


async def test_a_batch_of_a_thousand_is_told_again_whole(alice: Client) -> None:
    same, batch = key(), {"tasks": [{"title": f"Ümläut {n}", "description": "x" * 500} for n in range(1_000)]}

    first, second = [await alice.post("/v1/tasks/batch", batch, **same) for _ in range(2)]

    assert shown(first) == shown(second)
    assert len(second.json()["items"]) == (await alice.page())["total"] == 1_000


async def test_a_request_counts_once_in_the_user_s_minute(alice: Client, state: State, tmp_path: Path) -> None:
    assert state.settings.direct_database_url
    limited = settings_for(state.settings.direct_database_url, tmp_path, api_requests_per_minute=100)
    async with worker(limited) as (_, http):
        client = await another_session(http, state, alice.user_id, alice.email)
        same, left = key(), []
        for _ in range(3):
            answer = await client.post("/v1/tasks", {"title": "x"}, **same)
            [told] = answer.headers.get_list("RateLimit")
            left.append(int(told.split(";")[1].removeprefix("r=")))

    assert left == [99, 98, 97]


async def test_keys_go_after_a_day_and_nobody_else_s_with_them(
    alice: Client, bob: Client, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 1)
    same = [key("same"), key("other")]
    for user in (alice, bob):
        for each in same:
            assert (await user.post("/v1/tasks", {"title": "x"}, **each)).status_code == 201
    async with state.database.engine.connect() as connection:
        older = "UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 minute' WHERE user_id = :u"
        young = "UPDATE idempotency_keys SET created_at = now() - interval '23 hours 59 minutes' WHERE user_id = :u"
        for sql, user in ((older, alice), (young, bob)):
            await connection.execute(text(sql), {"u": user.user_id})

    await housekeeping.clean(state.database)

    for each in same:
        assert "Idempotency-Replayed" not in (await alice.post("/v1/tasks", {"title": "x"}, **each)).headers
        assert "Idempotency-Replayed" in (await bob.post("/v1/tasks", {"title": "x"}, **each)).headers
