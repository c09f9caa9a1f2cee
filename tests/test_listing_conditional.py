"""Conditional listings: a 304 exactly when the answer is the one that the client has."""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from backend.state import State
from tests.client import Client, Json, Statements, fresh_account
from tests.clock import stop_at

numbers = count()
NOBODY = "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55"


async def ask(client: Client, known: str | None = None, **parameters: Any) -> httpx.Response:
    """With `known` as If-None-Match."""
    answer = await client.get("/v1/tasks", params=parameters, headers={"If-None-Match": known} if known else {})
    assert answer.status_code in {200, 304}, answer.text
    return answer


async def mark_of(client: Client, **parameters: Any) -> str:
    mark: str = (await ask(client, **parameters)).headers["ETag"]
    return mark


async def test_a_listing_in_which_nothing_changed_is_a_304_without_a_body(alice: Client) -> None:
    await alice.add("figs")
    mark = await mark_of(alice)

    answer = await ask(alice, mark)

    assert answer.status_code == 304
    assert answer.content == b""
    assert answer.headers["ETag"] == mark
    assert "content-length" not in answer.headers


async def test_the_mark_is_weak(alice: Client) -> None:
    mark = await mark_of(alice)

    assert mark.startswith('W/"')
    assert mark.endswith('"')


Write = Callable[[Client, Json], Awaitable[Any]]
WRITES: dict[str, Write] = {
    "create": lambda client, _: client.add("lemons"),
    "patch": lambda client, task: client.patch(f"/v1/tasks/{task['id']}", {"title": "palms"}),
    "patch to the same": lambda client, task: client.patch(f"/v1/tasks/{task['id']}", {"title": task["title"]}),
    "delete": lambda client, task: client.delete(f"/v1/tasks/{task['id']}"),
    "batch create": lambda client, _: client.add_many([{"title": "lemons"}]),
    "batch patch": lambda client, task: client.call(
        "PATCH", "/v1/tasks/batch", json={"ids": [task["id"]], "set": {"completed": True}}
    ),
    "batch delete": lambda client, task: client.post("/v1/tasks/batch/delete", {"ids": [task["id"]]}),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_ends_the_mark(alice: Client, write: str) -> None:
    task = await alice.add("figs")
    before = await ask(alice)

    await WRITES[write](alice, task)

    after = await ask(alice, before.headers["ETag"])
    assert after.status_code == 200
    assert after.json() != before.json()
    assert after.headers["ETag"] != before.headers["ETag"]
    assert (await ask(alice, after.headers["ETag"])).status_code == 304


# Each of a write that changes nothing, and may or may not burn a number.
REFUSED: dict[str, Write] = {
    "nothing to patch": lambda client, task: client.patch(f"/v1/tasks/{task['id']}", {}),
    "not there": lambda client, _: client.patch(f"/v1/tasks/{NOBODY}", {"title": "palms"}),
    "already there": lambda client, task: client.post("/v1/tasks", {"title": "palms", "id": task["id"]}),
    "another version": lambda client, task: client.patch(
        f"/v1/tasks/{task['id']}", {"title": "palms"}, headers={"If-Match": '"999"'}
    ),
    "not all there": lambda client, task: client.post("/v1/tasks/batch/delete", {"ids": [task["id"], NOBODY]}),
    "not valid": lambda client, _: client.post("/v1/tasks", {"title": ""}),
}


@pytest.mark.parametrize("refused", REFUSED)
async def test_a_write_that_was_refused_leaves_the_answer_true(alice: Client, refused: str) -> None:
    task = await alice.add("figs")
    before = await ask(alice)

    await REFUSED[refused](alice, task)

    after = await ask(alice, before.headers["ETag"])
    assert after.status_code == 304 or after.json() == before.json()
    assert (await ask(alice, (await ask(alice)).headers["ETag"])).status_code == 304


async def test_another_users_changes_do_not_end_the_mark(alice: Client, bob: Client) -> None:
    mark = await mark_of(alice)
    await bob.add("figs")

    assert (await ask(alice, mark)).status_code == 304


async def test_another_users_mark_is_worth_nothing(alice: Client, bob: Client) -> None:
    await alice.add("figs")
    await bob.add("lemons")

    assert (await ask(alice, await mark_of(bob))).status_code == 200


@pytest.mark.parametrize(
    "parameters",
    [
        {"overdue": "true"},
        {"overdue": "false"},
        {"filter": "is:overdue"},
        {"filter": "tag:home or -(figs is:overdue)"},
    ],
    ids=str,
)
async def test_a_listing_that_changes_with_the_clock_has_no_mark(alice: Client, parameters: Json) -> None:
    other = await mark_of(alice)

    for known in (None, other, "*"):
        answer = await ask(alice, known, **parameters)
        assert answer.status_code == 200
        assert "ETag" not in answer.headers


async def test_a_task_becomes_overdue_without_a_write_and_the_listing_says_so(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alice.add("figs", due_date="2031-05-08T12:00:00Z")
    stop_at(monkeypatch, "2031-05-08T12:00:00Z")
    assert await alice.titles(filter="is:overdue") == []

    stop_at(monkeypatch, "2031-05-08T12:00:01Z")

    assert await alice.titles(filter="is:overdue") == ["figs"]
    assert (await ask(alice, "*", filter="is:overdue")).json()["total"] == 1


async def test_a_relative_day_is_another_question_after_midnight(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alice.add("figs", due_date="2031-05-08T22:00:00Z")  # the first instant of the 9th in Berlin
    tomorrow = {"filter": "due<tomorrow", "tz": "Europe/Berlin"}
    stop_at(monkeypatch, "2031-05-08T23:59:59.999999+02:00")
    before = await ask(alice, **tomorrow)
    assert before.json()["total"] == 0
    assert (await ask(alice, before.headers["ETag"], **tomorrow)).status_code == 304

    stop_at(monkeypatch, "2031-05-09T00:00:00+02:00")
    after = await ask(alice, before.headers["ETag"], **tomorrow)

    assert after.status_code == 200
    assert after.json()["total"] == 1
    assert after.headers["ETag"] != before.headers["ETag"]


async def test_a_walk_that_began_yesterday_keeps_its_days_and_its_mark(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alice.add_many([{"title": f"due {day}", "due_date": f"2031-05-0{day}T12:00:00Z"} for day in (6, 7, 8)])
    stop_at(monkeypatch, "2031-05-08T23:59:59Z")
    today: Json = {"filter": "due<today", "limit": 1, "sort": "due_date"}
    first = await ask(alice, **today)
    following = {**today, "cursor": first.json()["next_cursor"]}
    second = await ask(alice, **following)
    assert [task["title"] for task in second.json()["items"]] == ["due 7"]
    assert second.json()["next_cursor"] is None

    stop_at(monkeypatch, "2031-05-09T00:00:00Z")

    assert (await ask(alice, **following)).json()["items"] == second.json()["items"]
    assert (await ask(alice, second.headers["ETag"], **following)).status_code == 304
    assert (await ask(alice, first.headers["ETag"], **today)).status_code == 200


async def test_head_answers_like_get_without_the_body(alice: Client) -> None:
    await alice.add_many([{"title": "figs"}] * 2)
    got = await ask(alice, limit=1)

    headed = await alice.call("HEAD", "/v1/tasks", params={"limit": 1})
    known = await alice.call("HEAD", "/v1/tasks", params={"limit": 1}, headers={"If-None-Match": got.headers["ETag"]})

    assert (headed.status_code, known.status_code) == (200, 304)
    assert {name: headed.headers.get(name) for name in ("etag", "link", "content-length")} == {
        name: got.headers.get(name) for name in ("etag", "link", "content-length")
    }
    assert known.headers["ETag"] == got.headers["ETag"]


async def test_a_304_reads_nothing_but_the_counter(alice: Client, statements: Statements) -> None:
    await alice.add("figs")
    mark = await mark_of(alice, filter="figs or tag:home", facets="tag")
    for known in (mark, "*"):
        statements.clear()

        assert (await ask(alice, known, filter="figs or tag:home", facets="tag")).status_code == 304

        [read] = statements
        assert "FROM sync_state" in read
        assert "sync_state.user_id = $1" in read
        assert "tasks" not in read


async def test_a_listing_costs_a_second_statement_only_for_a_mark_that_is_stale(
    alice: Client, statements: Statements
) -> None:
    stale = await mark_of(alice)
    other = await mark_of(alice, limit=1)
    await alice.add("figs")

    for known, trips in ((None, 1), (stale, 2), (other, 1), ('"x"', 1)):
        statements.clear()
        assert (await ask(alice, known)).status_code == 200
        assert len(statements) == trips, known


async def test_a_database_that_was_restored_and_counts_once_more_is_not_taken_for_itself(
    alice: Client, state: State
) -> None:
    await alice.add("figs")
    mark = await mark_of(alice)
    async with state.database.engine.connect() as connection:
        await connection.execute(
            text("UPDATE sync_state SET epoch = gen_random_uuid()").execution_options(crosses_users="restored")
        )

    assert (await ask(alice, mark)).status_code == 200


changes = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["figs", "lemons"])),
    st.tuples(st.sampled_from(["complete", "delete", "tag", "nothing", "refused", "other user"]), st.integers(0, 5)),
)
reads = st.tuples(
    st.just("read"),
    st.sampled_from(
        [
            {},
            {"limit": 1},
            {"status": "pending", "facets": "tag,status"},
            {"search": "figs"},
            {"filter": "tag:home or figs", "sort": "title", "limit": 2},
            {"filter": "due<tomorrow or is:pending", "count": "estimate"},
            {"search": "figgs"},
        ]
    ),
)


@given(st.lists(reads | changes, min_size=10, max_size=40))
@settings(max_examples=20)
async def test_whenever_it_is_a_304_the_client_has_the_answer(
    http: httpx.AsyncClient, state: State, steps: list[tuple[str, Any]]
) -> None:
    client = await fresh_account(http, state, f"user{next(numbers)}")
    other = await fresh_account(http, state, f"other{next(numbers)}")
    cached: dict[str, httpx.Response] = {}
    ids: list[str] = []
    changed: set[str] = set()  # the questions since whose answer a write succeeded
    for name, value in steps:
        if name == "read":
            key = str(value)
            known = cached.get(key)
            answer = await ask(client, known.headers["ETag"] if known else None, **value)
            fresh = await ask(client, **value)
            if answer.status_code == 304:
                assert known is not None
                assert body_of(known) == body_of(fresh)
                assert answer.headers["ETag"] == fresh.headers["ETag"]
            else:
                assert known is None or key in changed
                assert body_of(answer) == body_of(fresh)
                cached[key] = answer
                changed.discard(key)
        elif name == "other user":
            await other.add("figs")
        elif await happen(client, ids, name, value):
            changed |= cached.keys()


def body_of(answer: httpx.Response) -> Json:
    """The place at which a walk goes on may say when it began, which changes nothing about it."""
    body: Json = answer.json()
    return {**body, "next_cursor": body["next_cursor"] is not None}


async def happen(client: Client, ids: list[str], name: str, value: Any) -> bool:
    """Whether a number was or may have been used."""
    if name == "add":
        ids.append((await client.add(value))["id"])
        return True
    if name == "refused":
        assert (await client.patch(f"/v1/tasks/{NOBODY}", {"title": "x"})).status_code == 404
        return True
    if not ids:
        return False
    own = ids[value % len(ids)]
    if name == "delete":
        assert (await client.delete(f"/v1/tasks/{ids.pop(value % len(ids))}")).status_code == 204
        return True
    patches: dict[str, Json] = {"complete": {"completed": True}, "tag": {"tags": ["home"]}, "nothing": {}}
    patch = patches[name]
    assert (await client.patch(f"/v1/tasks/{own}", patch)).status_code == 200
    return bool(patch)
