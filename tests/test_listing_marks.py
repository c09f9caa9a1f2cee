"""The ETags of listings: which questions have the same, and how If-None-Match names them."""

from itertools import combinations

import pytest

from backend.state import State
from tests.client import Client, Json, settled_in
from tests.test_listing_conditional import ask, mark_of

QUESTIONS: list[Json] = [
    {},
    {"limit": 1},
    {"limit": 2},
    {"limit": 1, "page": 2},
    {"count": "none"},
    {"count": "estimate"},
    {"facets": "tag"},
    {"facets": "tag,status"},
    {"facets": "status,tag"},
    {"status": "pending"},
    {"status": "completed"},
    {"sort": "title"},
    {"sort": "title", "order": "desc"},
    {"order": "asc"},
    {"tags": ["a", "b"]},
    {"any_tags": ["a", "b"]},
    {"not_tags": ["a", "b"]},
    {"tags": "a"},
    {"filter": "tag:a"},
    {"filter": "tag:b"},
    {"filter": "-tag:a"},
    {"filter": "figs"},
    {"filter": "figs tag:a"},
    {"filter": "figs or tag:a"},
    {"search": "figs"},
    {"search": "fig"},
    {"search": "figs", "fuzzy": "true"},
    {"search": "figs", "highlight": "true"},
    {"search": "figs", "sort": "title"},
    {"due_date": "2031-05-08"},
    {"due_date": "2031-05-08", "tz": "Europe/Berlin"},
    {"due_before": "2031-05-08"},
    {"due_after": "2031-05-08"},
    {"filter": "due<2031-05-08"},
    {"filter": "due:none"},
    {"has_due_date": "true"},
    {"has_due_date": "false"},
    {"tz": "Asia/Tokyo"},
]


async def test_no_two_questions_share_a_mark(alice: Client) -> None:
    await alice.add_many([{"title": "figs"}] * 3)
    marks = {str(question): await mark_of(alice, **question) for question in QUESTIONS}

    assert {(one, two) for one, two in combinations(marks, 2) if marks[one] == marks[two]} == set()


async def test_no_two_places_of_a_walk_share_a_mark(alice: Client) -> None:
    await alice.add_many([{"title": "figs"}] * 3)
    marks: list[str] = []
    cursor = None
    for _ in range(3):
        answer = await ask(alice, limit=1, **({"cursor": cursor} if cursor else {}))
        marks.append(answer.headers["ETag"])
        cursor = answer.json()["next_cursor"]

    assert len(set(marks)) == 3
    assert (await ask(alice, marks[0], limit=1)).status_code == 304


async def test_what_a_question_is_called_makes_no_difference(alice: Client) -> None:
    assert await mark_of(alice) == await mark_of(alice, page=1, limit=20, sort="created", order="desc", status="all")
    assert await mark_of(alice, tz="UTC") == await mark_of(alice)


async def test_the_accounts_zone_and_language_belong_to_the_question(alice: Client, state: State) -> None:
    questions: list[Json] = [{"due_date": "2031-05-08"}, {"search": "figs"}, {"filter": "figs"}]
    before = [await mark_of(alice, **question) for question in questions]

    there = await settled_in(state, alice, "Asia/Tokyo", "en")
    assert await mark_of(there, **questions[0]) != before[0]
    german = await settled_in(state, alice, "UTC", "de")
    assert await mark_of(german, **questions[1]) != before[1]
    assert await mark_of(german, **questions[2]) != before[2]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("*", 304),
        ("{mark}", 304),
        ("{strong}", 304),  # the comparison is weak
        ('"x", {mark}', 304),
        ('W/"x" , "y",{strong}', 304),
        ('"x", W/"y"', 200),
        ('"*"', 200),  # a mark like any other
        ('W/"*"', 200),
        ("", 200),
        ('""', 200),
        ('W/""', 200),
        ("{other}", 200),
        ("{bare}", 200),
        (",,,", 200),
        ('"' + "x" * 5_000 + '"', 200),
    ],
)
async def test_if_none_match_is_compared_mark_by_mark(alice: Client, header: str, status: int) -> None:
    mark = await mark_of(alice)
    strong = mark.removeprefix("W/")
    other = await mark_of(alice, limit=1)

    known = header.format(mark=mark, strong=strong, bare=strong.strip('"'), other=other)
    answer = await alice.get("/v1/tasks", headers={"If-None-Match": known})

    assert answer.status_code == status


async def test_marks_may_come_in_several_lines(alice: Client) -> None:
    lines = [("If-None-Match", '"x"'), ("If-None-Match", await mark_of(alice))]
    headers = [("Authorization", f"Bearer {alice.token}"), *lines]

    assert (await alice.http.get("/v1/tasks", headers=headers)).status_code == 304
