"""Filters made at random, against an oracle in plain Python; and texts that nobody would write."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from backend.rules import filters
from backend.rules.filters import FilterError
from backend.rules.tree import AllOf, AnyOf, Node, Not, Term
from tests.written import Written, listed, written

TODAY = date(2031, 5, 8)
START = datetime(2031, 5, 7, 22, tzinfo=UTC)  # of the day in Berlin
END = START + timedelta(days=1)
read = partial(filters.read, today=TODAY, zone="Europe/Berlin")


class Task(NamedTuple):
    priority: str
    due: datetime | None
    completed: bool
    tags: frozenset[str]
    words: str


tasks = st.builds(
    Task,
    st.sampled_from(["low", "medium", "high"]),
    st.sampled_from([None, START - timedelta(hours=1), START, END - timedelta(microseconds=1), END]),
    st.booleans(),
    st.frozensets(st.sampled_from(["home", "deep work"])),
    st.lists(st.sampled_from(["figs", "lemons", "quarterly"])).map(" ".join),
)

Predicate = Callable[[Task], bool]
TERMS: Final[Mapping[str, Predicate]] = {
    "priority:high": lambda task: task.priority == "high",
    "priority<=medium": lambda task: task.priority != "high",
    "due:today": lambda task: task.due is not None and START <= task.due < END,
    "due<today": lambda task: task.due is not None and task.due < START,
    "due>today": lambda task: task.due is not None and task.due >= END,
    "due:none": lambda task: task.due is None,
    "is:pending": lambda task: not task.completed,
    "is:done": lambda task: task.completed,
    "is:overdue": lambda task: task.due is not None and task.due < START and not task.completed,
    "tag:home": lambda task: "home" in task.tags,
    'tag:"deep work"': lambda task: "deep work" in task.tags,
    "has:tag": lambda task: bool(task.tags),
    "figs": lambda task: "figs" in task.words,
    "lemons": lambda task: "lemons" in task.words,
    "quart*": lambda task: "quarterly" in task.words,
    '"figs lemons"': lambda task: "figs lemons" in task.words,
}


expressions = written(2, listed(TERMS))


def fits(node: Node, task: Task) -> bool:
    match node:
        case AllOf(parts):
            return all(fits(part, task) for part in parts)
        case AnyOf(parts):
            return any(fits(part, task) for part in parts)
        case Not(part):
            return not fits(part, task)
        case Term(name, value):
            return CRITERIA[name](task, value)
    raise AssertionError(node)


CRITERIA: Final[Mapping[str, Callable[[Task, Any], bool]]] = {
    "priority": lambda task, these: task.priority in these,
    "due_from": lambda task, at: task.due is not None and task.due >= at,
    "due_until": lambda task, at: task.due is not None and task.due < at,
    "dated": lambda task, _: task.due is not None,
    "completed": lambda task, truth: task.completed == truth,
    "overdue": lambda task, _: task.due is not None and task.due < START and not task.completed,
    "tags": lambda task, these: task.tags.issuperset(these),
    "tagged": lambda task, _: bool(task.tags),
    "text": lambda task, tsquery: bool(eval(as_python(tsquery), {"words": task.words})),
}


def as_python(tsquery: str) -> str:
    """As Postgres reads it: a beginning is found like a word, and a phrase as it stands."""
    found = re.sub(r"'([^']*)'(:\*)?", r"('\1' in words)", tsquery)
    return found.replace("!", " not ").replace("&", "and").replace("|", "or")


def printed(node: Node) -> str:
    match node:
        case AllOf(parts):
            return f"({' and '.join(map(printed, parts))})"
        case AnyOf(parts):
            return f"({' or '.join(map(printed, parts))})"
        case Not(part):
            return f"not {printed(part)}"
        case Term("text", tsquery):
            text = re.sub(r"'([^']*)':\*", r"\1*", tsquery).replace("'", '"')
            return f"({text.replace(' & ', ' and ').replace(' | ', ' or ').replace('!', 'not ')})"
        case Term("tags", [tag]):
            return f'tag:"{tag}"'
        case Term("due_from" | "due_until" as name, at):
            return f"due{'>=' if name == 'due_from' else '<'}{at.isoformat()}"
        case Term("priority", these):
            return f"priority:{','.join(these)}"
        case Term("completed", truth):
            return "is:done" if truth else "is:open"
        case Term(name):
            return {"dated": "has:due", "tagged": "has:tag", "overdue": "is:overdue"}[name]
    raise AssertionError(node)


@given(expressions, st.lists(tasks, min_size=5, max_size=20))
def test_a_filter_fits_what_its_parts_say(filter_: Written[Task], some: list[Task]) -> None:
    node = read(filter_.text)

    assert [fits(node, task) for task in some] == [filter_.fits(task) for task in some]


@given(expressions)
def test_the_normal_form_is_read_as_itself(filter_: Written[Task]) -> None:
    node = read(filter_.text)

    assert read(printed(node)) == node
    assert isinstance(hash(node), int)


@given(expressions)
def test_in_normal_form_nothing_is_wrapped_in_vain(filter_: Written[Task]) -> None:
    for node in nodes(read(filter_.text)):
        assert not (isinstance(node, Not) and isinstance(node.part, Not))
        assert node not in (Not(Term("completed", True)), Not(Term("completed", False)))
        if isinstance(node, AllOf | AnyOf):
            assert len(node.parts) > 1
            assert not any(isinstance(part, type(node)) for part in node.parts)
            assert sum(is_text(part) for part in node.parts) <= 1


def nodes(node: Node) -> Iterator[Node]:
    yield node
    match node:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from nodes(part)
        case Not(part):
            yield from nodes(part)


def is_text(node: Node) -> bool:
    bare = node.part if isinstance(node, Not) else node
    return isinstance(bare, Term) and bare.name == "text"


PIECES = [
    *("priority", "due", "created", "completed", "tag", "has", "is", "color", "text", ":", "<", "<=", ">", ">=", "="),
    *("high", "low,", "today", "fri", "+3d", "-1w", "+9y", "2031-05-08", "9999-12-31", "T18:00:00Z", "+01:00", ".."),
    *("none", "any", "overdue", "open", "and", "or", "not", "OR", "-", "--", "(", ")", "((", "))", '"', '"a b"', "\\"),
    *("figs", "quart*", "*", "|", "&", "!", "'", ",", " ", " ", " ", "\t", "\0", "ö", "🍋", "é\u0301", "\u3000"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join) | st.text(max_size=60))
@example("(" * 1_000)
@example("-(" * 500)
@example('"' * 1_000)
@example('\\"' * 500)
@example("due:" + "9" * 996)
@example("due:" + "." * 996)
@example("due:+99999999d..")
@example("due:+99999y..-99999y")
@example("()" * 500)
@example("a:" * 500)
@example("or " * 333)
@example("priority:" + "," * 991)
def test_any_text_is_read_or_refused_with_a_place_in_it(text: str) -> None:
    found = attempt(text)

    if isinstance(found, FilterError):
        assert 0 <= found.position <= len(text)
        assert found.message.startswith(f"At character {found.position + 1}: ")
        assert found.message.isprintable()
        assert len(found.message) < 400
    else:
        assert isinstance(found, Term | AllOf | AnyOf | Not)


def attempt(text: str) -> Node | FilterError:
    try:
        return read(text)
    except FilterError as error:
        return error
