"""Pages by number and from cursor to cursor, and their totals."""

from typing import Any

import pytest

from tests.client import Client, Json

FIVE = [{"title": title} for title in "abcde"]


async def test_an_answer_says_what_it_is(alice: Client) -> None:
    await alice.add_many(FIVE)

    page = await alice.page()

    assert list(page) == ["items", "total", "page", "limit", "next_cursor"]
    assert (page["total"], page["page"], page["limit"], page["next_cursor"]) == (5, 1, 20, None)


async def test_an_item_is_the_task_as_it_is_read_alone(alice: Client) -> None:
    task = await alice.add(
        'Water the "figs" 🍋', description="\\ and\nlines", due_date="2026-05-10T12:00:00.5+02:00", tags=["b", "a"]
    )

    assert (await alice.page())["items"] == [task]


async def test_a_list_of_nothing_has_a_total_of_none(alice: Client) -> None:
    assert await alice.page() == {"items": [], "total": 0, "page": 1, "limit": 20, "next_cursor": None}


async def test_twenty_tasks_are_a_page_unless_asked_otherwise(alice: Client) -> None:
    await alice.add_many([{"title": str(n)} for n in range(21)])

    page = await alice.page()

    assert (len(page["items"]), page["total"]) == (20, 21)
    assert page["next_cursor"]


async def test_pages_follow_each_other_and_the_last_is_what_remains(alice: Client) -> None:
    await alice.add_many(FIVE)

    pages = [await alice.titles(sort="title", limit=2, page=number) for number in (1, 2, 3)]

    assert pages == [["a", "b"], ["c", "d"], ["e"]]


async def test_past_the_end_there_are_no_items_but_the_true_total(alice: Client) -> None:
    await alice.add_many(FIVE)

    page = await alice.page(limit=2, page=4)

    assert page == {"items": [], "total": 5, "page": 4, "limit": 2, "next_cursor": None}


async def test_the_deepest_page_can_be_asked_for(alice: Client) -> None:
    await alice.add("one")

    page = await alice.page(limit=200, page=50)

    assert (page["items"], page["total"], page["page"]) == ([], 1, 50)


async def test_the_total_is_that_of_the_filter(alice: Client) -> None:
    await alice.add_many([*FIVE, {"title": "f", "priority": "high"}, {"title": "g", "priority": "high"}])

    assert (await alice.page(priority="high", limit=1))["total"] == 2


async def test_what_is_not_counted_has_no_total_and_the_same_items(alice: Client) -> None:
    await alice.add_many(FIVE)
    counted = await alice.page(limit=2, page=2)

    assert await alice.page(limit=2, page=2, count="none") == {**counted, "total": None}


async def test_not_counted_and_past_the_end_is_an_empty_page(alice: Client) -> None:
    page = await alice.page(page=3, count="none")

    assert page == {"items": [], "total": None, "page": 3, "limit": 20, "next_cursor": None}


async def test_from_a_cursor_there_is_no_page_and_no_total_unless_asked(alice: Client) -> None:
    await alice.add_many(FIVE)
    cursor = (await alice.page(sort="title", limit=2))["next_cursor"]

    page = await alice.page(sort="title", limit=2, cursor=cursor)

    assert [task["title"] for task in page["items"]] == ["c", "d"]
    assert (page["page"], page["total"]) == (None, None)
    # All that the filter finds, not what is left of it.
    assert (await alice.page(sort="title", limit=2, cursor=cursor, count="exact")) == {**page, "total": 5}


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6])
async def test_cursors_lead_through_every_task_and_the_last_page_has_none(alice: Client, limit: int) -> None:
    await alice.add_many(FIVE)

    assert [task["title"] for task in await alice.walk(sort="title", limit=limit)] == list("abcde")


async def test_a_counted_page_from_a_cursor_behind_which_nothing_is_left_is_empty(alice: Client) -> None:
    *_, last = await alice.add_many(FIVE)
    cursor = (await alice.page(sort="title", limit=4))["next_cursor"]
    await alice.delete(f"/v1/tasks/{last['id']}")

    page = await alice.page(sort="title", cursor=cursor, count="exact")

    assert (page["items"], page["total"], page["next_cursor"]) == ([], 4, None)


async def test_a_walk_may_change_how_much_it_takes_at_once(alice: Client) -> None:
    await alice.add_many(FIVE)
    cursor = (await alice.page(sort="title", limit=1))["next_cursor"]

    assert await alice.titles(sort="title", limit=3, cursor=cursor) == ["b", "c", "d"]


async def test_a_cursor_goes_on_from_a_numbered_page(alice: Client) -> None:
    await alice.add_many(FIVE)
    cursor = (await alice.page(sort="title", limit=2, page=2))["next_cursor"]

    assert await alice.titles(sort="title", limit=2, cursor=cursor) == ["e"]


async def refused(client: Client, **parameters: Any) -> None:
    answer = await client.get("/v1/tasks", params=parameters)
    assert answer.status_code == 422, answer.text
    [fault] = answer.json()["errors"]
    assert fault["loc"] == ["query", "cursor"]


async def test_a_cursor_is_of_no_use_to_another_user(alice: Client, bob: Client) -> None:
    await alice.add_many(FIVE)
    await bob.add_many(FIVE)
    cursor = (await alice.page(limit=2))["next_cursor"]

    await refused(bob, limit=2, cursor=cursor)


WALK = {"sort": "title", "priority": "medium", "tags": "home", "due_after": "2026-05-10", "search": "figs", "limit": 1}
CHANGES: list[Json] = [
    {"sort": "created"},
    {"sort": "relevance"},
    {"order": "desc"},
    {"status": "pending"},
    {"priority": "high"},
    {"priority": ["medium", "high"]},
    {"tags": "Home"},
    {"any_tags": "home"},
    {"not_tags": "work"},
    {"due_after": "2026-05-11"},
    {"due_before": "2026-05-11"},
    {"due_date": "2026-05-10"},
    {"has_due_date": "true"},
    {"overdue": "true"},
    {"search": "fig"},
    {"tz": "Europe/Berlin"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_a_cursor_is_bound_to_the_filter_and_the_sort(alice: Client, change: Json) -> None:
    task = {"title": "figs", "tags": ["home"], "due_date": "2026-05-10T12:00:00Z"}
    await alice.add_many([task, task])
    cursor = (await alice.page(**WALK))["next_cursor"]

    await refused(alice, **{**WALK, **change, "cursor": cursor})
    assert len(await alice.titles(**WALK, cursor=cursor)) == 1


async def test_a_cursor_that_was_changed_is_refused(alice: Client) -> None:
    await alice.add_many(FIVE)
    cursor: str = (await alice.page(limit=2))["next_cursor"]
    other = "B" if cursor[0] == "A" else "A"
    middle = len(cursor) // 2

    for changed in (
        other + cursor[1:],
        cursor[:middle] + ("B" if cursor[middle] == "A" else "A") + cursor[middle + 1 :],
        cursor[:-2],
        cursor[4:],
        cursor + "AAAA",
        cursor[:16],
        "x",
        "page two",
        "🍋",
        "=",
    ):
        await refused(alice, limit=2, cursor=changed)


async def test_a_cursor_and_a_page_do_not_go_together(alice: Client) -> None:
    await alice.add_many(FIVE)
    cursor = (await alice.page(limit=2))["next_cursor"]

    answer = await alice.get("/v1/tasks", params={"limit": 2, "cursor": cursor, "page": 2})

    assert answer.status_code == 422
