"""The search box's language, against the Postgres that reads what it becomes."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from backend.rules import filters, search
from backend.rules.search import Search
from backend.rules.tree import AllOf, AnyOf, Node, Not, Term
from tests.test_filter_meaning import PIECES as FILTER_PIECES
from tests.test_filter_meaning import read as read_filter

Parse = Callable[..., str]


@pytest.fixture(scope="module")
def parse(database_url: str) -> Iterator[Parse]:
    """What Postgres makes of a query, in a configuration of ours and with our search_text()."""
    engine = create_engine(database_url)

    def parsed(query: str, by: str = "to_tsquery", language: str = "english") -> str:
        call = f"SELECT {by}('tend_{language}', search_text(:query))::text"
        return str(connection.execute(text(call), {"query": query}).scalar_one())

    with engine.connect() as connection:
        yield parsed
    engine.dispose()


@pytest.mark.parametrize(
    ("typed", "tsquery"),
    [
        ("figs", "'figs'"),
        ("figs lemons", "'figs' & 'lemons'"),
        ("figs lemons or palms OR olives", "'figs' & 'lemons' | 'palms' | 'olives'"),
        ('"the kitchen" figs', "'the kitchen' & 'figs'"),
        ("figs -dead", "'figs' & !'dead'"),
        ('-"the kitchen"', "!'the kitchen'"),
        ("-figs -lemons", "!'figs' & !'lemons'"),
        ("--figs ---lemons", "'figs' & !'lemons'"),
        ("quart*", "'quart':*"),
        ("-quart* figs**", "!'quart':* & 'figs':*"),
        ('figs "the kit', "'figs' & 'the kit'"),
        ('a"b c"d', "'a' & 'b c' & 'd'"),
        ("well-known figs- o'neil", "'well-known' & 'figs-' & 'o''neil'"),
        (r"a\b", r"'a\\b'"),
        ("-or figs", "!'or' & 'figs'"),
        ('"or"', "'or'"),
        ("orfigs", "'orfigs'"),
        ('figs or"lemons"', "'figs' | 'lemons'"),
        ("10:30 home/plants", "'10:30' & 'home/plants'"),
        ('"quart*"', "'quart*'"),
        ("🍋 ö", "'🍋' & 'ö'"),
    ],
)
def test_what_is_typed_becomes_a_query(typed: str, tsquery: str) -> None:
    assert search.read(typed).tsquery == tsquery


@pytest.mark.parametrize(
    ("typed", "tsquery"),
    [
        *(("", ""), (" ", ""), ("-", ""), ("--", ""), ("*", ""), ("-*", ""), ('"', ""), ('""', ""), ('-"" - ', "")),
        *(("or", ""), ("or or", ""), ("or figs", "'figs'"), ("figs OR", "'figs'"), ("a or or b", "'a' | 'b'")),
        *(
            ("/", ""),
            ("<> -</>", ""),
            ('"/ <"', ""),
            ("! & | :* ( )", ""),
            ("- figs", "'figs'"),
            ("a or - b", "'a' | 'b'"),
        ),
    ],
)
def test_what_means_nothing_is_left_out(typed: str, tsquery: str) -> None:
    assert search.read(typed).tsquery == tsquery


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("Water figs or lemons", ("Water", "figs", "lemons")),
        ('quart* "the kitchen," -dead -"old pots"', ("the", "kitchen")),
        ("--figs ---lemons", ("figs",)),
        ("(well-known) home/plants, o'neil!", ("well-known", "home", "plants", "o'neil")),
        ("- or *", ()),
        ("„Über“ cafe\u0301", ("Über", "cafe\u0301")),
    ],
)
def test_words_that_may_be_misspelt_are_those_that_may_be_there(typed: str, words: tuple[str, ...]) -> None:
    assert search.read(typed).words == words


@pytest.mark.parametrize(
    ("typed", "prefixes"), [("figs quart*", True), ("-quart*", True), ("fi*gs *", False), ('"quart*"', False)]
)
def test_a_beginning_is_noticed(typed: str, prefixes: bool) -> None:
    assert search.read(typed).prefixes is prefixes


WORDS = ["figs", "Lemons", "the", "über", "well-known", "o'neil", "a,b", "3.14", "ann@example.com"]
TYPED = [*WORDS, '"the kitchen"', '"well-known, figs"', "-figs", "-the", "-well-known", '-"the kitchen"']
alternatives = st.lists(st.lists(st.sampled_from(TYPED), min_size=1, max_size=4).map(" ".join), min_size=1, max_size=3)


@given(alternatives, st.sampled_from([" or ", " OR "]), st.sampled_from(["english", "german", "simple"]))
@hypothesis_settings(max_examples=200)
def test_it_means_what_websearch_to_tsquery_makes_of_it(
    parse: Parse, alternatives: list[str], joint: str, language: str
) -> None:
    typed = joint.join(alternatives)

    assert parse(search.read(typed).tsquery, language=language) == parse(typed, "websearch_to_tsquery", language)


def test_a_beginning_is_compared_without_endings(parse: Parse) -> None:
    assert parse(search.read("Über*").tsquery) == "'uber':*"
    assert parse(search.read("quarterly*").tsquery) == "'quarter':*"
    assert parse(search.read("quarterl*").tsquery) == "'quarterl':*"


def test_stop_words_beside_others_are_left_out(parse: Parse) -> None:
    assert parse(search.read("the figs").tsquery) == "'fig'"
    assert parse(search.read("figs -the").tsquery) == "'fig'"
    assert parse(search.read("the").tsquery) == ""


SIGNS = ["'", "''", "\\", "\\'", ":", ":*", "*", "&", "|", "!", "<->", "/", "(", ")", '"', "-", " ", " ", "\x01", "🍋"]
typed_texts = st.lists(st.sampled_from([*TYPED, *SIGNS]), max_size=20).map("".join)
any_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80)


@given(typed_texts | any_texts)
@example("\U00020000" * 1_000)
@example("\U00020000* " * 300)
@example("ﷺ" * 1_000)
@example("'" * 1_000)
@example("\\" * 1_000)
@example("x:" * 500)
@example("a-" * 500)
@example("-x " * 333)
@example('"' + "x " * 499)
@hypothesis_settings(max_examples=400)
def test_postgres_can_read_whatever_becomes_of_a_text(parse: Parse, typed: str) -> None:
    found = search.read(typed)

    assert isinstance(found, Search)
    parse(found.tsquery)
    assert not any("*" in word[-1:] or '"' in word or not word for word in found.words)


@given(st.lists(st.sampled_from([piece for piece in FILTER_PIECES if piece != "\0"]), max_size=30).map("".join))
@hypothesis_settings(max_examples=200)
def test_postgres_can_read_the_words_of_a_filter(parse: Parse, typed: str) -> None:
    try:
        node = read_filter(typed)
    except filters.FilterError:
        return
    for tsquery in queries(node):
        parse(tsquery)


def queries(node: Node) -> list[str]:
    match node:
        case Term(name, value):
            return [value] if name == "text" else []
        case Not(part):
            return queries(part)
        case AllOf(parts) | AnyOf(parts):
            return [query for part in parts for query in queries(part)]
    raise AssertionError(node)


def test_joined_words_mean_to_postgres_what_the_parentheses_say(parse: Parse) -> None:
    [query] = queries(read_filter('figs -"the kitchen" (lemons or palms olives) -(quart* or -pots)'))

    assert parse(query, language="simple") == (
        "'figs' & !( 'the' <-> 'kitchen' ) & ( 'lemons' | 'palms' & 'olives' ) & !( 'quart':* | !'pots' )"
    )
