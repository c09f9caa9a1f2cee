"""What a criterion of the filter language asks: a field, a sign and a value, as a tree."""

import operator
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import partial
from typing import Final, NamedTuple

from backend.rules import dates
from backend.rules.normal_form import all_of, negation
from backend.rules.search import operand
from backend.rules.text import sort_key
from backend.rules.tree import AllOf, Node, Not, Term

TAG_CHARACTERS: Final = 50
PROJECT_CHARACTERS: Final = 100
_EXCERPT: Final = 40
_PRIORITIES: Final = ("low", "medium", "high")
_COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_DATES: Final = (
    "expected a day, as in 2026-12-24, today, tomorrow, yesterday, friday, +3d, -1w, +2m or +1y, "
    "or a time with an offset, as in 2026-12-24T18:00:00Z (in a URL, + is written %2B)"
)
_ANYTHING: Final = AllOf(())
_NOTHING: Final = Not(_ANYTHING)


class Calendar(NamedTuple):
    today: date
    zone: str  # IANA


Meaning = Callable[[str, str, Calendar], Node]
"""Of a sign and a value. Raises ValueError about the value."""


class Field(NamedTuple):
    signs: tuple[str, ...]
    meaning: Meaning


def field(name: str) -> Field:
    """Raises ValueError."""
    if name.lower() not in _FIELDS:
        hint = 'Text with one of : < > = in it is put in quotes, as in "6:30 train".'
        raise ValueError(f"{shown(name)} is not a field; expected {one_of(_FIELDS)}, as in priority:high. {hint}")
    return _FIELDS[name.lower()]


def check(of: Field, sign: str) -> None:
    """Raises ValueError for a sign that the field does not take."""
    if sign not in of.signs:
        raise ValueError(f"{shown(sign)} is not a sign for this field; expected {one_of(of.signs)}")


def text(word: str) -> Term:
    """A word, or its beginning. Raises ValueError."""
    bare = word.rstrip("*")
    if "*" in bare:
        raise ValueError(f"{shown(word)} has a star inside; expected it at the end, as in quart*")
    return _looked_for(word, operand(bare, prefix=bare != word))


def phrase(words: str) -> Term:
    """Raises ValueError."""
    return _looked_for(words, operand(words))


def _looked_for(words: str, wanted: str) -> Term:
    if not wanted:
        raise ValueError(f'{shown(words)} says nothing to look for; expected a word, as in figs or "the kitchen"')
    return Term("text", wanted)


def shown(text: str) -> str:
    """An excerpt for an error's text: of one line, and short."""
    short = text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"
    return f"`{''.join(character if character.isprintable() else '�' for character in short)}`"


def one_of(names: Mapping[str, object] | tuple[str, ...]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _priority(sign: str, value: str, _: Calendar) -> Node:
    said = [value] if sign in _COMPARISONS else value.split(",")
    for name in said:
        if name.strip().lower() not in _PRIORITIES:
            expected = f"expected {one_of(_PRIORITIES)}, as in priority:high"
            raise ValueError(f"{shown(name)} is not a priority; {expected} or priority:low,medium")
    ranks = {_PRIORITIES.index(name.strip().lower()) for name in said}
    if sign in _COMPARISONS:
        [bound] = ranks
        ranks = {rank for rank in range(len(_PRIORITIES)) if _COMPARISONS[sign](rank, bound)}
    if not ranks:
        raise ValueError(f"no priority is {sign} {value.strip().lower()}; expected another, as in priority>=medium")
    return Term("priority", [_PRIORITIES[rank] for rank in sorted(ranks)])


def _time(name: str, known: Node, sign: str, value: str, calendar: Calendar) -> Node:
    """`known` is true of what has such a time at all."""
    if known != _ANYTHING and sign == ":" and value.strip().lower() in {"any", "none"}:
        return known if value.strip().lower() == "any" else negation(known)
    if ".." in value:
        return _range(name, known, sign, value, calendar)
    when = _when(value, calendar)
    first, after = dates.bounds(when, calendar.zone)
    match sign:
        case "<":
            return _until(name, known, first)
        case "<=":
            return _until(name, known, after)
        case ">":
            return _from(name, after)
        case ">=":
            return _from(name, first)
    if name == "due" and isinstance(when, datetime):
        return Term("due_at", when)
    return all_of([_from(name, first), _until(name, known, after)])


def _range(name: str, known: Node, sign: str, value: str, calendar: Calendar) -> Node:
    """Both ends belong to it; either may be open."""
    start, _, end = (part.strip() for part in value.partition(".."))
    if sign != ":" or not (start or end):
        raise ValueError(f"{shown(value)} is not a day; expected a range after a colon, as in {name}:today..friday")
    lower = dates.bounds(_when(start, calendar), calendar.zone)[0] if start else None
    upper = dates.bounds(_when(end, calendar), calendar.zone)[1] if end else None
    if lower and upper and lower >= upper:
        raise ValueError(f"{shown(value)} ends before it begins; expected the earlier day first, as in today..+7d")
    bounds = ([_from(name, lower)] if start else []) + ([_until(name, known, upper)] if end else [])
    return all_of(bounds)


def _when(value: str, calendar: Calendar) -> date | datetime:
    try:
        return dates.read(value, calendar.today)
    except ValueError as error:
        reason = "" if str(error).startswith("expected") else f" ({error})"
        raise ValueError(f"{shown(value)} is not a date{reason}; {_DATES}") from None


def _from(name: str, instant: datetime | None) -> Node:
    return Term(f"{name}_from", instant) if instant else _NOTHING


def _until(name: str, known: Node, instant: datetime | None) -> Node:
    return Term(f"{name}_until", instant) if instant else known


def _tag(sign: str, value: str, _: Calendar) -> Node:
    """Any character belongs to it, a comma too."""
    tag = value.strip()
    if not 1 <= len(tag) <= TAG_CHARACTERS:
        raise ValueError(f"a tag has 1 to {TAG_CHARACTERS} characters, and this one {len(tag)}, as in tag:home")
    return Term("tags", [tag])


def _named(name: str, known: Mapping[str, Node], sign: str, value: str, _: Calendar) -> Node:
    if value.strip().lower() not in known:
        raise ValueError(f"{shown(value)} is unknown here; expected {one_of(known)}, as in {name}:{next(iter(known))}")
    return known[value.strip().lower()]


def _project(sign: str, value: str, _: Calendar) -> Node:
    """By name, since nobody writes ids; `project:none` is the inbox."""
    name = value.strip()
    if name.lower() in {"any", "none"}:
        return Term("in_project") if name.lower() == "any" else Not(Term("in_project"))
    if not 1 <= len(name) <= PROJECT_CHARACTERS:
        raise ValueError(
            f"a project has 1 to {PROJECT_CHARACTERS} characters, and this one {len(name)}, as in project:Home"
        )
    return Term("project_named", sort_key(name))


_HAS: Final = {
    "due": Term("dated"),
    "tag": Term("tagged"),
    "tags": Term("tagged"),
    "description": Term("described"),
    "project": Term("in_project"),
    "subtasks": Term("divided"),
}
_PENDING, _COMPLETED = Term("completed", False), Term("completed", True)
_IS: Final = {
    "pending": _PENDING,
    "open": _PENDING,
    "completed": _COMPLETED,
    "done": _COMPLETED,
    "overdue": Term("overdue"),
    "subtask": Term("subtask"),
    "archived": Term("archived"),
    "blocked": Term("blocked"),
    "blocking": Term("blocking"),
}
_ORDERED: Final = (":", *_COMPARISONS)
_FIELDS: Final[Mapping[str, Field]] = {
    "priority": Field(_ORDERED, _priority),
    "due": Field(_ORDERED, partial(_time, "due", Term("dated"))),
    "created": Field(_ORDERED, partial(_time, "created", _ANYTHING)),
    "updated": Field(_ORDERED, partial(_time, "updated", _ANYTHING)),
    "completed": Field(_ORDERED, partial(_time, "completed", _COMPLETED)),
    "tag": Field((":",), _tag),
    "project": Field((":",), _project),
    "has": Field((":",), partial(_named, "has", _HAS)),
    "is": Field((":",), partial(_named, "is", _IS)),
}
