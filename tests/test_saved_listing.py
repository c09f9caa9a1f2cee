"""The listing by a saved filter: `GET /v1/tasks?saved=`."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from backend.services import listing
from tests.client import Client, Json, Statements
from tests.test_input import assert_problem
from tests.test_listing import Clock

TASKS: list[Json] = [
    {"title": "c figs", "priority": "high", "tags": ["home"], "due_date": "2026-05-12T12:00:00Z"},
    {"title": "a figs", "priority": "low", "tags": ["home"], "due_date": "2026-05-11T12:00:00Z"},
    {"title": "d figs", "priority": "low", "tags": ["work"]},
    {"title": "b lemons", "priority": "medium", "tags": ["home"]},
]


async def edited(client: Client, saved: Json, **sent: Any) -> None:
    assert (await client.patch(f"/v1/filters/{saved['id']}", sent)).status_code == 200


async def etag(client: Client, **parameters: Any) -> str:
    return (await client.get("/v1/tasks", params=parameters)).headers["ETag"]


async def known(client: Client, tag: str, **parameters: Any) -> int:
    answer = await client.get("/v1/tasks", params=parameters, headers={"If-None-Match": tag})
    assert (answer.content == b"") == (answer.status_code == 304)
    return answer.status_code


async def refused(client: Client, saved_id: str, **parameters: Any) -> list[Json]:
    problem = assert_problem(await client.get("/v1/tasks", params={"saved": saved_id, **parameters}), 422)
    faults: list[Json] = problem["errors"]
    return faults


async def test_a_saved_filter_finds_what_its_text_finds(alice: Client) -> None:
    await alice.add_many(TASKS)
    saved = await alice.save("Home", "tag:home or -figs")

    page = await alice.page(saved=saved["id"])

    assert page == await alice.page(filter="tag:home or -figs")
    assert (page["total"], [task["title"] for task in page["items"]]) == (3, ["b lemons", "a figs", "c figs"])


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ({"filter": "figs or tag:work"}, ["a figs", "c figs"]),
        ({"filter": "-figs"}, ["b lemons"]),
        ({"search": "figs -c"}, ["a figs"]),
        ({"priority": ["low", "medium"], "has_due_date": "true"}, ["a figs"]),
        ({"tags": "work"}, []),
        ({"limit": 2, "page": 2}, ["c figs"]),
    ],
    ids=str,
)
async def test_all_that_is_asked_beside_it_narrows_further(alice: Client, beside: Json, expected: list[str]) -> None:
    await alice.add_many(TASKS)
    saved = await alice.save("Home", "tag:home", sort="title")

    assert await alice.titles(saved=saved["id"], **beside) == expected


@pytest.mark.parametrize(
    ("kept", "given", "expected"),
    [
        ({}, {}, "bdac"),  # the newest first
        ({"sort": "title"}, {}, "abcd"),
        ({"sort": "title", "order": "desc"}, {}, "dcba"),
        ({"order": "asc"}, {}, "cadb"),
        ({"sort": "due_date"}, {"sort": "title"}, "abcd"),
        ({"sort": "due_date", "order": "desc"}, {"sort": "title"}, "abcd"),  # a sort comes with its own order
        ({"sort": "due_date"}, {"sort": "title", "order": "desc"}, "dcba"),
        ({"sort": "title"}, {"order": "desc"}, "dcba"),  # and an order alone turns the sort that is kept
        ({"sort": "title", "order": "desc"}, {"order": "asc"}, "abcd"),
        ({"order": "asc"}, {"order": "desc"}, "bdac"),
    ],
    ids=str,
)
async def test_sort_and_order_are_those_that_are_kept_unless_others_are_given(
    alice: Client, kept: Json, given: Json, expected: str
) -> None:
    await alice.add_many(TASKS)
    saved = await alice.save("All", "-tag:none", **kept)

    assert [title[0] for title in await alice.titles(saved=saved["id"], **given)] == list(expected)


async def test_a_search_is_sorted_by_relevance_unless_an_order_is_kept(alice: Client) -> None:
    await alice.add_many([{"title": "soil", "description": "for the figs"}, {"title": "figs"}])
    best, newest, oldest = [
        await alice.save(name, "is:pending", **kept)
        for name, kept in {"best": {}, "newest": {"order": "desc"}, "oldest": {"order": "asc"}}.items()
    ]

    for saved, expected in ((best, ["soil", "figs"]), (newest, ["figs", "soil"]), (oldest, ["soil", "figs"])):
        assert await alice.titles(saved=saved["id"], search="soil or figs") == expected
    assert await alice.titles(saved=oldest["id"], search="soil or figs", sort="relevance") == ["soil", "figs"]
    assert await alice.titles(saved=best["id"], search="soil or figs", order="asc") == ["figs", "soil"]


async def test_today_is_the_day_on_which_it_is_asked_in_the_zone_that_is_asked_for(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alice.add_many(TASKS)
    saved = await alice.save("Today", "due:today")
    monkeypatch.setattr(listing, "datetime", Clock)

    for day, expected in ((11, ["a figs"]), (12, ["c figs"]), (13, [])):
        monkeypatch.setattr(Clock, "present", datetime(2026, 5, day, 11, tzinfo=UTC))
        assert await alice.titles(saved=saved["id"]) == expected
    assert await alice.titles(saved=saved["id"], tz="Etc/GMT+12") == ["c figs"]  # where it is still the 12th


async def test_a_walk_keeps_the_day_on_which_it_began(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await alice.add_many([TASKS[0]] * 3)
    saved = await alice.save("Today", "due:today")
    monkeypatch.setattr(listing, "datetime", Clock)
    monkeypatch.setattr(Clock, "present", datetime(2026, 5, 12, 23, 59, tzinfo=UTC))

    cursor = (await alice.page(saved=saved["id"], limit=1))["next_cursor"]
    monkeypatch.setattr(Clock, "present", datetime(2026, 5, 13, 0, 1, tzinfo=UTC))

    assert len(await alice.titles(saved=saved["id"], cursor=cursor)) == 2


async def test_a_text_whose_day_has_left_the_calendar_is_refused_as_the_saved_one(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = await alice.save("Some day", f"due<=+{9999 - datetime.now(UTC).year}y")
    assert await alice.titles(saved=saved["id"]) == []
    monkeypatch.setattr(listing, "datetime", Clock)
    monkeypatch.setattr(Clock, "present", datetime(2999, 5, 12, tzinfo=UTC))

    [fault] = await refused(alice, saved["id"], filter="figs")

    assert fault["loc"] == ["query", "saved"]
    assert "years 1 to 9999" in fault["msg"]


async def test_a_missing_a_deleted_and_a_foreign_filter_are_refused_in_the_same_words(
    alice: Client, bob: Client
) -> None:
    await alice.add_many(TASKS)
    foreign, deleted = await bob.save("His", "figs"), await alice.save("Gone", "figs")
    await alice.delete(f"/v1/filters/{deleted['id']}")
    tag = await etag(alice)

    faults = [await refused(alice, saved_id) for saved_id in (str(uuid4()), deleted["id"], foreign["id"])]

    assert faults[0] == faults[1] == faults[2]
    assert [fault["loc"] for fault in faults[0]] == [["query", "saved"]]
    assert await known(alice, tag, saved=foreign["id"]) == await known(alice, "*", saved=foreign["id"]) == 422


async def test_two_users_filters_of_one_id_are_each_their_own(alice: Client, bob: Client) -> None:
    own = str(uuid4())
    await alice.save("Mine", "figs", id=own)
    await bob.save("Mine", "lemons", id=own, sort="title")

    for user, expected in ((alice, ["d figs", "a figs", "c figs"]), (bob, ["b lemons"])):
        await user.add_many(TASKS)
        assert await user.titles(saved=own) == expected


async def test_a_walk_by_a_saved_filter_shows_all_that_it_finds(alice: Client) -> None:
    await alice.add_many(TASKS)
    saved = await alice.save("All", "figs or lemons", sort="title", order="desc")

    walked = await alice.walk(saved=saved["id"], limit=1)

    assert [task["title"][0] for task in walked] == list("dcba")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"filter": "figs -d"}, 422),
        ({"sort": "created"}, 422),
        ({"order": "desc"}, 422),
        ({"name": "Others"}, 200),
        ({"filter": " figs ", "sort": "title", "order": "asc"}, 200),  # the same in other words
    ],
    ids=str,
)
async def test_a_cursor_is_bound_to_what_the_filter_said(alice: Client, sent: Json, status: int) -> None:
    await alice.add_many(TASKS)
    saved = await alice.save("Figs", "figs", sort="title")
    cursor = (await alice.page(saved=saved["id"], limit=1))["next_cursor"]

    await edited(alice, saved, **sent)
    answer = await alice.get("/v1/tasks", params={"saved": saved["id"], "cursor": cursor})

    assert answer.status_code == status
    if status == 422:
        assert [fault["loc"] for fault in answer.json()["errors"]] == [["query", "cursor"]]
        await edited(alice, saved, filter="figs", sort="title", order=None)  # and back again
    assert await alice.titles(saved=saved["id"], cursor=cursor) == ["c figs", "d figs"]


async def test_links_keep_the_saved_filter(alice: Client) -> None:
    await alice.add_many(TASKS)
    saved = await alice.save("Figs", "figs", sort="title")

    answer = await alice.get("/v1/tasks", params={"saved": saved["id"], "limit": 1})
    following = await alice.get(answer.links["next"]["url"])

    assert [task["title"] for task in following.json()["items"]] == ["c figs"]


async def test_a_listing_by_it_has_an_etag_until_anything_changes(alice: Client, bob: Client) -> None:
    [task, *_] = await alice.add_many(TASKS)
    saved, other = await alice.save("Figs", "figs"), await alice.save("Lemons", "lemons")
    tag = await etag(alice, saved=saved["id"])
    await bob.add("His")

    assert await known(alice, tag, saved=saved["id"]) == await known(alice, "*", saved=saved["id"]) == 304
    assert await known(alice, tag, saved=other["id"]) == await known(alice, tag) == 200
    await alice.patch(f"/v1/tasks/{task['id']}", {"title": "e figs"})
    assert await known(alice, tag, saved=saved["id"]) == 200


@pytest.mark.parametrize("sent", [{"filter": "lemons"}, {"sort": "title"}, {"order": "asc"}], ids=str)
async def test_an_edit_of_the_filter_changes_the_listing_s_etag(alice: Client, sent: Json) -> None:
    await alice.add_many(TASKS)
    saved = await alice.save("Figs", "figs")
    tag = await etag(alice, saved=saved["id"])

    await edited(alice, saved, **sent)
    after = await etag(alice, saved=saved["id"])

    assert after.rpartition("-")[2] != tag.rpartition("-")[2]  # another question, besides a later number
    assert await known(alice, tag, saved=saved["id"]) == 200
    assert await known(alice, after, saved=saved["id"]) == 304


async def test_what_changes_with_the_clock_has_no_etag(alice: Client) -> None:
    saved = await alice.save("Late", "is:overdue")

    answer = await alice.get("/v1/tasks", params={"saved": saved["id"]}, headers={"If-None-Match": "*"})

    assert answer.status_code == 200
    assert "ETag" not in answer.headers


async def test_what_is_asked_of_the_database_is_told(alice: Client, statements: Statements) -> None:
    await alice.add_many(TASKS)
    saved = await alice.save("Figs", "figs")
    tag = await etag(alice, saved=saved["id"])

    async def asked(status: int, match: str | None, **parameters: Any) -> list[str]:
        statements.clear()
        headers = {"If-None-Match": match} if match else {}
        answer = await alice.get("/v1/tasks", params=parameters, headers=headers)
        assert answer.status_code == status
        tables = ("tasks", "filters", "sync_state")
        return [" ".join(name for name in tables if name in statement) for statement in statements]

    look, page = "filters sync_state", "tasks sync_state"
    assert await asked(200, None) == [page]  # without a saved filter, nothing is added
    assert await asked(200, None, saved=saved["id"]) == [look, page]
    assert await asked(304, tag, saved=saved["id"]) == [look]
    assert await asked(200, tag, saved=saved["id"], limit=1) == [look, page]
    assert await asked(422, tag, saved=str(uuid4())) == [look]
    assert await asked(422, None, saved=saved["id"], limit=0) == []
