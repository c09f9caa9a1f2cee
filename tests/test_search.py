"""Full-text search: what is found, how well, and where."""

import html
import re
from itertools import count
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.state import State
from tests.client import Client, fresh_account, settled_in

numbers = count()


async def found(client: Client, search: str, **parameters: Any) -> set[str]:
    return set(await client.titles(search=search, **parameters))


async def test_a_word_is_found_in_title_tags_and_description(alice: Client) -> None:
    await alice.add_many(
        [
            {"title": "water the figs"},
            {"title": "tagged", "tags": ["home", "figs"]},
            {"title": "described", "description": "the two figs on the balcony"},
            {"title": "palms"},
        ]
    )

    assert await found(alice, "figs") == {"water the figs", "tagged", "described"}


async def test_all_words_are_wanted_wherever_each_of_them_is(alice: Client) -> None:
    await alice.add_many(
        [
            {"title": "water", "tags": ["figs"], "description": "balcony"},
            {"title": "water figs"},
            {"title": "balcony"},
        ]
    )

    assert await found(alice, "balcony figs water") == {"water"}


async def test_or_means_any_of_them(alice: Client) -> None:
    await alice.add_many([{"title": "figs"}, {"title": "palms"}, {"title": "lemons"}])

    assert await found(alice, "figs or lemons") == {"figs", "lemons"}


async def test_a_minus_means_without(alice: Client) -> None:
    await alice.add_many([{"title": "dead figs"}, {"title": "living figs"}, {"title": "palms"}])

    assert await found(alice, "figs -dead") == {"living figs"}
    assert await found(alice, "-dead") == {"living figs", "palms"}


async def test_a_phrase_wants_the_words_side_by_side_and_in_order(alice: Client) -> None:
    await alice.add_many([{"title": "kitchen figs"}, {"title": "figs kitchen"}, {"title": "kitchen and its many figs"}])

    assert await found(alice, '"kitchen figs"') == {"kitchen figs"}
    assert await found(alice, 'figs -"kitchen figs"') == {"figs kitchen", "kitchen and its many figs"}


async def test_a_phrase_does_not_reach_from_one_part_of_a_task_into_the_next(alice: Client) -> None:
    await alice.add("water", tags=["figs", "palms"], description="lemons")

    assert await found(alice, '"water figs"') == set()
    assert await found(alice, '"figs palms"') == set()
    assert await found(alice, '"palms lemons"') == set()
    assert await found(alice, "water figs palms lemons") == {"water"}


async def test_a_phrase_is_found_within_one_tag(alice: Client) -> None:
    await alice.add("tagged", tags=["green house"])

    assert await found(alice, '"green house"') == {"tagged"}


async def test_words_are_found_in_other_forms(alice: Client) -> None:
    await alice.add("Watering the berries")

    assert await found(alice, "water berry") == {"Watering the berries"}


async def test_a_word_is_found_whole_and_not_by_its_beginning(alice: Client) -> None:
    await alice.add("figurine")

    assert await found(alice, "fig") == set()


@pytest.mark.parametrize("search", ["uber", "über", "ÜBER", "Uber", "u\u0308ber"])
async def test_accents_and_case_make_no_difference(alice: Client, search: str) -> None:
    await alice.add_many([{"title": "Über die Berge"}, {"title": "UBER"}, {"title": "other"}])

    assert await found(alice, search) == {"Über die Berge", "UBER"}


async def test_a_title_written_with_combining_accents_is_found(alice: Client) -> None:
    await alice.add("cafe\u0301 visit")

    assert await found(alice, "cafe") == {"cafe\u0301 visit"}
    assert await found(alice, "café") == {"cafe\u0301 visit"}


async def test_words_of_other_scripts_are_found(alice: Client) -> None:
    await alice.add_many([{"title": "полить фиги"}, {"title": "ποτίζω"}, {"title": "مرحبا"}])

    assert await found(alice, "фиги") == {"полить фиги"}
    assert await found(alice, "ποτίζω") == {"ποτίζω"}
    assert await found(alice, "مرحبا") == {"مرحبا"}


async def test_an_edit_is_searched_at_once_and_what_was_there_before_no_more(alice: Client) -> None:
    task = await alice.add("figs")
    await alice.patch(f"/v1/tasks/{task['id']}", {"title": "palms"})

    assert await found(alice, "palms") == {"palms"}
    assert await found(alice, "figs") == set()


async def test_only_stop_words_find_nothing(alice: Client) -> None:
    await alice.add("the and of")

    page = await alice.page(search="the and of")

    assert (page["items"], page["total"]) == ([], 0)


@pytest.mark.parametrize(
    "search", ['"', '""', "-", "or", "!", "&|!()<->:*", "'", "\\", "%", "<b>", "🍋", "a:*", "or or"]
)
@pytest.mark.parametrize("highlight", ["true", "false"])
async def test_no_search_is_a_mistake_that_somebody_may_type(alice: Client, search: str, highlight: str) -> None:
    await alice.add("figs")

    assert await found(alice, search, highlight=highlight) <= {"figs"}


async def test_a_search_is_in_the_accounts_language(alice: Client, state: State) -> None:
    german = await settled_in(state, alice, "UTC", "de")
    await german.add("Die Häuser am Fluss")

    assert await found(german, "Haus") == {"Die Häuser am Fluss"}
    assert await found(german, "die") == set()  # a stop word there


async def test_the_best_comes_first_when_searching(alice: Client) -> None:
    await alice.add_many(
        [
            {"title": "in the description", "description": "figs"},
            {"title": "figs in the title"},
            {"title": "in the tags", "tags": ["figs"]},
        ]
    )
    best_first = ["figs in the title", "in the tags", "in the description"]

    assert await alice.titles(search="figs") == best_first
    assert await alice.titles(search="figs", sort="relevance") == best_first
    assert await alice.titles(search="figs", order="asc") == best_first[::-1]


async def test_a_search_can_be_sorted_otherwise(alice: Client) -> None:
    await alice.add_many([{"title": "b figs figs"}, {"title": "a", "description": "figs"}])

    assert await alice.titles(search="figs", sort="title") == ["a", "b figs figs"]


async def snippet(client: Client, search: str) -> str:
    [item] = (await client.page(search=search, highlight="true"))["items"]
    text: str = item["snippet"]
    return text


async def test_a_snippet_marks_the_words_that_were_found(alice: Client) -> None:
    await alice.add("Watering the figs", description="The two on the balcony")

    assert await snippet(alice, "water fig") == "<mark>Watering</mark> the <mark>figs</mark> · The two on the balcony"
    assert "<mark>balcony</mark>" in await snippet(alice, "balcony")


async def test_a_snippet_shows_where_in_a_long_description(alice: Client) -> None:
    await alice.add("long", description="filler " * 1000 + "needle " + "filler " * 400)

    text = await snippet(alice, "needle")

    assert "<mark>needle</mark>" in text
    assert len(text) < 500


async def test_a_snippet_has_the_tags_where_it_is_they_that_say_it(alice: Client) -> None:
    await alice.add("Budget", description=f"{'long ' * 30}until the invoice came", tags=["deep work", "home"])

    assert (await snippet(alice, "invoice")).endswith("long until the <mark>invoice</mark> came")
    assert "the <mark>invoice</mark> came" in await snippet(alice, "work invoice")
    assert "<mark>work</mark>, home" in await snippet(alice, "work invoice")
    assert (await snippet(alice, "home")).startswith("Budget · long")
    assert (await snippet(alice, "home")).endswith("long · deep work, <mark>home</mark>")
    await alice.add("Twice", description=f"invoice {'long ' * 60} invoice", tags=["office"])
    assert (await snippet(alice, "office invoice")).endswith(" · <mark>office</mark>")
    assert (await snippet(alice, "budget home -garden")).startswith("<mark>Budget</mark> · long")


async def test_a_snippet_of_a_task_without_a_description_is_its_title(alice: Client) -> None:
    await alice.add("Water the figs", description="", tags=["home"])

    assert await snippet(alice, "figs") == "Water the <mark>figs</mark>"
    assert await snippet(alice, "figs home") == "Water the <mark>figs</mark> · <mark>home</mark>"


async def test_a_snippet_is_html_in_which_nothing_but_the_marks_is_markup(alice: Client) -> None:
    await alice.add('figs <b> "and" & <mark> lemons', tags=["<i>home</i>"])

    assert await snippet(alice, "lemons home") == (
        "figs &lt;b&gt; &quot;and&quot; &amp; &lt;mark&gt; <mark>lemons</mark> · &lt;i&gt;<mark>home</mark>&lt;/i&gt;"
    )
    assert await snippet(alice, "figs lemons") == (
        "<mark>figs</mark> &lt;b&gt; &quot;and&quot; &amp; &lt;mark&gt; <mark>lemons</mark>"
    )


PIECES = ["figs", "&", "<", ">", '"', "amp", "lt;", "quot", "#39;", "/", "http://a.b/?x=", "=", ";", "-", "x", " ", " "]
SOUND = re.compile(r'(?:[^&<>"]|&(?:amp|lt|gt|quot);)*')
texts = st.lists(st.sampled_from(PIECES), max_size=40).map(lambda pieces: f"figs {''.join(pieces)}"[:200])


@given(texts=st.lists(texts, min_size=20, max_size=20))
@settings(max_examples=15)
async def test_no_text_can_break_out_of_a_snippet(http: httpx.AsyncClient, state: State, texts: list[str]) -> None:
    client = await fresh_account(http, state, f"user{next(numbers)}")
    await client.add_many([{"title": text, "description": text} for text in texts])

    page = await client.page(search="figs or amp or lt or quot or 39", highlight="true", limit=200)

    assert page["total"] == len(texts)
    for item in page["items"]:
        bare = item["snippet"].replace("<mark>", "").replace("</mark>", "")
        whole = f"{item['title']} · {item['description']}"
        assert SOUND.fullmatch(bare), bare
        assert all(html.unescape(part) in whole for part in bare.split(" … "))


async def test_only_a_highlighted_page_has_snippets(alice: Client) -> None:
    await alice.add("figs")

    for parameters in ({"search": "figs"}, {"search": "figs", "highlight": "false"}, {}):
        [item] = (await alice.page(**parameters))["items"]
        assert "snippet" not in item


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_walk_by_relevance_sees_every_hit_once(alice: Client, order: str) -> None:
    # Ranks that are equal, ranks that differ, and such as no binary fraction hits.
    bodies = [{"title": "figs " * (1 + n % 4), "description": "lemons figs " * (n % 3)} for n in range(24)]
    await alice.add_many([*bodies, {"title": "palms"}])
    at_once = await alice.page(search="figs or lemons", order=order, limit=200)

    walked = await alice.walk(search="figs or lemons", order=order, limit=5)

    assert at_once["total"] == 24
    assert walked == at_once["items"]


@pytest.mark.parametrize("search", ["plants", "home", "home/plants", "figs", "<figs>", "uber2", "Über2", "lemons"])
async def test_words_beside_a_slash_in_angle_brackets_or_with_digits_are_found(alice: Client, search: str) -> None:
    await alice.add("Über2 <figs> and/or lemons/olives", tags=["home/plants"])
    await alice.add("Something else")

    assert (await alice.page(search=search))["total"] == 1
