"""Tasks that are found by what was said about them in comments."""

from itertools import count, pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.state import State
from tests.client import Client, Json, Statements, fresh_account
from tests.test_comments import say, url
from tests.test_search import found

numbers = count()


async def test_a_task_is_found_by_its_comments_and_only_by_one_s_own(alice: Client, bob: Client) -> None:
    task = await alice.add("Water")
    await alice.add("Other")
    await bob.add("His")
    comment = await say(alice, task, "The lemons have new leaves")

    assert await found(alice, "lemon leaves") == {"Water"}
    assert await found(alice, '"new leaves"') == {"Water"}
    assert await found(alice, "lem*") == {"Water"}
    assert await found(alice, "figs or lemons") == {"Water"}
    assert await found(bob, "lemons") == set()
    await alice.patch(url(task, comment), {"body": "Figs"})
    assert await found(alice, "lemons") == set()
    assert await found(alice, "figs") == {"Water"}
    await alice.delete(url(task, comment))
    assert await found(alice, "figs") == set()


async def test_all_words_are_looked_for_in_one_text(alice: Client) -> None:
    task = await alice.add("Water", description="figs")
    await say(alice, task, "lemons")
    await say(alice, task, "palms")

    assert await found(alice, "water figs") == {"Water"}
    for spread in ("water lemons", "lemons palms", '"figs lemons"'):
        assert await found(alice, spread) == set()


async def test_a_minus_is_about_the_text_that_is_found_and_alone_about_the_task(alice: Client) -> None:
    quiet, dead = await alice.add("Quiet"), await alice.add("Dead figs")
    await say(alice, quiet, "dead lemons")
    await say(alice, dead, "living lemons")

    assert await found(alice, "lemons -dead") == {"Dead figs"}
    assert await found(alice, "-dead") == {"Quiet"}
    assert await found(alice, "-lemons") == {"Quiet", "Dead figs"}


async def test_a_task_in_the_trash_is_not_found_by_its_comments(alice: Client) -> None:
    task = await alice.add("Water")
    await say(alice, task, "lemons")
    await alice.delete(f"/v1/tasks/{task['id']}")

    assert await found(alice, "lemons") == set()


async def test_a_comment_counts_less_than_all_that_the_task_says(alice: Client) -> None:
    words = " ".join(f"word{n}" for n in range(200))
    made = await alice.add_many(
        [
            {"title": "much in a comment"},
            {"title": "little in a comment", "completed": True},
            {"title": "described", "description": f"figs {words}", "completed": True},
            {"title": "tagged", "tags": ["figs"], "completed": True},
            {"title": "figs", "completed": True},
            {"title": "figs as well", "completed": True},
        ]
    )
    await say(alice, made[0], "figs figs and figs")
    await say(alice, made[1], f"figs {words}")
    await say(alice, made[5], "and figs again")
    best_first = ["figs as well", "figs", "tagged", "described", "much in a comment", "little in a comment"]

    assert await alice.titles(search="figs") == best_first
    assert await alice.titles(search="figs", order="asc") == best_first[::-1]


async def test_the_best_comment_counts_and_not_their_number(alice: Client) -> None:
    many, good = await alice.add_many([{"title": "many", "completed": True}, {"title": "good", "completed": True}])
    for _ in range(5):
        await say(alice, many, "a comment that says figs among many others and then lemons")
    await say(alice, good, "figs lemons")

    assert await alice.titles(search="figs lemons") == ["good", "many"]


async def snippets(client: Client, search: str, **parameters: Any) -> dict[str, str]:
    page = await client.page(search=search, highlight="true", **parameters)
    return {item["title"]: item["snippet"] for item in page["items"]}


async def test_a_snippet_is_of_the_best_comment_where_the_task_does_not_say_it(alice: Client) -> None:
    task, both = await alice.add("Water", description="lemons"), await alice.add("figs & lemons", tags=["plants"])
    await say(alice, task, "some figs <b>, somewhere, and many words later some lemons")
    await say(alice, task, "figs & lemons")
    await say(alice, both, "figs lemons plants")

    assert await snippets(alice, "figs lemons") == {
        "Water": "<mark>figs</mark> &amp; <mark>lemons</mark>",
        "figs & lemons": "<mark>figs</mark> &amp; <mark>lemons</mark>",
    }
    assert await snippets(alice, "somewhere") == {
        "Water": "some figs &lt;b&gt;, <mark>somewhere</mark>, and many words later some lemons"
    }
    assert await snippets(alice, "plants") == {"figs & lemons": "figs &amp; lemons · <mark>plants</mark>"}
    assert await snippets(alice, "figs -plants") == {
        "Water": "some <mark>figs</mark> &lt;b&gt;, somewhere, and many words later some lemons"
    }
    assert "snippet" not in (await alice.page(search="figs"))["items"][0]


async def test_fuzzy_finds_a_like_in_a_comment_when_it_is_known_from_a_title(alice: Client) -> None:
    await alice.add("kitchen")
    await say(alice, await alice.add("Water"), "in the kitchen")
    await say(alice, await alice.add("Other"), "in the cellar")

    assert await alice.titles(search="kitchne", fuzzy="true") == ["kitchen", "Water"]
    assert await alice.titles(search="celar", fuzzy="true") == []
    assert await alice.titles(search="cellar", fuzzy="true") == ["Other"]


async def test_a_word_that_a_comment_says_is_not_taken_for_another(alice: Client) -> None:
    task = await alice.add("figs kitchen")
    await say(alice, task, "kitten")

    assert (await alice.page(search="kitten notthere"))["items"] == []
    assert "did_you_mean" not in await alice.page(search="kitten notthere")
    assert (await alice.page(search="kitchne kitten"))["did_you_mean"] == "kitchen kitten"


async def test_a_filter_s_words_are_the_task_s_own(alice: Client) -> None:
    task = await alice.add("Water", description="figs")
    await say(alice, task, "lemons")

    assert await alice.titles(filter="lemons") == []
    assert await alice.titles(filter="-lemons") == ["Water"]
    assert await alice.titles(search="lemons", filter="figs") == ["Water"]


async def test_a_comment_makes_a_listing_another_one(alice: Client) -> None:
    task = await alice.add("Water")
    answer = await alice.get("/v1/tasks", params={"search": "lemons"})
    known = {"If-None-Match": answer.headers["ETag"]}
    assert (await alice.get("/v1/tasks", params={"search": "lemons"}, headers=known)).status_code == 304

    await say(alice, task, "lemons")

    again = await alice.get("/v1/tasks", params={"search": "lemons"}, headers=known)
    assert (again.status_code, again.json()["total"]) == (200, 1)


async def test_a_search_is_one_statement(alice: Client, statements: Statements) -> None:
    await say(alice, await alice.add("Water"), "lemons")
    statements.clear()

    await alice.page(search="lemons", highlight="true", facets="tag,status,priority", count="estimate")

    assert len(statements) == 1


WORDS = ["figs", "lemons", "palms", "water"]
texts = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
tasks = st.fixed_dictionaries(
    {
        "title": texts.map(lambda text: f"task {text}"),
        "description": texts,
        "tags": st.sampled_from([[], ["home"]]),
        "completed": st.booleans(),
    }
)
SEARCHES: dict[str, Any] = {
    "figs": lambda words: "figs" in words,
    "figs lemons": lambda words: {"figs", "lemons"} <= set(words),
    "figs or palms": lambda words: bool({"figs", "palms"} & set(words)),
    "water -figs": lambda words: "water" in words and "figs" not in words,
    '"figs lemons"': lambda words: ("figs", "lemons") in set(pairwise(words)),
}


def is_found(search: str, task: Json, said: list[str]) -> bool:
    own = [*task["title"].split(), "·", *task["tags"], "·", *task["description"].split()]
    return any(SEARCHES[search](text) for text in (own, *map(str.split, said)))


@given(
    made=st.lists(st.tuples(tasks, st.lists(texts.filter(bool), max_size=3)), min_size=1, max_size=6),
    deletes=st.booleans(),
    sort=st.sampled_from(["relevance", "relevance", "created", "updated", "title", "priority", "due_date"]),
    order=st.sampled_from(["asc", "desc"]),
    limit=st.integers(1, 4),
)
@settings(max_examples=12)
async def test_searches_say_what_the_oracle_says(
    http: httpx.AsyncClient,
    state: State,
    made: list[tuple[Json, list[str]]],
    deletes: bool,
    sort: str,
    order: str,
    limit: int,
) -> None:
    client = await fresh_account(http, state, f"user{next(numbers)}")
    added = await client.add_many([task for task, _ in made])
    for task, (_, said) in zip(added, made, strict=True):
        written = [await say(client, task, body) for body in said]
        if deletes and written:
            await client.delete(url(task, written[0]))
            del said[0]
    for search in SEARCHES:
        expected = {
            task["id"] for task, (given, said) in zip(added, made, strict=True) if is_found(search, given, said)
        }
        asked: Json = {"search": search, "sort": sort, "order": order}

        page = await client.page(**asked, limit=200, facets="status,tag", highlight="true")
        walked = await client.walk(**asked, limit=limit, highlight="true")

        assert {item["id"] for item in page["items"]} == expected
        assert page["total"] == len(expected)
        assert sum(each["count"] for each in page["facets"]["status"]) == len(expected)
        assert walked == page["items"]
        if search.isalpha():
            assert all("<mark>" in item["snippet"] for item in page["items"])


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_walk_by_relevance_sees_every_hit_once_whatever_the_comments_say(alice: Client, order: str) -> None:
    made = await alice.add_many([{"title": f"figs {n}" if n % 3 else f"task {n}"} for n in range(12)])
    for n, task in enumerate(made):
        await say(alice, task, "figs lemons " * (1 + n % 4) + "and some palms " * (n % 2))
    at_once = await alice.page(search="figs or lemons", order=order, limit=200)

    assert at_once["total"] == 12
    assert await alice.walk(search="figs or lemons", order=order, limit=5) == at_once["items"]
