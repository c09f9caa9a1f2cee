"""Filters over HTTP against an oracle in plain Python: alone, with plain parameters, in every order and by cursor."""

import os
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.state import State
from tests.client import Client, Json, fresh_account
from tests.clock import stop_at
from tests.filter_cases import (
    COMPARED,
    DAYS,
    FIELDS,
    INSTANTS,
    NOW,
    PLAIN,
    TERMS,
    compared,
    one_of_each,
    ranged,
    rows,
    stored,
    timed,
)
from tests.test_listing_oracle import ordered
from tests.written import Written, listed, negated, written

EXAMPLES = int(os.environ.get("FILTER_EXAMPLES", "40"))  # 2,000 take five minutes, for whoever changes the language
numbers = count()


class Asked(NamedTuple):
    zone: str
    filter: Written[Json]
    plain: list[tuple[Json, Callable[[Json], Any]]]
    sort: str
    order: str | None
    limit: int
    page: int


def questions(zone: str) -> st.SearchStrategy[Asked]:
    return st.builds(
        Asked,
        st.just(zone),
        written(2, listed(TERMS) | timed(zone)),
        st.lists(st.sampled_from(PLAIN), max_size=2, unique_by=lambda plain: next(iter(plain[0]))),
        st.sampled_from(["created", "updated", "title", "priority", "due_date", "position", "relevance"]),
        st.sampled_from([None, "asc", "desc"]),
        st.integers(1, 3),
        st.integers(1, 3),
    )


@given(st.lists(rows, min_size=8, max_size=16), st.sampled_from(list(DAYS)).flatmap(questions))
@settings(max_examples=EXAMPLES)
async def test_a_filter_finds_what_its_parts_say(
    http: httpx.AsyncClient, state: State, made: list[Json], asked: Asked
) -> None:
    client = await fresh_account(http, state, f"user{next(numbers)}")
    living = await stored(state, client.user_id, made)
    found = sum(bool(asked.filter.fits(row)) for row, _ in living)
    if found < len(living) / 2:  # the complement says as much, and is a longer walk
        asked = asked._replace(filter=negated(["-"], Written(f"({asked.filter.text})", asked.filter.fits)))
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, NOW.isoformat())
        await check(client, living, asked)


async def check(client: Client, living: list[tuple[Json, Json]], asked: Asked) -> None:
    """`living` are the rows, and as they are to be shown."""
    parameters: Json = {"tz": asked.zone, "sort": asked.sort, "limit": asked.limit, "filter": asked.filter.text}
    predicates = [asked.filter.fits, *(fits for _, fits in asked.plain)]
    for plain, _ in asked.plain:
        parameters |= plain
    if asked.order:
        parameters["order"] = asked.order
    if asked.sort == "relevance" and "search" not in parameters:
        parameters["sort"] = "created"
    found = [shown for row, shown in living if all(fits(row) for fits in predicates)]
    if parameters["sort"] == "relevance":  # which has an oracle of its own
        at_once = (await client.page(**{**parameters, "limit": 200}))["items"]
        assert sorted(task["id"] for task in at_once) == sorted(task["id"] for task in found)
        found = at_once
    else:
        found = ordered(found, parameters["sort"], asked.order, lambda title: title.lower().replace("í", "i"))
    start = (asked.page - 1) * asked.limit

    page = await client.page(**parameters, page=asked.page)

    assert page["items"] == found[start : start + asked.limit]
    assert page["total"] == len(found)
    assert await client.walk(**parameters) == found


@pytest.mark.parametrize("zone", DAYS)
async def test_each_term_finds_what_it_says_and_negated_the_rest(
    alice: Client, state: State, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    said = [*DAYS[zone], *INSTANTS]
    terms = [Written(text, TERMS[text]) for text in TERMS]
    terms += [compared(zone, "due", sign, when) for sign in COMPARED for when in said]
    # The others read days and instants as `due` does; what differs is which tasks have such a time.
    terms += [compared(zone, field, sign, when) for field in FIELDS for sign in COMPARED for when in said[:2]]
    terms += [
        ranged(zone, field, *ends) for field in FIELDS for ends in ((said[2], said[0]), (said[0], ""), ("", said[1]))
    ]
    living = await stored(state, alice.user_id, one_of_each())
    stop_at(monkeypatch, NOW.isoformat())
    for n, term in enumerate(terms):
        # Of the times every other one is negated, which is enough and takes half as long.
        for sign in ("", "-") if n < len(TERMS) else ("-" * (n % 2),):
            found = await alice.page(filter=sign + term.text, tz=zone, limit=100, count="none")

            expected = {shown["id"] for row, shown in living if bool(term.fits(row)) == (sign == "")}
            assert {task["id"] for task in found["items"]} == expected, sign + term.text


SAME: list[tuple[Json, str]] = [
    ({"status": "completed"}, "is:done"),
    ({"priority": ["low", "high"]}, "priority:low,high"),
    ({"tags": ["home", "a,b"]}, "tag:home tag:a,b"),
    ({"any_tags": ["home", "a,b"]}, "tag:home or tag:a,b"),
    ({"not_tags": ["home", "a,b"]}, "-tag:home -tag:a,b"),
    ({"overdue": "true"}, "is:overdue"),
    ({"overdue": "false"}, "-is:overdue"),
    ({"has_due_date": "false"}, "due:none"),
    ({"due_date": "2031-03-30"}, "due:2031-03-30"),
    ({"due_date": "2031-05-08T10:00:00Z"}, "due:2031-05-08T10:00:00Z"),
    ({"due_before": "2031-05-08"}, "due<2031-05-08"),
    ({"due_after": "2031-05-08"}, "due>=2031-05-08"),
    ({"due_before": "2031-05-09", "due_after": "2031-03-30"}, "due:2031-03-30..2031-05-08"),
    ({"search": "figs -watering"}, "figs -watering"),
    ({"search": "figs or the watering"}, "figs or the watering"),
    ({"search": '-"water the figs"'}, '-"water the figs"'),
    ({"search": "the"}, "the"),
]


@pytest.mark.parametrize(("plain", "expression"), SAME, ids=[expression for _, expression in SAME])
async def test_a_plain_parameter_and_its_expression_find_the_same(
    alice: Client, state: State, monkeypatch: pytest.MonkeyPatch, plain: Json, expression: str
) -> None:
    await stored(state, alice.user_id, one_of_each())
    stop_at(monkeypatch, NOW.isoformat())

    for zone in DAYS:
        by_parameters = await alice.page(**plain, tz=zone, limit=100, sort="created")
        by_filter = await alice.page(filter=expression, tz=zone, limit=100)

        assert by_filter == by_parameters


async def test_a_cursor_of_a_filter_goes_with_no_other_filter(alice: Client) -> None:
    await alice.add_many([{"title": "figs", "tags": ["home"]}] * 3)
    cursor = (await alice.page(filter="tag:home", limit=1))["next_cursor"]

    for other in ({"filter": "tag:Home"}, {"filter": "tag:home tag:home"}, {"tags": "home"}, {}):
        answer = await alice.get("/v1/tasks", params={**other, "limit": 1, "cursor": cursor})
        assert answer.status_code == 422
    assert len((await alice.page(filter="tag:home", limit=5, cursor=cursor, facets="tag"))["items"]) == 2
