"""Searches that are not finished or not quite right: beginnings, likes, and what was meant."""

from typing import Any

import pytest

from backend.rules import search
from backend.state import State
from tests.client import Client, Json, Statements, settled_in
from tests.test_search import found

PLANTS: list[Json] = [
    {"title": "Quarterly report"},
    {"title": "quarter past nine"},
    {"title": "quartz watch", "tags": ["repair"]},
    {"title": "Übersicht", "description": "for the next quarters"},
    {"title": "figs"},
]


@pytest.mark.parametrize(
    ("typed", "titles"),
    [
        ("quart*", {"Quarterly report", "quarter past nine", "quartz watch", "Übersicht"}),
        ("QUART*", {"Quarterly report", "quarter past nine", "quartz watch", "Übersicht"}),
        ("quartz*", {"quartz watch"}),
        ("quarterly*", {"Quarterly report", "quarter past nine", "Übersicht"}),  # as the word itself
        ("über*", {"Übersicht"}),
        ("uber*", {"Übersicht"}),
        ("rep*", {"Quarterly report", "quartz watch"}),
        ("quart* rep*", {"Quarterly report", "quartz watch"}),
        ("quart* watch", {"quartz watch"}),
        ("quart* -rep*", {"quarter past nine", "Übersicht"}),
        ("-quart*", {"figs"}),
        ("figs or quartz*", {"figs", "quartz watch"}),
        ('"quarter past" quart*', {"quarter past nine"}),
        ('"quart* past"', set()),  # a star in quotes is no beginning
        ("quart", set()),
        ("qu*rt", set()),
        ("*", set()),
        ("well-kn*", set()),
    ],
)
async def test_a_star_finds_what_begins_like_this(alice: Client, typed: str, titles: set[str]) -> None:
    await alice.add_many(PLANTS)

    assert await found(alice, typed) == titles


async def test_the_beginning_of_the_second_half_of_a_word_is_found(alice: Client) -> None:
    await alice.add_many([{"title": "a well-known fig"}, {"title": "a well-kept fig"}])

    assert await found(alice, "well-kn*") == {"a well-known fig"}


async def test_a_beginning_is_marked_in_the_snippet(alice: Client) -> None:
    await alice.add("Quarterly report")

    [item] = (await alice.page(search="quart*", highlight="true"))["items"]

    assert item["snippet"] == "<mark>Quarterly</mark> report"


async def test_what_is_nearly_right_is_marked_too_and_in_a_tag_as_well(alice: Client) -> None:
    await alice.add("In the kitchen", tags=["garden"])

    [item] = (await alice.page(search="kitchne gardn", fuzzy="true", highlight="true"))["items"]

    assert item["snippet"] == "<mark>kitchen</mark> · <mark>garden</mark>"


async def test_a_beginning_means_the_same_in_a_filter(alice: Client) -> None:
    await alice.add_many(PLANTS)

    for typed in ("quart*", "quart* -rep*", '"quarter past" quart*', "figs or quartz*"):
        assert set(await alice.titles(filter=typed)) == await found(alice, typed)


async def test_what_is_nearly_right_is_found_when_asked_for(alice: Client) -> None:
    await alice.add_many([{"title": "Zürich trip"}, {"title": "kitchen"}, {"title": "tagged", "tags": ["kitchen"]}])

    assert await found(alice, "kitchne") == set()
    assert await found(alice, "kitchne", fuzzy="true") == {"kitchen", "tagged"}
    assert await found(alice, "zurch", fuzzy="true") == {"Zürich trip"}
    assert await found(alice, "ZÜRCH tripp", fuzzy="true") == {"Zürich trip"}
    assert await found(alice, "zurch kitchne", fuzzy="true") == set()  # all of them, each or its like
    assert await found(alice, "balcony", fuzzy="true") == set()


async def test_nearly_right_finds_what_is_right_in_any_form(alice: Client) -> None:
    await alice.add_many([{"title": "watering"}, {"title": "x", "description": "she watered it"}])

    assert await found(alice, "water", fuzzy="true") == {"watering", "x"}


async def test_stop_words_are_left_out_of_what_is_nearly_right(alice: Client) -> None:
    await alice.add("the kitchen")

    assert await found(alice, "the kitchne", fuzzy="true") == {"the kitchen"}
    assert await found(alice, "the", fuzzy="true") == set()


async def test_the_word_as_typed_comes_before_its_likes(alice: Client) -> None:
    await alice.add_many(
        [
            {"title": "described", "description": "kitten", "completed": True},
            {"title": "kitten"},
            {"title": "mittens", "description": "kitten mittens"},
            {"title": "kittens kitchen", "completed": True},
            {"title": "mitten kitchen"},
            {"title": "mitten", "tags": ["mitten"]},
        ]
    )

    titles = await alice.titles(search="kitten", fuzzy="true")

    assert titles == ["kitten", "kittens kitchen", "mittens", "described", "mitten", "mitten kitchen"]


async def test_a_walk_through_what_is_nearly_right_sees_every_hit_once(alice: Client) -> None:
    await alice.add_many([{"title": f"kitchen{'s' * (n % 2)} {'kitten ' * (n % 4)}"} for n in range(20)])
    at_once = await alice.page(search="kitchne", fuzzy="true", limit=200)

    assert at_once["total"] == 20
    assert await alice.walk(search="kitchne", fuzzy="true", limit=3) == at_once["items"]


@pytest.mark.parametrize(
    ("search", "status"),
    [
        ("one two three four five six seven eight", 200),
        ("one two three four five six seven eight nine", 422),
        ("a/b/c/d/e/f/g/h", 200),
        ("a/b/c/d/e/f/g/h/i", 422),  # compared one by one, as if there were spaces
        ('"the kitchen"', 422),
        ('kitchen"', 422),
        ("figs -dead", 422),
        ("-dead", 422),
        ("kitch*", 422),
        ("figs or lemons", 422),  # all of them are wanted, so it would be no `or`
        ("OR", 422),
        ("order", 200),
        ("well-known", 200),
        ("🍋", 200),
        ("!", 200),
    ],
)
async def test_nearly_right_takes_a_few_words_and_nothing_else(alice: Client, search: str, status: int) -> None:
    answer = await alice.get("/v1/tasks", params={"search": search, "fuzzy": "true"})

    assert answer.status_code == status, answer.text


async def meant(client: Client, typed: str, **parameters: Any) -> str | None:
    page = await client.page(search=typed, **parameters)
    assert page["items"] == []
    return str(page["did_you_mean"]) if "did_you_mean" in page else None


@pytest.mark.parametrize(
    ("typed", "suggestion"),
    [
        ("kitchne", "kitchen"),
        ("KITCHNE", "kitchen"),
        ("zurch", "zurich"),
        ("kitchne lemons", "kitchen lemons"),
        ("lemons kitchne", "lemons kitchen"),
        ("the kitchne", "the kitchen"),  # which is in no task, and is not looked for
        ("Watering the kitchne", "Watering the kitchen"),  # there as "water"
        ("kitchne olives", "kitchen olives"),  # in a description, where no words are taken from
        ('"the kitchne" -dead', '"the kitchen" -dead'),  # the signs stay
        ("kitchne or balkony", "kitchen or balcony"),
        ("kitchne/balkony!", "kitchen/balcony!"),
        ("kitchn* xyzzy", None),  # what is not finished is not misspelt
        ("kit* kitchne", "kit* kitchen"),
        ("xyzzy", None),
        ("the", None),
        ("-kitchen -lemons -water -zurich", None),
        ("полить", None),
        ("🍋", None),
        ("!", None),
        ("lemons zurich", None),  # all are known, only not together
        ("haha", None),  # as like "hahaha" as itself
        ("kitchne " * 9, None),  # so many are not compared
    ],
)
async def test_when_nothing_is_found_a_search_is_offered_that_was_meant(
    alice: Client, typed: str, suggestion: str | None
) -> None:
    await alice.add_many(
        [
            {"title": "lemons in the kitchen", "tags": ["balcony"]},
            {"title": "water", "description": "the olives"},
            {"title": "Zürich kitchen balcony"},
            {"title": "haha", "completed": True},
            {"title": "hahaha"},
            {"title": "hahaha!"},
        ]
    )
    narrow = {"filter": "due:any"} if suggestion is None else {}

    assert await meant(alice, typed, **narrow) == suggestion


async def test_what_is_offered_finds_something(alice: Client) -> None:
    await alice.add_many([{"title": "Zürich trip"}, {"title": "kitchen", "tags": ["balcony"]}])

    for typed in ("zurch", "kitchne balkony", '"zurch trip"', "zurch or xyzzy"):
        offered = await meant(alice, typed)
        assert offered
        assert await found(alice, offered)


async def test_words_of_other_scripts_are_meant_too(alice: Client) -> None:
    await alice.add_many([{"title": "полить фиги"}, {"title": "ποτίζω"}])

    assert await meant(alice, "палить") == "полить"
    assert await meant(alice, "ποτίζο") == "ποτιζω"


async def test_nothing_is_offered_on_an_empty_page_of_what_was_found(alice: Client) -> None:
    await alice.add("kitchen")
    await alice.add("kitchens or balkony")
    first = await alice.page(search="kitchen", limit=1)
    [last] = (await alice.page(search="kitchen", limit=1, cursor=first["next_cursor"]))["items"]
    await alice.delete(f"/v1/tasks/{last['id']}")

    past_the_end = await alice.page(search="balkony", page=2)
    after_the_last = await alice.page(search="kitchen", limit=1, cursor=first["next_cursor"])

    for page in (past_the_end, after_the_last, first):
        assert "did_you_mean" not in page
    assert past_the_end["items"] == after_the_last["items"] == []


async def test_something_is_offered_on_the_first_page_of_nothing(alice: Client) -> None:
    await alice.add("kitchen")

    assert await meant(alice, "kitchne", count="none") == "kitchen"
    assert await meant(alice, "kitchne", page=2) is None


async def test_nothing_is_offered_or_found_from_another_users_words(alice: Client, bob: Client) -> None:
    await bob.add("kitchen")
    await alice.add("palms")

    assert await meant(alice, "kitchne") is None
    assert await found(alice, "kitchne", fuzzy="true") == set()
    assert await meant(bob, "kitchne") == "kitchen"
    # That a word is known is told by the owner's tasks alone, too.
    await alice.add("kitchenware")
    assert await meant(alice, "kitchen") == "kitchenware"


async def test_words_in_the_trash_are_not_offered(alice: Client) -> None:
    task = await alice.add("kitchen")
    await alice.delete(f"/v1/tasks/{task['id']}")

    assert await meant(alice, "kitchne") is None


async def test_a_known_word_is_known_in_the_accounts_language(alice: Client, state: State) -> None:
    german = await settled_in(state, alice, "UTC", "de")
    await german.add("Haus und Garten")

    assert await meant(german, "Häuser Grten") == "Häuser garten"


@pytest.mark.parametrize(
    ("parameters", "count"), [({"fuzzy": "true"}, 1), ({"page": 2}, 1), ({"filter": "tag:home"}, 2), ({}, 2)], ids=str
)
@pytest.mark.parametrize("typed", ["kitchne", "kitchne balkony", "xyzzy", "the"])
async def test_a_search_that_is_nearly_right_is_one_statement_and_one_for_what_is_offered(
    alice: Client, statements: Statements, typed: str, parameters: dict[str, Any], count: int
) -> None:
    await alice.add("kitchen", tags=["balcony"])
    statements.clear()

    await alice.page(search=typed, **parameters)

    assert len(statements) == count, statements


@pytest.mark.parametrize(
    ("typed", "words", "text"),
    [
        ("figgs", ["figs"], "figs"),
        ('a -b "c d" e* or f', ["A", None, "D", "F"], 'A -b "c D" e* or F'),
        ("„x“ y/z, x", ["1", "2", "3", "4"], "„1“ 2/3, 4"),
        ("- or *", [], "- or *"),
    ],
)
def test_a_search_is_reworded_word_by_word(typed: str, words: list[str | None], text: str) -> None:
    assert search.reworded(typed, words) == text


def test_what_a_search_is_ranked_by_are_the_words_that_may_be_there() -> None:
    assert search.read('figs -dead "the kitchen" or quart* -"x y"').any_of == "'figs' | 'the kitchen' | 'quart':*"
    assert search.read("-dead").any_of == ""
