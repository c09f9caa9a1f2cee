"""The filter language: what a text asks for, and how a wrong one is refused."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from backend.rules import filters
from backend.rules.filters import FilterError
from backend.rules.tree import AllOf, AnyOf, Node, Not, Term
from tests.servers import ROOT

TODAY = date(2031, 5, 8)  # a Thursday
ZONE = "Europe/Berlin"  # where a day in May begins at 22:00 UTC
MICROSECOND = timedelta(microseconds=1)
PENDING, COMPLETED, DATED = Term("completed", False), Term("completed", True), Term("dated")


def read(text: str, today: date = TODAY) -> Node:
    return filters.read(text, today, ZONE)


def begins(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T00:00:00+02:00").astimezone(UTC)


def text_term(tsquery: str) -> Term:
    return Term("text", tsquery)


def on(day: str, then: str, field: str = "due") -> AllOf:
    return AllOf((Term(f"{field}_from", begins(day)), Term(f"{field}_until", begins(then))))


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("priority:high", Term("priority", ["high"])),
        ("priority:high,low,high", Term("priority", ["low", "high"])),
        ("priority>=medium", Term("priority", ["medium", "high"])),
        ("priority > medium", Term("priority", ["high"])),
        ("priority<high", Term("priority", ["low", "medium"])),
        ("priority<=low", Term("priority", ["low"])),
        ("PRIORITY:High", Term("priority", ["high"])),
        ("tag:home", Term("tags", ["home"])),
        ('tag:"deep work"', Term("tags", ["deep work"])),
        (r'tag:" say \"hi\" \\ \n "', Term("tags", [r'say "hi" \ \n'])),
        ("tag:a,b", Term("tags", ["a,b"])),
        ("tag:Home:now", Term("tags", ["Home:now"])),
        ("tag:none", Term("tags", ["none"])),
        (f"tag:{'x' * 50}", Term("tags", ["x" * 50])),
        ("tag:a tag:b", AllOf((Term("tags", ["a"]), Term("tags", ["b"])))),
        ("has:tag", Term("tagged")),
        ("has:tags", Term("tagged")),
        ("has:description", Term("described")),
        ("has:due", DATED),
        ("due:any", DATED),
        ("due:none", Not(DATED)),
        ("-due:none", DATED),
        ("is:pending", PENDING),
        ("Is:Open", PENDING),
        ("is:completed", COMPLETED),
        ("is:done", COMPLETED),
        ("completed:none", PENDING),
        ("completed:any", COMPLETED),
        ("-is:done", PENDING),
        ("is:overdue", Term("overdue")),
        ("is:Blocked", Term("blocked")),
        ("-is:blocking", Not(Term("blocking"))),
    ],
)
def test_a_term_asks_for_a_criterion(text: str, node: Node) -> None:
    assert read(text) == node


@pytest.mark.parametrize(
    ("said", "day"),
    [
        *(("today", "2031-05-08"), ("Tomorrow", "2031-05-09"), ("yesterday", "2031-05-07"), ("+0d", "2031-05-08")),
        *(("friday", "2031-05-09"), ("wed", "2031-05-14"), ("thursday", "2031-05-15"), ("Thu", "2031-05-15")),
        *(("+3d", "2031-05-11"), ("3d", "2031-05-11"), ("-1w", "2031-05-01"), ("+2w", "2031-05-22")),
        *(("+2m", "2031-07-08"), ("-1m", "2031-04-08"), ("+1y", "2032-05-08"), ("-0m", "2031-05-08")),
        *(("2031-06-30", "2031-06-30"), ('"2031-06-30"', "2031-06-30")),
    ],
)
def test_a_day_is_meant_whole_in_the_zone(said: str, day: str) -> None:
    then = (date.fromisoformat(day) + timedelta(days=1)).isoformat()

    assert read(f"due:{said}") == on(day, then)
    assert read(f"due<{said}") == Term("due_until", begins(day))
    assert read(f"due<={said}") == Term("due_until", begins(then))
    assert read(f"due>{said}") == Term("due_from", begins(then))
    assert read(f"due >= {said}") == Term("due_from", begins(day))


def test_a_month_from_its_last_day_is_the_last_day_of_the_next() -> None:
    assert read("due<+1m", date(2031, 8, 31)) == Term("due_until", begins("2031-09-30"))
    assert read("due<+1y", date(2028, 2, 29)) == Term("due_until", datetime(2029, 2, 27, 23, tzinfo=UTC))
    assert read("due<-1m", date(2031, 7, 31)) == Term("due_until", begins("2031-06-30"))


@pytest.mark.parametrize("field", ["created", "updated", "completed"])
def test_other_times_are_asked_for_like_due_dates(field: str) -> None:
    at = datetime(2031, 5, 8, 16, tzinfo=UTC)

    assert read(f"{field}:today") == on("2031-05-08", "2031-05-09", field)
    assert read(f"{field}>=-1w") == Term(f"{field}_from", begins("2031-05-01"))
    assert read(f"{field}:2031-05-08T16:00:00Z") == AllOf(
        (Term(f"{field}_from", at), Term(f"{field}_until", at + MICROSECOND))
    )


@pytest.mark.parametrize("said", ["2031-05-08T18:00:00+02:00", '"2031-05-08T18:00:00+02:00"', "2031-05-08t16:00:00z"])
def test_a_time_is_meant_to_the_microsecond(said: str) -> None:
    at = datetime(2031, 5, 8, 16, tzinfo=UTC)

    assert read(f"due:{said}") == Term("due_at", at)
    assert read(f"due<{said}") == Term("due_until", at)
    assert read(f"due<={said}") == Term("due_until", at + MICROSECOND)
    assert read(f"due>{said}") == Term("due_from", at + MICROSECOND)
    assert read(f"due>={said}") == Term("due_from", at)


def test_a_range_has_both_ends_or_one() -> None:
    assert read("due:2031-05-08..2031-05-09") == on("2031-05-08", "2031-05-10")
    assert read("due:today..today") == on("2031-05-08", "2031-05-09")
    assert read("due:..tomorrow") == Term("due_until", begins("2031-05-10"))
    assert read("due:friday..") == Term("due_from", begins("2031-05-09"))


def test_past_the_ends_of_the_calendar_there_is_nothing() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    nothing = Not(AllOf(()))

    assert read("due<0001-01-01") == Term("due_until", datetime(1, 1, 1, tzinfo=UTC))
    assert filters.read("due<=9999-12-31", TODAY, "America/Lima") == DATED
    assert filters.read("due>9999-12-31", TODAY, "America/Lima") == nothing
    assert read("due>9999-12-31T23:59:59.999999Z") == nothing
    assert read("created<=9999-12-31T23:59:59.999999Z") == AllOf(())
    assert read("due:9999-12-31T23:59:59.999999Z") == Term("due_at", last)
    for text in ("due<-9999y", "due<+99999y", "due>-2031y", "due<+99999m"):
        with pytest.raises(FilterError, match="not in the years 1 to 9999"):
            read(text)
    with pytest.raises(FilterError, match="not in the years 1 to 9999"):
        read("due<tomorrow", date.max)


@pytest.mark.parametrize(
    ("text", "tsquery"),
    [
        ("figs", "'figs'"),
        ("quart*", "'quart':*"),
        ('"the kitchen"', "'the kitchen'"),
        ("figs LEMONS", "'figs' & 'LEMONS'"),
        ('figs -dead "the kitchen" not quart*', "'figs' & !'dead' & 'the kitchen' & !'quart':*"),
        ("figs or -lemons", "'figs' | !'lemons'"),
        ("figs lemons or palms", "('figs' & 'lemons') | 'palms'"),
        ("figs (lemons or palms)", "'figs' & ('lemons' | 'palms')"),
        ("figs -(lemons or palms)", "'figs' & !('lemons' | 'palms')"),
        ("well-known 3.14 o'neil", "'well-known' & '3.14' & 'o''neil'"),
        (r'"a \"b\" \\ c" x\y', r"""'a "b" \\ c' & 'x\\y'"""),
        ('"and" nothing "6:30" оr', "'and' & 'nothing' & '6:30' & 'оr'"),
        ("--figs", "'figs'"),
        ("not -not not figs", "'figs'"),
        ('a"b"c', "'a' & 'b' & 'c'"),
        ("-(-figs -lemons)", "'figs' | 'lemons'"),
    ],
)
def test_words_become_one_query(text: str, tsquery: str) -> None:
    assert read(text) == text_term(tsquery)


def test_negated_words_alone_are_a_query_negated() -> None:
    """A stop word among them then changes nothing: left out of `a | b`, and not of `!a & !b`."""
    assert read("-the") == Not(text_term("'the'"))
    assert read("-the -figs") == Not(text_term("'the' | 'figs'"))
    assert read("-the or -figs") == Not(text_term("'the' & 'figs'"))
    assert read("-(the figs)") == Not(text_term("'the' & 'figs'"))
    assert read("-the -(figs or lemons) is:overdue") == AllOf(
        (Not(text_term("'the' | 'figs' | 'lemons'")), Term("overdue"))
    )


def test_words_of_a_group_are_joined_over_other_terms() -> None:
    assert read("is:overdue the tag:x figs") == AllOf(
        (Term("overdue"), text_term("'the' & 'figs'"), Term("tags", ["x"]))
    )
    assert read("the or is:overdue or figs") == AnyOf((text_term("'the' | 'figs'"), Term("overdue")))
    assert read("the -(figs tag:x)") == AllOf(
        (text_term("'the'"), Not(AllOf((text_term("'figs'"), Term("tags", ["x"])))))
    )


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("has:due has:tag", AllOf((DATED, Term("tagged")))),
        ("has:due AND has:tag", AllOf((DATED, Term("tagged")))),
        ("has:due or has:tag", AnyOf((DATED, Term("tagged")))),
        ("is:open has:due or has:tag", AnyOf((AllOf((PENDING, DATED)), Term("tagged")))),
        ("has:tag or is:open and has:due", AnyOf((Term("tagged"), AllOf((PENDING, DATED))))),
        ("is:open (has:due Or has:tag)", AllOf((PENDING, AnyOf((DATED, Term("tagged")))))),
        ("(is:open (has:due (has:tag)))", AllOf((PENDING, DATED, Term("tagged")))),
        ("is:open or (has:due or has:tag)", AnyOf((PENDING, DATED, Term("tagged")))),
        ("((has:due))", DATED),
        ("NOT has:due", Not(DATED)),
        ("--has:due", DATED),
        ("not(-(has:due))", DATED),
        ("-has:due is:open", AllOf((Not(DATED), PENDING))),
        ("-(is:open has:due)", Not(AllOf((PENDING, DATED)))),
        ("-due:today", Not(on("2031-05-08", "2031-05-09"))),
        ("has:due due:today", AllOf((DATED, *on("2031-05-08", "2031-05-09").parts))),
        ("((((((((((has:due))))))))))", DATED),
    ],
)
def test_terms_are_put_together(text: str, node: Node) -> None:
    assert read(text) == node


WRONG = [
    ("", 0, "the filter is empty; expected a term"),
    (" \n ", 0, "the filter is empty"),
    ("priority:urgent", 9, "`urgent` is not a priority; expected low, medium or high, as in priority:high"),
    ("figs priority:low,urgent", 14, "`urgent` is not a priority"),
    ("priority:", 9, "the filter ends here; expected a value"),
    ("priority>high", 9, "no priority is > high"),
    ("priority=high", 8, "`=` is not a sign for this field; expected :, <, <=, > or >="),
    ("tag<x", 3, "`<` is not a sign for this field; expected :"),
    (
        "color:red",
        0,
        "`color` is not a field; expected priority, due, created, updated, completed, tag, project, has or is",
    ),
    ("figs 6:30", 5, "is put in quotes"),
    ("due:soon", 4, "`soon` is not a date; expected a day, as in 2026-12-24"),
    ("due<2031-02-29", 4, "`2031-02-29` is not a date (no such day); expected a day"),
    ("due<2031-05-08T18:00:00", 4, "a time with an offset"),
    ("created:none", 8, "`none` is not a date"),
    ("due<any", 4, "`any` is not a date"),
    ("due:..", 4, "expected a range after a colon, as in due:today..friday"),
    ("due<today..friday", 4, "expected a range after a colon"),
    ("due:friday..today", 4, "`friday..today` ends before it begins"),
    ('tag:" "', 4, "a tag has 1 to 50 characters, and this one 0"),
    ("tag:" + "x" * 51, 4, "a tag has 1 to 50 characters, and this one 51"),
    (
        "is:late",
        3,
        "`late` is unknown here; expected pending, open, completed, done, overdue, subtask, archived, blocked or",
    ),
    (
        "has:color",
        4,
        "`color` is unknown here; expected due, tag, tags, description, project or subtasks, as in has:due",
    ),
    ("figs (lemons", 12, "the filter ends here; expected `)`"),
    ("figs )", 5, "found `)`, and no parenthesis is open"),
    ("figs or )", 8, "found `)`; expected a term"),
    ("()", 1, "found `)`; expected a term"),
    ("figs or", 7, "the filter ends here; expected a term"),
    ("or figs", 0, "found `or`; expected a term"),
    ("figs and or lemons", 9, "found `or`; expected a term"),
    ("not", 3, "the filter ends here; expected a term"),
    ("tag:(x)", 4, "found `(`; expected a value"),
    ('"figs":x', 6, "found `:x`; expected a term, `and`, `or` or the end"),
    ("(figs <", 7, "expected a value"),
    ("figs - lemons", 5, "`-` stands alone; expected a term right after it"),
    ("figs -", 5, "`-` stands alone"),
    ('figs "lemons', 5, "the quote is not closed"),
    ('tag:"x\\"', 4, "the quote is not closed"),
    ("fi*gs", 0, "`fi*gs` has a star inside; expected it at the end, as in quart*"),
    ("figs *", 5, "`*` says nothing to look for"),
    ("figs | lemons", 5, "`|` says nothing to look for; expected a word"),
    ('figs ""', 5, "says nothing to look for"),
]


@pytest.mark.parametrize(("text", "position", "words"), WRONG)
def test_what_is_wrong_is_said_with_its_place(text: str, position: int, words: str) -> None:
    with pytest.raises(FilterError) as refused:
        read(text)

    assert refused.value.position == position
    assert refused.value.message.startswith(f"At character {position + 1}: ")
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("most", "too_much", "position", "words"),
    [
        ("x" * 1_000, "x" * 1_001, 1_000, "at most 1,000 characters, and this one 1,001"),
        ("a " * 50, "a " * 51, 100, "at most 50 terms"),
        ("has:due " * 50, "has:due " * 51, 400, "at most 50 terms"),
        ('x "' + "a " * 49 + '"', 'x "' + "a " * 50 + '"', 2, "at most 50 terms"),
        ('tag:"a b" ' * 50, 'tag:"a b" ' * 51, 500, "at most 50 terms"),
        ("(" * 10 + "x" + ")" * 10, "(" * 11 + "x" + ")" * 11, 10, "parentheses are at most 10 deep"),
        ("-(" * 10 + "x" + ")" * 10, "not(" * 11 + "x" + ")" * 11, 43, "parentheses are at most 10 deep"),
        ("-" * 998 + "x", "(" * 1_000, 10, "parentheses are at most 10 deep"),
        ("not " * 248 + "x", "-" * 1_000, 999, "`-` stands alone"),
    ],
)
def test_a_filter_has_limits(most: str, too_much: str, position: int, words: str) -> None:
    read(most)

    with pytest.raises(FilterError, match=words) as refused:
        read(too_much)
    assert refused.value.position == position


def test_an_error_shows_a_short_and_printable_piece() -> None:
    with pytest.raises(FilterError) as refused:
        read("due:\x1b[31m\ud800\u2028" + "z" * 900)

    assert "`�[31m" in refused.value.message
    assert refused.value.message.isprintable()
    assert refused.value.message.count("z") < 40


def test_every_example_of_the_documentation_is_read() -> None:
    page = (ROOT / "docs/filters.md").read_text()
    fenced = re.findall(r"```filter\n(.*?)```", page, re.DOTALL)
    terms = re.findall(r"^\| `([^`]+)` \|", page.partition("## Days")[0], re.MULTILINE)

    for text in [*"".join(fenced).splitlines(), *terms]:
        assert read(text)
    assert len(terms) > 25


def test_every_error_of_the_documentation_is_the_one_that_is_given() -> None:
    [block] = re.findall(r"```errors\n(.*?)```", (ROOT / "docs/filters.md").read_text(), re.DOTALL)

    for text, message in (pair.splitlines() for pair in block.strip().split("\n\n")):
        with pytest.raises(FilterError) as refused:
            read(text)
        assert refused.value.message == message
