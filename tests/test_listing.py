"""The listing as a whole: what it costs, and the tags beside it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.services import listing
from tests.client import Client, Json, Statements

EVERYTHING = {
    "status": "pending",
    "priority": ["high", "low"],
    "due_after": "2026-05-01",
    "due_before": "2026-05-31",
    "tz": "Europe/Berlin",
    "overdue": "false",
    "has_due_date": "true",
    "tags": "home",
    "any_tags": ["home", "figs"],
    "not_tags": "dead",
    "search": '"water the" figs or -palms',
    "count": "exact",
    "highlight": "true",
}
ASKED: list[Json] = [
    {},
    {"page": 2, "limit": 1},
    {"page": 9},
    {"count": "none"},
    {"search": "the"},
    {"search": "figs", "highlight": "true"},
    EVERYTHING,
    *({**EVERYTHING, "sort": sort, "order": "desc"} for sort in ("created", "updated", "title", "priority")),
]


@pytest.mark.parametrize("parameters", ASKED, ids=str)
async def test_whatever_is_asked_the_listing_is_one_statement(
    alice: Client, statements: Statements, parameters: dict[str, Any]
) -> None:
    await alice.add_many([{"title": "Water the figs", "tags": ["home"]}] * 3)
    statements.clear()

    await alice.page(**parameters)

    assert len([sql for sql in statements if "similarity" not in sql]) == 1, statements


async def test_only_a_search_that_finds_nothing_asks_one_more_for_a_suggestion(
    alice: Client, statements: Statements
) -> None:
    await alice.add("Water the figs")
    statements.clear()

    for parameters, more in (({"search": "figs"}, 0), ({"search": "figgs"}, 1), ({"search": "figgs", "page": 2}, 0)):
        await alice.page(**parameters)
        assert len(statements) == 1 + more, statements
        assert len([sql for sql in statements if "similarity" in sql]) == more
        statements.clear()


async def test_a_page_from_a_cursor_is_one_statement_counted_or_not(alice: Client, statements: Statements) -> None:
    await alice.add_many([{"title": "Water the figs"}] * 3)
    cursor = (await alice.page(search="figs", limit=1))["next_cursor"]
    statements.clear()

    await alice.page(search="figs", limit=1, cursor=cursor)
    await alice.page(search="figs", limit=1, cursor=cursor, count="exact", highlight="true")

    assert len(statements) == 2, statements


async def test_what_is_refused_reaches_no_database(alice: Client, statements: Statements) -> None:
    await alice.page()
    statements.clear()

    for query in ("limit=0", "colour=red", "cursor=x", "search=", "page=51&limit=200"):
        assert (await alice.get(f"/v1/tasks?{query}")).status_code == 422

    assert statements == []


async def test_head_answers_as_get_without_a_body(alice: Client) -> None:
    await alice.add_many([{"title": "Water the figs"}] * 3)

    got = await alice.get("/v1/tasks?limit=1")
    head = await alice.call("HEAD", "/v1/tasks?limit=1")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["link"] == got.headers["link"]
    assert head.headers["content-length"] == got.headers["content-length"]


class Clock(datetime):
    """A clock that a test sets."""

    present = datetime(2026, 5, 10, 12, tzinfo=UTC)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return cls.present


@pytest.mark.parametrize(("overdue", "expected"), [("true", ["a", "b"]), ("false", ["c", "d"])])
async def test_what_is_overdue_is_decided_when_a_walk_begins(
    alice: Client, monkeypatch: pytest.MonkeyPatch, overdue: str, expected: list[str]
) -> None:
    # Of these, "c" falls due between the pages: it may be neither dropped from one walk nor seen in the other.
    due = [Clock.present + timedelta(minutes=minutes) for minutes in (-20, -10, 10, 20)]
    await alice.add_many([{"title": title, "due_date": at.isoformat()} for title, at in zip("abcd", due, strict=True)])
    monkeypatch.setattr(listing, "datetime", Clock)
    asked = {"overdue": overdue, "sort": "title", "limit": 1}

    first = await alice.page(**asked)
    monkeypatch.setattr(Clock, "present", Clock.present + timedelta(minutes=15))
    second = await alice.page(**asked, cursor=first["next_cursor"])

    assert [task["title"] for page in (first, second) for task in page["items"]] == expected
    assert second["next_cursor"] is None


async def tag_counts(client: Client, query: str = "") -> list[tuple[str, int]]:
    answer = await client.get(f"/v1/tags{query}")
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) in (["items"], ["items", "next_cursor"])
    assert "limit" in query or len(answer.json()["items"]) == 100 or "next_cursor" not in answer.json()
    return [(item["tag"], item["count"]) for item in answer.json()["items"]]


async def test_tags_are_counted_most_used_first_and_then_by_name(alice: Client) -> None:
    await alice.add_many(
        [{"title": "a", "tags": ["home", "b", "Ä"]}, {"title": "b", "tags": ["home", "a"]}, {"title": "c", "tags": []}]
    )

    assert await tag_counts(alice) == [("home", 2), ("a", 1), ("b", 1), ("Ä", 1)]


async def test_tags_that_differ_in_case_are_two(alice: Client) -> None:
    await alice.add_many([{"title": "a", "tags": ["home", "Home"]}, {"title": "b", "tags": ["home"]}])

    assert await tag_counts(alice) == [("home", 2), ("Home", 1)]


async def test_tags_are_those_of_living_tasks_of_ones_own_completed_ones_too(alice: Client, bob: Client) -> None:
    gone = await alice.add("gone", tags=["home", "gone"])
    await alice.add("done", tags=["home"], completed=True)
    await bob.add("his", tags=["home", "his"])
    await alice.delete(f"/v1/tasks/{gone['id']}")

    assert await tag_counts(alice) == [("home", 1)]


async def test_a_limit_keeps_the_most_used_tags(alice: Client) -> None:
    await alice.add_many([{"title": "a", "tags": ["x", "y", "z"]}, {"title": "b", "tags": ["z", "y"]}])
    await alice.add("c", tags=["z"])

    assert await tag_counts(alice, "?limit=2") == [("z", 3), ("y", 2)]


async def test_a_hundred_tags_are_listed_unless_asked_otherwise(alice: Client) -> None:
    await alice.add_many([{"title": "t", "tags": [f"{n}-{m}" for m in range(20)]} for n in range(6)])

    assert len(await tag_counts(alice)) == 100
    assert len(await tag_counts(alice, "?limit=1000")) == 120


async def test_the_tags_are_one_statement(alice: Client, statements: Statements) -> None:
    await alice.add("a", tags=["home"])
    statements.clear()

    await tag_counts(alice)

    assert len(statements) == 1, statements
