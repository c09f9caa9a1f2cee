"""Saved filters, one by one and listed."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from backend.errors import NotFound, PreconditionFailed
from backend.schemas.saved_filters import SavedFilterCreate
from backend.scope import Scope
from backend.services import saved_filters
from backend.services.task_query import FILTERS
from tests.client import Client, Json, Statements
from tests.test_door import rival, rivals_change
from tests.test_input import JSON, assert_problem
from tests.test_tasks import ISO

FULL: Json = {"name": "Home, soon", "filter": "tag:home due<=+1w", "sort": "due_date", "order": "desc"}


async def listed(client: Client, query: str = "") -> Json:
    answer = await client.get(f"/v1/filters{query}")
    assert answer.status_code == 200, answer.text
    page: Json = answer.json()
    return page


async def names(client: Client, query: str = "") -> list[str]:
    return [saved["name"] for saved in (await listed(client, query))["items"]]


async def test_a_filter_comes_back_as_it_was_sent(alice: Client) -> None:
    answer = await alice.post("/v1/filters", FULL)
    saved = answer.json()

    assert answer.status_code == 201
    assert list(saved) == ["id", "name", "filter", "sort", "order", "version", "created_at", "updated_at"]
    assert {name: saved[name] for name in FULL} == FULL
    assert saved["created_at"] == saved["updated_at"]
    assert ISO.fullmatch(saved["created_at"])
    assert answer.headers["Location"] == f"/v1/filters/{saved['id']}"
    assert answer.headers["ETag"] == f'"{saved["version"]}"'
    assert (await alice.get(answer.headers["Location"])).json() == saved


async def test_a_name_and_a_text_are_enough_and_both_are_trimmed(alice: Client) -> None:
    saved = await alice.save("  Today \n", '  due:TODAY  ("deep work")  ')

    assert (saved["name"], saved["filter"]) == ("Today", 'due:TODAY  ("deep work")')
    assert (saved["sort"], saved["order"]) == (None, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x" * 100),
        ("name", "ﷺ" * 100),  # its sort key unfolds to 18 times its length
        ("name", '"quoted" \\ 👩‍👩‍👧‍👦'),
        ("filter", "x" * 1_000),
        ("filter", "🍋" * 1_000),
        *(("sort", sort) for sort in ("created", "updated", "title", "priority", "due_date", None)),
        *(("order", order) for order in ("asc", "desc", None)),
    ],
)
async def test_what_is_just_allowed_is_kept(alice: Client, field: str, value: Any) -> None:
    saved = (await alice.post("/v1/filters", {"name": "x", "filter": "figs", field: value})).json()

    assert saved[field] == value
    assert (await alice.get(f"/v1/filters/{saved['id']}")).json() == saved


REFUSED: dict[str, list[Any]] = {
    "name": ["", "  ", "x" * 101, None, 5, True, ["a"], "a\0b", "a\ud800b"],
    "filter": ["", "  ", "x" * 1_001, None, 5, ["figs"], "figs\0", "figs\ud800", "priority:urgent", "tag:home or", '"'],
    "sort": ["relevance", "Title", "", "name", 1, True, []],
    "order": ["descending", "ASC", "", 1, False, []],
    "id": ["x", "urn:uuid:01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55", "01997f3e5a2b7c319d048b1f6f1c2a55", 7],
    **{name: ["2026-01-01T00:00:00Z"] for name in ("created_at", "updated_at", "deleted_at")},
    **{name: [1] for name in ("version", "user_id", "name_key", "search")},
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in REFUSED.items() for value in values])
async def test_a_filter_that_cannot_be_meant_is_422_and_says_where(alice: Client, field: str, value: Any) -> None:
    wrong = json.dumps({"name": "x", "filter": "figs", field: value}).encode()
    problem = assert_problem(await alice.post("/v1/filters", content=wrong, headers=JSON), 422)

    assert [fault["loc"] for fault in problem["errors"]] == [["body", field]]
    assert await names(alice) == []
    saved = await alice.save("Kept", "figs")
    path = f"/v1/filters/{saved['id']}"
    patched = await alice.call("PATCH", path, content=json.dumps({field: value}).encode(), headers=JSON)
    assert assert_problem(patched, 422)["errors"][0]["loc"] == ["body", field]
    assert (await alice.get(path)).json() == saved


@pytest.mark.parametrize(
    "wrong", ["  priority:urgent ", "figs (tag:home or", "due<=frday", '"open', "(" * 11 + "x", "a " * 51]
)
async def test_a_wrong_text_is_refused_in_the_words_of_the_listing(alice: Client, wrong: str) -> None:
    asked = assert_problem(await alice.get("/v1/tasks", params={"filter": wrong}), 422)["errors"]
    posted = assert_problem(await alice.post("/v1/filters", {"name": "x", "filter": wrong}), 422)["errors"]

    assert asked[0]["msg"].startswith("At character ")
    assert posted == [{**asked[0], "loc": ["body", "filter"]}]


async def test_a_client_may_bring_the_id_and_only_once(alice: Client, bob: Client) -> None:
    own = str(uuid4())
    hers, his = await alice.save("Mine", "figs", id=own), await bob.save("Mine", "lemons", id=own)

    again = await alice.post("/v1/filters", {"name": "Again", "filter": "figs", "id": own})

    assert hers["id"] == his["id"] == own
    assert "id" in assert_problem(again, 409)["detail"]
    await alice.delete(f"/v1/filters/{own}")
    assert (await alice.post("/v1/filters", {"name": "Again", "filter": "figs", "id": own})).status_code == 409
    assert (await bob.get(f"/v1/filters/{own}")).json() == his


async def test_a_name_is_there_once_for_each_user_and_free_again_when_deleted(alice: Client, bob: Client) -> None:
    first = await alice.save("Today", "due:today")
    other = await alice.save("today", "due:today")  # case tells
    await bob.save("Today", "due:today")

    again = await alice.post("/v1/filters", {"name": " Today ", "filter": "figs"})
    renamed = await alice.patch(f"/v1/filters/{other['id']}", {"name": "Today"})

    for refused in (again, renamed):
        assert "name" in assert_problem(refused, 409)["detail"]
    assert (await alice.patch(f"/v1/filters/{first['id']}", {"name": "Today"})).status_code == 200
    await alice.delete(f"/v1/filters/{first['id']}")
    assert (await alice.patch(f"/v1/filters/{other['id']}", {"name": "Today"})).status_code == 200


async def test_of_many_filters_of_one_name_at_once_one_wins(alice: Client) -> None:
    answers = await asyncio.gather(
        *(alice.post("/v1/filters", {"name": "Today", "filter": f"figs{n}"}) for n in range(8))
    )

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    winner = next(answer.json() for answer in answers if answer.status_code == 201)
    assert (await listed(alice))["items"] == [winner]


async def test_of_many_renamed_to_one_name_at_once_one_wins(alice: Client) -> None:
    made = [await alice.save(f"Filter {n}", "figs") for n in range(6)]

    answers = await asyncio.gather(*(alice.patch(f"/v1/filters/{saved['id']}", {"name": "Today"}) for saved in made))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    assert (await names(alice)).count("Today") == 1


async def test_a_filter_that_a_rival_deleted_first_is_not_found(mine: Scope) -> None:
    filter_id, stored = await saved_filters.create(mine, SavedFilterCreate(name="Old", filter="figs"))
    async with rival(mine) as connection:
        await rivals_change(connection, mine, filter_id, FILTERS, deleted_at=text("now()"))
        waiting = [
            asyncio.create_task(saved_filters.remove(mine, filter_id, expected))
            for expected in (None, [stored.version])
        ]
        await asyncio.sleep(0.2)

    with pytest.raises(NotFound):
        await waiting[0]
    with pytest.raises(PreconditionFailed):
        await waiting[1]


@pytest.mark.parametrize(
    ("sent", "changed"),
    [
        ({"name": " New "}, {"name": "New"}),
        ({"filter": " -figs "}, {"filter": "-figs"}),
        ({"sort": "title"}, {"sort": "title"}),
        ({"sort": None}, {"sort": None}),
        ({"order": None}, {"order": None}),
        ({"sort": None, "order": "asc"}, {"sort": None, "order": "asc"}),
    ],
)
async def test_a_patch_changes_what_it_names_and_nothing_else(alice: Client, sent: Json, changed: Json) -> None:
    before = (await alice.post("/v1/filters", FULL)).json()

    answer = await alice.patch(f"/v1/filters/{before['id']}", sent)
    after = answer.json()

    assert answer.status_code == 200
    assert answer.headers["ETag"] == f'"{after["version"]}"'
    assert after == {**before, **changed, "version": after["version"], "updated_at": after["updated_at"]}
    assert after["version"] > before["version"]
    assert after["updated_at"] > before["updated_at"]
    assert (await listed(alice))["items"] == [after]


async def test_an_empty_patch_changes_nothing_and_makes_no_version(alice: Client) -> None:
    saved = await alice.save("Same", "figs")

    answer = await alice.patch(f"/v1/filters/{saved['id']}", {})

    assert (answer.status_code, answer.json()) == (200, saved)
    assert (await alice.add("Next"))["version"] == saved["version"] + 1


async def test_filters_and_tasks_are_numbered_by_one_counter(alice: Client, bob: Client) -> None:
    await bob.save("His", "figs")
    saved = await alice.save("First", "figs")
    task = await alice.add("Second")
    edited = (await alice.patch(f"/v1/filters/{saved['id']}", {"filter": "lemons"})).json()

    assert [saved["version"], task["version"], edited["version"]] == [1, 2, 3]


async def test_a_stale_if_match_changes_nothing(alice: Client) -> None:
    saved = await alice.save("First", "figs")
    path, stale = f"/v1/filters/{saved['id']}", {"If-Match": f'"{saved["version"]}"'}
    await alice.patch(path, {"name": "Second"}, headers=stale)

    for refused in (
        await alice.patch(path, {"name": "Third"}, headers=stale),
        await alice.patch(path, {}, headers=stale),
        await alice.delete(path, headers=stale),
    ):
        assert_problem(refused, 412)
    assert await names(alice) == ["Second"]


@pytest.mark.parametrize("header", ['"{}"', 'W/"{}"', "*", '"0", "{}"'])
async def test_a_filter_that_has_not_changed_is_304_without_a_body(alice: Client, header: str) -> None:
    saved = await alice.save("Same", "figs")
    headers = {"If-None-Match": header.format(saved["version"])}

    answer = await alice.get(f"/v1/filters/{saved['id']}", headers=headers)

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == f'"{saved["version"]}"'


async def test_a_deleted_filter_is_gone_like_one_that_never_was(alice: Client) -> None:
    saved = await alice.save("Old", "figs")
    gone = await alice.delete(f"/v1/filters/{saved['id']}", headers={"If-Match": f'"{saved["version"]}"'})

    assert (gone.status_code, gone.content) == (204, b"")
    for path in (f"/v1/filters/{saved['id']}", f"/v1/filters/{uuid4()}"):
        for headers in ({}, {"If-Match": '"1"'}):
            assert_problem(await alice.get(path, headers=headers), 404)
            assert_problem(await alice.patch(path, {"name": "x"}, headers=headers), 404)
            assert_problem(await alice.patch(path, {}, headers=headers), 404)
            assert_problem(await alice.delete(path, headers=headers), 404)
    assert await listed(alice) == {"items": [], "next_cursor": None}


async def test_filters_are_listed_by_name_without_regard_to_case_and_accents(alice: Client, bob: Client) -> None:
    await bob.save("His", "figs")
    for name in ("work", "Zürich", "today", "Éclairs", "Today", "errands"):
        await alice.save(name, "figs")

    found = await names(alice)

    assert found[:2] + found[4:] == ["Éclairs", "errands", "work", "Zürich"]
    assert set(found[2:4]) == {"today", "Today"}


@pytest.mark.parametrize("limit", [1, 2, 5, 6])
async def test_cursors_lead_through_every_filter(alice: Client, bob: Client, limit: int) -> None:
    wanted = ["A", "a", "b b", "Ä", "ç"]
    for name in wanted:
        await alice.save(name, "figs")
    whole, walked, query = await names(alice), [], f"?limit={limit}"

    while query:
        page = await listed(alice, query)
        walked += [saved["name"] for saved in page["items"]]
        assert len(page["items"]) <= limit
        assert len(walked) <= len(whole)
        query = f"?limit={limit}&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        if query:
            assert_problem(await bob.get(f"/v1/filters{query}"), 422)

    assert walked == whole
    assert sorted(whole) == sorted(wanted)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=", "page=2", "limit=1&limit=1"]
)
async def test_what_the_list_cannot_be_asked_is_refused(alice: Client, query: str) -> None:
    problem = assert_problem(await alice.get(f"/v1/filters?{query}"), 422)

    assert [fault["loc"] for fault in problem["errors"]] == [["query", query.partition("=")[0]]]


async def test_each_route_is_one_statement(alice: Client, statements: Statements) -> None:
    saved = await alice.save("Counted", "figs")
    path = f"/v1/filters/{saved['id']}"

    for method, address, body in (
        ("POST", "/v1/filters", {"name": "New", "filter": "figs"}),
        ("GET", "/v1/filters", None),
        ("GET", path, None),
        ("PATCH", path, {"name": "x", "sort": None}),
        ("PATCH", path, {}),
        ("DELETE", path, None),
    ):
        statements.clear()
        answer = await alice.call(method, address, **({"json": body} if body is not None else {}))
        assert answer.is_success
        assert len(statements) == 1, (method, address, statements)
