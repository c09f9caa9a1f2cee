"""What a listing leaves out: each criterion alone, and several together."""

from typing import Any

import pytest

from backend.state import State
from tests.client import Client, Json, settled_in

PAST, FUTURE = "2001-01-01T00:00:00Z", "2991-01-01T00:00:00Z"


async def found(client: Client, **parameters: Any) -> set[str]:
    titles = await client.titles(**parameters)
    assert len(set(titles)) == len(titles)
    return set(titles)


def due(title: str, when: str | None) -> Json:
    return {"title": title, "due_date": when}


def tagged(title: str, *tags: str) -> Json:
    return {"title": title, "tags": list(tags)}


async def test_a_filter_left_out_narrows_nothing(alice: Client) -> None:
    await alice.add_many([{"title": "done", "completed": True}, due("dated", PAST), tagged("tagged", "home")])

    assert await found(alice) == {"done", "dated", "tagged"}


async def test_another_users_tasks_are_not_listed(alice: Client, bob: Client) -> None:
    await alice.add("hers")
    await bob.add("his")

    assert await found(alice) == {"hers"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [("all", {"open", "done"}), ("pending", {"open"}), ("completed", {"done"})],
)
async def test_status_tells_by_completion(alice: Client, status: str, expected: set[str]) -> None:
    await alice.add_many([{"title": "open"}, {"title": "done", "completed": True}])

    assert await found(alice, status=status) == expected


async def test_a_task_that_was_completed_and_opened_again_is_pending(alice: Client) -> None:
    task = await alice.add("back and forth", completed=True)
    await alice.patch(f"/v1/tasks/{task['id']}", {"completed": False})

    assert await found(alice, status="pending") == {"back and forth"}
    assert await found(alice, status="completed") == set()


async def test_priority_finds_its_own(alice: Client) -> None:
    await alice.add_many([{"title": name, "priority": name} for name in ("low", "medium", "high")])

    assert await found(alice, priority="high") == {"high"}


async def test_several_priorities_mean_any_of_them(alice: Client) -> None:
    await alice.add_many([{"title": name, "priority": name} for name in ("low", "medium", "high")])

    assert await found(alice, priority=["low", "high"]) == {"low", "high"}


async def test_a_due_date_with_a_time_is_that_instant_in_any_offset(alice: Client) -> None:
    await alice.add_many(
        [due("then", "2026-05-10T12:00:00Z"), due("a moment later", "2026-05-10T12:00:00.000001Z"), due("never", None)]
    )

    assert await found(alice, due_date="2026-05-10T12:00:00Z") == {"then"}
    assert await found(alice, due_date="2026-05-10T14:00:00+02:00") == {"then"}


async def test_due_before_is_exclusive(alice: Client) -> None:
    await alice.add_many([due("before", "2026-05-10T11:59:59.999999Z"), due("then", "2026-05-10T12:00:00Z")])

    assert await found(alice, due_before="2026-05-10T12:00:00Z") == {"before"}


async def test_due_after_is_inclusive(alice: Client) -> None:
    await alice.add_many([due("before", "2026-05-10T11:59:59.999999Z"), due("then", "2026-05-10T12:00:00Z")])

    assert await found(alice, due_after="2026-05-10T12:00:00Z") == {"then"}


async def test_a_task_without_a_due_date_is_due_neither_before_nor_after_anything(alice: Client) -> None:
    await alice.add("whenever")

    assert await found(alice, due_after="0001-01-01") == set()
    assert await found(alice, due_before="9999-12-31T23:59:59.999999Z") == set()


DAYS = {
    # The clocks go forward: 23 hours.
    "2026-03-29": ("2026-03-28T23:00:00Z", "2026-03-29T21:59:59.999999Z", "2026-03-29T22:00:00Z"),
    "2026-07-01": ("2026-06-30T22:00:00Z", "2026-07-01T21:59:59.999999Z", "2026-07-01T22:00:00Z"),
    # And back: 25 hours.
    "2026-10-25": ("2026-10-24T22:00:00Z", "2026-10-25T22:59:59.999999Z", "2026-10-25T23:00:00Z"),
}


@pytest.mark.parametrize("day", DAYS)
async def test_a_due_date_without_a_time_is_the_whole_day_in_tz(alice: Client, day: str) -> None:
    first, last, after = DAYS[day]
    second = first.replace(":00Z", ":00.000001Z")
    before = first.replace("22:00:00Z", "21:59:59.999999Z").replace("23:00:00Z", "22:59:59.999999Z")
    named = {"before": before, "first": first, "second": second, "last": last, "after": after}
    await alice.add_many([due(name, when) for name, when in named.items()])

    assert await found(alice, due_date=day, tz="Europe/Berlin") == {"first", "second", "last"}
    assert await found(alice, due_before=day, tz="Europe/Berlin") == {"before"}
    assert await found(alice, due_after=day, tz="Europe/Berlin") == {"first", "second", "last", "after"}


async def test_a_day_that_a_zone_skipped_has_nothing_in_it(alice: Client) -> None:
    # Samoa went from 29 to 31 December 2011 over the date line.
    await alice.add_many([due("last of 29", "2011-12-30T09:59:59Z"), due("first of 31", "2011-12-30T10:00:00Z")])

    assert await found(alice, due_date="2011-12-29", tz="Pacific/Apia") == {"last of 29"}
    assert await found(alice, due_date="2011-12-30", tz="Pacific/Apia") == set()
    assert await found(alice, due_date="2011-12-31", tz="Pacific/Apia") == {"first of 31"}


async def test_without_tz_a_day_is_that_of_the_accounts_zone(alice: Client, state: State) -> None:
    await alice.add_many([due("1 May in Tokyo", "2026-04-30T15:00:00Z"), due("2 May in Tokyo", "2026-05-01T15:00:00Z")])
    assert await found(alice, due_date="2026-05-01") == {"2 May in Tokyo"}
    in_tokyo = await settled_in(state, alice, "Asia/Tokyo", "en")

    assert await found(in_tokyo, due_date="2026-05-01") == {"1 May in Tokyo"}
    assert await found(in_tokyo, due_date="2026-05-01", tz="UTC") == {"2 May in Tokyo"}


@pytest.mark.parametrize(
    ("day", "tz", "expected"),
    [
        # In the year 1, places had their local mean time: Samoa's was ahead of Greenwich, Kiritimati's behind.
        ("0001-01-01", "Pacific/Kiritimati", {"noon"}),
        ("0001-01-01", "Pacific/Pago_Pago", set()),
        ("9999-12-31", "Pacific/Pago_Pago", {"noon"}),
    ],
)
async def test_the_first_and_the_last_day_there_are_can_be_asked_for(
    alice: Client, day: str, tz: str, expected: set[str]
) -> None:
    await alice.add_many([due("noon", f"{day}T12:00:00Z"), due("another year", "2026-01-01T00:00:00Z")])

    assert await found(alice, due_date=day, tz=tz) == expected


async def test_the_criteria_on_the_due_date_all_hold(alice: Client) -> None:
    await alice.add_many([due(f"at {hour}", f"2026-05-10T{hour}:00:00Z") for hour in range(10, 20)])

    day = {"due_date": "2026-05-10", "due_after": "2026-05-10T12:00:00Z", "due_before": "2026-05-10T14:00:00Z"}
    assert await found(alice, **day) == {"at 12", "at 13"}
    assert await found(alice, **{**day, "due_date": "2026-05-11"}) == set()


OVERDUE = [
    due("late", PAST),
    due("in time", FUTURE),
    {"title": "late but done", "due_date": PAST, "completed": True},
    due("whenever", None),
]


async def test_overdue_is_what_is_pending_and_past_its_due_date(alice: Client) -> None:
    await alice.add_many(OVERDUE)

    assert await found(alice, overdue="true") == {"late"}


async def test_not_overdue_is_everything_else(alice: Client) -> None:
    await alice.add_many(OVERDUE)

    assert await found(alice, overdue="false") == {"in time", "late but done", "whenever"}


async def test_tasks_with_and_without_a_due_date_come_apart(alice: Client) -> None:
    await alice.add_many([due("dated", PAST), due("undated", None)])

    assert await found(alice, has_due_date="true") == {"dated"}
    assert await found(alice, has_due_date="false") == {"undated"}


TAGGED = [tagged("both", "home", "figs"), tagged("home", "home"), tagged("figs", "figs"), tagged("none")]


async def test_tags_means_all_of_them(alice: Client) -> None:
    await alice.add_many(TAGGED)

    assert await found(alice, tags="home") == {"both", "home"}
    assert await found(alice, tags=["figs", "home"]) == {"both"}


async def test_any_tags_means_any_of_them(alice: Client) -> None:
    await alice.add_many([*TAGGED, tagged("other", "work")])

    assert await found(alice, any_tags=["figs", "home"]) == {"both", "home", "figs"}


async def test_not_tags_means_none_of_them_which_a_task_without_tags_has(alice: Client) -> None:
    await alice.add_many([*TAGGED, tagged("other", "work")])

    assert await found(alice, not_tags=["figs", "home"]) == {"none", "other"}


@pytest.mark.parametrize(("name", "expected"), [("tags", {"big"}), ("any_tags", {"big"}), ("not_tags", {"small"})])
async def test_the_case_of_a_tag_tells(alice: Client, name: str, expected: set[str]) -> None:
    await alice.add_many([tagged("big", "Home"), tagged("small", "home")])

    assert await found(alice, **{name: "Home"}) == expected


@pytest.mark.parametrize("name", ["tags", "any_tags"])
async def test_a_tag_is_found_whole_and_not_by_its_beginning(alice: Client, name: str) -> None:
    await alice.add_many([tagged("whole", "home"), tagged("longer", "homework"), tagged("two words", "home alone")])

    assert await found(alice, **{name: "home"}) == {"whole"}


async def test_a_tag_of_any_characters_can_be_asked_for(alice: Client) -> None:
    odd = ["a&b", 'say "hi"', "50%", "back\\slash", "[1]", "naïve 🍋", "+1"]
    await alice.add_many([tagged(tag, tag) for tag in odd])

    for tag in odd:
        assert await found(alice, tags=tag) == {tag}
        assert await found(alice, any_tags=tag) == {tag}
        assert await found(alice, not_tags=tag) == set(odd) - {tag}


async def test_the_three_criteria_on_tags_all_hold(alice: Client) -> None:
    await alice.add_many([*TAGGED, tagged("home and dead", "home", "dead"), tagged("all", "home", "figs", "dead")])

    assert await found(alice, tags="home", any_tags=["figs", "dead"], not_tags="dead") == {"both"}


async def test_criteria_of_every_kind_hold_together(alice: Client) -> None:
    wanted: Json = {"title": "Water the figs", "priority": "high", "due_date": PAST, "tags": ["home"]}
    near: list[Json] = [
        {"title": "Water the palms"},
        {"priority": "low"},
        {"due_date": FUTURE},
        {"tags": ["work"]},
        {"completed": True},
    ]
    await alice.add_many([wanted, *({**wanted, **other} for other in near)])

    everything = {
        "status": "pending",
        "priority": "high",
        "tags": "home",
        "overdue": "true",
        "due_before": "2002-01-01",
    }
    page = await alice.page(**everything, search="figs", not_tags="work", any_tags="home", has_due_date="true")

    assert [task["title"] for task in page["items"]] == ["Water the figs"]
    assert page["total"] == 1


async def test_deleted_tasks_are_listed_counted_and_found_nowhere(alice: Client) -> None:
    task = await alice.add("figs", due_date=PAST, tags=["home"])
    await alice.delete(f"/v1/tasks/{task['id']}")

    for filters in ({}, {"search": "figs"}, {"tags": "home"}, {"any_tags": "home"}, {"overdue": "true"}):
        page = await alice.page(**filters)
        assert (page["items"], page["total"]) == ([], 0), filters
    assert (await alice.get("/v1/tags")).json() == {"items": []}
