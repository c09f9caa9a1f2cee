"""No text in a question breaks a listing: whatever is asked is answered with 200 or 422."""

from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backend.rules.filters import CHARACTERS, NESTING, TERMS
from backend.schemas.filters import TaskFilter
from backend.state import State
from tests.client import Client, fresh_account
from tests.test_filter_meaning import PIECES

numbers = count()
SIGNS = ["'", "''", "\\", ":*", "&", "|", "!", "<->", "/", "<b>", "--", "%", "\x01", "\u202e", "ﷺ", "\ud7ff", "🍋*"]
TIMES = ["9999-12-31", "0001-01-01", ">9999-12-31", "<0001-01-01", "..9999-12-31", "+99999d", "-99999y", "0d..0d"]
texts = st.lists(st.sampled_from([*PIECES, *SIGNS, *TIMES]), max_size=25).map("".join) | st.text(max_size=40)
# What is more often a filter than not, so that it reaches the database.
terms = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "-", "not ", "(", "or "]),
    st.sampled_from(["due", "created", "updated", "completed"]).flatmap(
        lambda field: st.sampled_from([":", "<", "<=", ">", ">="]).map(lambda sign: field + sign)
    ),
    st.sampled_from(["today", "mon", "9999-12-31", "0001-01-01", "..today", "+99999d..", "-99999w", "none"]),
)
plausible = st.lists(terms | st.sampled_from(["figs", "tag:home", "is:overdue", ")", '"a b"', "ö*"]), max_size=6)
values: dict[str, st.SearchStrategy[str]] = {
    "filter": plausible.map(" ".join) | texts,
    "search": texts,
    "facets": st.lists(st.sampled_from(["tag", "priority", "status", "project", "", "x", "tag "])).map(",".join)
    | texts,
    "count": st.sampled_from(["exact", "estimate", "none", "estimate "]) | texts,
    "include": st.lists(st.sampled_from(["parents", "subtasks", "x"])).map(",".join) | texts,
    "fuzzy": st.sampled_from(["true", "false", "1"]),
    "highlight": st.sampled_from(["true", "false"]),
    "sort": st.sampled_from(["relevance", "due_date", "position", "title", "x"]),
    "order": st.sampled_from(["asc", "desc"]),
    "tz": st.sampled_from(["Pacific/Kiritimati", "Pacific/Niue", "UTC", "x"]),
    "page": st.sampled_from(["1", "2", "500", "0"]),
    "cursor": texts,
    "due_date": st.sampled_from(["9999-12-31", "0001-01-01", "2031-05-08T00:00:00Z"]) | texts,
}


def asked(name: str) -> st.SearchStrategy[dict[str, str]]:
    """With this parameter, and perhaps some others."""
    others = st.sampled_from([other for other in values if other != name])
    return st.lists(others, max_size=2).flatmap(
        lambda more: st.fixed_dictionaries({each: values[each] for each in (name, *more)})
    )


questions = st.sampled_from(["filter", "filter", "search", "search", "facets", "count", "cursor"]).flatmap(asked)


@given(st.lists(questions, min_size=10, max_size=10))
@example([{"filter": "created>9999-12-31"}, {"filter": "-created>9999-12-31 figs", "search": "figs", "fuzzy": "true"}])
@example(
    [{"filter": "created>9999-12-31 or due>9999-12-31", "facets": "tag,priority,status,project", "count": "estimate"}]
)
@example([{"filter": "created<=9999-12-31", "sort": "due_date"}, {"filter": "(figs or created<=9999-12-31)"}])
@example([{"search": "🍋", "fuzzy": "true", "highlight": "true"}, {"search": "the", "fuzzy": "true"}])
@settings(max_examples=20)
async def test_whatever_is_asked_is_answered_or_refused(
    http: httpx.AsyncClient, state: State, some: list[dict[str, str]]
) -> None:
    client = await fresh_account(http, state, f"user{next(numbers)}")
    await client.add("figs 'n' \\ lemons", tags=["home", "a b"], due_date="9999-12-31T23:59:59.999999Z")
    for parameters in some:
        answer = await client.get("/v1/tasks", params=parameters)

        assert answer.status_code in {200, 422}, (parameters, answer.text)
        if answer.status_code == 422:
            assert {str(error["loc"][0]) for error in answer.json()["errors"]} == {"query"}


@pytest.mark.parametrize(
    "query", ["filter=%ff", "filter=%ed%a0%80", "search=%00", "filter=%00", "filter=a%00", "fuzzy=%ff"]
)
async def test_bytes_that_are_no_text_are_refused(alice: Client, query: str) -> None:
    assert (await alice.get(f"/v1/tasks?{query}")).status_code == 422


async def test_many_distinct_shapes_in_a_row_are_answered(alice: Client) -> None:
    """Each is a statement of its own."""
    await alice.add("figs", tags=["home"])
    pieces = [
        "tag:home",
        "-tag:x",
        "is:open",
        "due:none",
        "priority<high",
        "-has:description",
        "figs",
        "created<=today",
    ]
    for shape in range(1, 1 << len(pieces), 2):
        chosen = [piece for n, piece in enumerate(pieces) if shape >> n & 1]
        joint = (" ", " or ")[shape >> 1 & 1]
        page = await alice.page(filter=joint.join(chosen), count="none")
        assert len(page["items"]) == 1


LARGEST = {
    "terms joined": " ".join(["-tag:x"] * TERMS),
    "alternatives": " or ".join(["-due:+9d"] * TERMS),
    "words": " ".join(f"w{n}" for n in range(TERMS)),
    "a phrase": f'"{" ".join(["w"] * TERMS)}"',
    "negations": "-" * (CHARACTERS - 4) + "figs",
    "levels": "(" * NESTING + "figs" + ")" * NESTING,
    "levels that matter": "-(tag:a or (figs -" * 5 + "tag:b" + "))" * 5,
    "texts apart": " or ".join(f"(w{n} -tag:t)" for n in range(TERMS // 2)),
    "a long word": "x" * CHARACTERS,
    "beginnings": "a* or b* or c* or 9*",
    "spaces": "figs" + " " * (CHARACTERS - 8) + "figs",
}


@pytest.mark.parametrize("largest", LARGEST)
async def test_the_largest_that_is_allowed_is_answered(alice: Client, largest: str) -> None:
    await alice.add("figs", tags=["home"])
    everything = {"facets": "tag,priority,status,project", "count": "estimate"}

    for others in ({}, {**everything, "search": "figs or lemons", "highlight": "true"}):
        answer = await alice.get("/v1/tasks", params={"filter": LARGEST[largest], **others})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-tag:x " * (TERMS + 1), "terms"),
        ("x" * (CHARACTERS + 1), "characters"),
        ("(" * (NESTING + 1) + "figs" + ")" * (NESTING + 1), "deep"),
    ],
)
async def test_what_is_larger_is_refused(alice: Client, text: str, reason: str) -> None:
    answer = await alice.get("/v1/tasks", params={"filter": text})

    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["loc"] == ["query", "filter"]
    assert reason in error["msg"]


@pytest.mark.parametrize(
    "parameters",
    [{"filter": "a* b* c* d* e*"}, {"search": "a* b* c* d* e*"}, {"filter": "a* b*", "search": "c* d* e*"}],
)
async def test_more_than_four_beginnings_are_refused(alice: Client, parameters: dict[str, str]) -> None:
    answer = await alice.get("/v1/tasks", params=parameters)

    assert answer.status_code == 422
    assert "beginnings" in answer.json()["errors"][0]["msg"]


async def test_a_filter_is_in_the_links_as_it_was_sent(alice: Client) -> None:
    await alice.add_many([{"title": "figs & lemons"}] * 2)
    expression = 'created>=-1d and "figs & lemons" or tag:"a,b;c>"'
    link = (await alice.get(f"/v1/tasks?limit=1&filter={quote(expression)}")).headers["Link"]

    following = link.split(">; rel=")[0].removeprefix("<")

    assert (await alice.get(following)).json()["page"] == 2
    assert httpx.URL(following).params["filter"] == expression


def test_each_parameter_is_among_those_that_are_tried() -> None:
    """Whoever adds one adds it here."""
    tried_elsewhere: set[Any] = {"status", "priority", "due_before", "due_after", "overdue", "has_due_date", "limit"}
    tried_elsewhere |= {"tags", "any_tags", "not_tags", "saved"}
    tried_elsewhere |= {"project_id", "inbox", "parent_id", "is_subtask"}
    assert set(TaskFilter.model_fields) == set(values) | tried_elsewhere
