"""In which order tasks come."""

from typing import Any
from uuid import UUID

import pytest

from tests.client import Client, Json

# Made in an order that is none of those which are tested.
IDS = [str(UUID(int=n)) for n in (3, 1, 4, 5, 2)]


async def ids(client: Client, **parameters: Any) -> list[str]:
    return [task["id"] for task in (await client.page(**parameters))["items"]]


async def add_each(client: Client, *titles: str) -> list[Json]:
    """One after the other: a batch is made at one time."""
    return [await client.add(title) for title in titles]


async def test_the_newest_comes_first_unless_asked_otherwise(alice: Client) -> None:
    await add_each(alice, "first", "second", "third")

    assert await alice.titles() == ["third", "second", "first"]
    assert await alice.titles(sort="created") == ["third", "second", "first"]


async def test_an_edit_moves_a_task_in_the_order_of_updates_and_not_in_that_of_creation(alice: Client) -> None:
    first, _, _ = await add_each(alice, "first", "second", "third")
    await alice.patch(f"/v1/tasks/{first['id']}", {"priority": "high"})

    assert await alice.titles(sort="updated") == ["first", "third", "second"]
    assert await alice.titles(sort="created") == ["third", "second", "first"]


async def test_an_edit_that_changes_nothing_moves_nothing(alice: Client) -> None:
    first, _ = await add_each(alice, "first", "second")
    await alice.patch(f"/v1/tasks/{first['id']}", {})

    assert await alice.titles(sort="updated") == ["second", "first"]


async def test_the_tasks_of_a_batch_were_updated_in_the_order_given(alice: Client) -> None:
    await alice.add_many([{"title": title} for title in ("first", "second", "third")])

    assert await alice.titles(sort="updated") == ["third", "second", "first"]


async def test_titles_are_in_order_without_regard_to_case_and_accents(alice: Client) -> None:
    await alice.add_many([{"title": title} for title in ("Zebra", "éclair", "apple", "Ähre", "Eclat", "zoo", "dodo")])

    assert await alice.titles(sort="title") == ["Ähre", "apple", "dodo", "éclair", "Eclat", "Zebra", "zoo"]


@pytest.mark.parametrize(
    "equal",
    [
        ("Résumé", "resume", "RESUME", "re\u0301sume\u0301", "ＲＥＳＵＭＥ"),
        ("Straße", "STRASSE", "strasse", "STRAẞE", "straße"),
        ("ΣΟΦΌΣ", "σοφός", "σοφος", "Σοφός", "σοφόσ"),
    ],
)
async def test_titles_that_differ_in_case_and_accents_alone_are_equal(alice: Client, equal: tuple[str, ...]) -> None:
    await alice.add_many([{"title": title, "id": own} for title, own in zip(equal, IDS, strict=True)])

    assert await ids(alice, sort="title") == sorted(IDS)


async def test_a_new_title_moves_a_task_in_the_order_of_titles(alice: Client) -> None:
    first, _ = await add_each(alice, "apple", "banana")
    await alice.patch(f"/v1/tasks/{first['id']}", {"title": "Cherry"})

    assert await alice.titles(sort="title") == ["banana", "Cherry"]


async def test_high_priority_comes_first(alice: Client) -> None:
    await alice.add_many([{"title": name, "priority": name} for name in ("medium", "high", "low")])

    assert await alice.titles(sort="priority") == ["high", "medium", "low"]


DATES = [("none", None), ("later", "2026-05-11T00:00:00Z"), ("soon", "0001-01-01T00:00:00Z"), ("none 2", None)]
DATED = [{"title": title, "due_date": due} for title, due in [*DATES, ("late", "9999-12-31T23:59:59.999999Z")]]


async def test_the_soonest_due_comes_first_and_the_undated_last(alice: Client) -> None:
    await alice.add_many(DATED)

    assert (await alice.titles(sort="due_date"))[:3] == ["soon", "later", "late"]


async def test_turned_the_latest_due_comes_first_and_the_undated_are_still_last(alice: Client) -> None:
    await alice.add_many(DATED)

    assert (await alice.titles(sort="due_date", order="desc"))[:3] == ["late", "later", "soon"]


@pytest.mark.parametrize(
    ("sort", "natural"),
    [("created", "desc"), ("updated", "desc"), ("title", "asc"), ("priority", "desc"), ("due_date", "asc")],
)
async def test_each_sort_has_a_direction_of_its_own_and_order_sets_it(alice: Client, sort: str, natural: str) -> None:
    days = ("2026-05-01", "2026-05-02", "2026-05-03")
    for title, priority, day in zip("abc", ("low", "medium", "high"), days, strict=True):
        await alice.add(title, priority=priority, due_date=f"{day}T00:00:00Z")
    rising = ["a", "b", "c"]

    assert await alice.titles(sort=sort) == (rising if natural == "asc" else rising[::-1])
    assert await alice.titles(sort=sort, order="asc") == rising
    assert await alice.titles(sort=sort, order="desc") == rising[::-1]


async def test_order_alone_turns_the_default_sort(alice: Client) -> None:
    await add_each(alice, "first", "second", "third")

    assert await alice.titles(order="asc") == ["first", "second", "third"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["created", "title", "priority", "due_date", "relevance"])
async def test_equal_tasks_are_ordered_by_id_which_turns_with_the_sort(alice: Client, sort: str, order: str) -> None:
    await alice.add_many([{"title": "figs", "due_date": "2026-05-10T12:00:00Z", "id": own} for own in IDS])

    assert await ids(alice, sort=sort, order=order, search="figs") == sorted(IDS, reverse=order == "desc")


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_undated_tasks_are_ordered_by_id_which_turns_with_the_sort(alice: Client, order: str) -> None:
    await alice.add_many([{"title": "figs", "id": own} for own in IDS])

    assert await ids(alice, sort="due_date", order=order) == sorted(IDS, reverse=order == "desc")
