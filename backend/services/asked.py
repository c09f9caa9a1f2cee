"""What `GET /v1/tasks` asks for, as a tree: the plain parameters and the filter language are one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from backend.errors import Invalid
from backend.models import SCHEMA_VERSION
from backend.rules import days, search
from backend.rules import filters as language
from backend.rules.days import day_in
from backend.rules.languages import configuration
from backend.rules.text import sort_key
from backend.rules.tree import AllOf, AnyOf, Node, Not, Term
from backend.schemas.filters import FUZZY_WORDS, Direction, Sort, TaskFilter
from backend.services.task_criteria import canonical, form_of, names_in, values_of
from backend.services.task_query import SORTS, Shape, page
from backend.statements import Query

KEPT = 1024  # questions
SHORT = 120  # characters of a filter; a longer one can make a statement of half a megabyte
KEPT_LONG = 32
MOST_BEGINNINGS = 4
MANY_TERMS = 12
COMMON_LIMITS = {20, 50, 100, 200}  # have statements of their own
_ANY_TIME = datetime(1, 1, 1, tzinfo=UTC)
_NOT_BOUND = {"include", "page", "limit", "cursor", "count", "highlight", "facets", "sort", "order", "tz"}


class Saved(NamedTuple):
    """What a saved filter says at the moment."""

    filter: str
    sort: Sort | None
    order: Direction | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything that does not depend on who asks, and can be kept for the next who asks the same."""

    tree: Node
    shape: Shape
    statement: Query
    values: dict[str, Any]
    timed: bool  # a walk has to keep the time at which it began
    moving: bool  # the answer changes with the clock alone
    words: list[str]  # that are searched for
    configured: dict[str, Any]  # the language that they are in
    mark: str  # of all that the answer depends on besides the user's data and the clock

    def at(self, now: datetime) -> dict[str, Any]:
        return {**self.values, **{f"in_{n}": value for n, value in enumerate(values_of(self.tree, now))}}


def today_in(zone: str, now: datetime) -> date:
    return now.astimezone(days.zone(zone)).date()


@lru_cache(KEPT)
def binding(filters: TaskFilter, zone: str, saved: Saved | None = None) -> str:
    """What a cursor is bound to, besides the user. To what a saved filter says, since it can be edited."""
    sort, falling = _order(filters, saved)
    text = saved.filter if saved else ""
    return f"{sort} {falling} {zone} {filters.model_dump_json(exclude=_NOT_BOUND)} {text}"


def _order(filters: TaskFilter, saved: Saved | None) -> tuple[Sort, bool]:
    sort, order = filters.sort, filters.order
    if saved and not sort:
        # An order that is kept without a sort is that of `created`, whatever is asked beside it.
        sort = saved.sort or (Sort.created if saved.order else None)
        order = order or saved.order
    sort = sort or (Sort.relevance if filters.search else Sort.created)
    return sort, order == "desc" if order else SORTS[sort].falling


def asked(filters: TaskFilter, zone: str, code: str, today: date | None, saved: Saved | None = None) -> Asked:
    """Raises Invalid. `code` is the account's language; `today` is what a filter may name days by.

    Kept for the next who asks the same: of long expressions, whose statements are large, only a few, and of
    the pages of a walk, which are asked for once, none.
    """
    written = len(filters.filter or "") + len(saved.filter if saved else "")
    if filters.cursor:
        return _asked(filters, zone, code, today, saved)
    return (_asked_short if written <= SHORT else _asked_long)(filters, zone, code, today, saved)


def _asked(filters: TaskFilter, zone: str, code: str, today: date | None, saved: Saved | None) -> Asked:
    texts = {"filter": filters.filter, "saved": saved and saved.filter}
    written = [_read(name, text, today, zone) for name, text in texts.items() if text is not None and today is not None]
    tree = canonical(AllOf((*_parts(filters, zone), *written)))
    sort, falling = _order(filters, saved)
    form = form_of(tree)
    names = set(names_in(form))
    shape = Shape(
        form=form,
        sort=sort,
        falling=falling,
        start="cursor" if filters.cursor else "page" if (filters.page or 1) > 1 else "first",
        limit=filters.limit if filters.limit in COMMON_LIMITS else None,
        total=filters.count or ("none" if filters.cursor else "exact"),
        search="no" if filters.search is None else "fuzzy" if filters.fuzzy else "exact",
        highlight=filters.highlight,
        facets=filters.facets,
        include=filters.include,
    )
    sought = search.read(filters.search or "")
    _limit_beginnings(sought.tsquery, values_of(tree, _ANY_TIME))
    # Of more words than FUZZY_WORDS, none is guessed at.
    words = [sort_key(word) for word in sought.words] if len(sought.words) <= FUZZY_WORDS else []
    values: dict[str, Any] = {}
    configured = {"in_configuration": configuration(code)}
    if shape.limit is None:
        values["in_limit"] = filters.limit
    if shape.start == "page":
        values["in_offset"] = ((filters.page or 1) - 1) * filters.limit
    if shape.planned_anew:
        values["in_anew"] = True
    if filters.search is not None:
        values |= {"in_search": sought.tsquery, "in_any": sought.any_of}
        if filters.fuzzy:
            values["in_words"] = words
    if filters.search is not None or "text" in names:
        values |= configured
    moving = "overdue" in names
    # With the binding, since the answer's `next_cursor` is bound to it.
    answer = (
        SCHEMA_VERSION,
        shape,
        list(values_of(tree, _ANY_TIME)),
        values,
        filters.cursor,
        binding(filters, zone, saved),
    )
    mark = blake2b(repr(answer).encode(), digest_size=9).hexdigest()
    statement = (_long_page if len(list(names_in(form))) > MANY_TERMS else page)(shape)
    return Asked(tree, shape, statement, values, moving or bool(written), moving, words, configured, mark)


_asked_short = lru_cache(KEPT)(_asked)
_asked_long = lru_cache(KEPT_LONG)(_asked)
_long_page = lru_cache(KEPT_LONG)(page.__wrapped__)  # type: ignore[attr-defined]


def _limit_beginnings(tsquery: str, values: Iterator[Any]) -> None:
    """Each is looked up among the words of all users. Raises Invalid."""
    texts = [tsquery, *(value for value in values if isinstance(value, str))]
    if sum(text.count("':*") for text in texts) > MOST_BEGINNINGS:
        words = f"`search` and `filter` have more than {MOST_BEGINNINGS} beginnings of words, like quart*"
        raise Invalid.at("query", msg=words)


def _parts(filters: TaskFilter, zone: str) -> Iterator[Node]:
    """A parameter left out narrows nothing."""
    if filters.status != "all":
        yield Term("completed", filters.status == "completed")
    if filters.priority:
        yield Term("priority", filters.priority)
    yield from _due(filters, zone)
    if filters.has_due_date is not None:
        yield _so(filters.has_due_date, Term("dated"))
    if filters.overdue is not None:
        yield _so(filters.overdue, Term("overdue"))
    if filters.project_id:
        yield Term("project", filters.project_id)
    if filters.inbox is not None:
        yield _so(not filters.inbox, Term("in_project"))
    if filters.parent_id:
        yield Term("parent", filters.parent_id)
    if filters.is_subtask is not None:
        yield _so(filters.is_subtask, Term("subtask"))
    if filters.tags:
        yield Term("tags", filters.tags)
    if filters.any_tags:
        yield AnyOf(tuple(Term("tags", [tag]) for tag in _padded(filters.any_tags)))
    if filters.not_tags:
        yield Not(Term("any_tag", filters.not_tags))


def _read(name: str, text: str, today: date, zone: str) -> Node:
    """A saved one too may be refused: `due<+7900y` is a day only as long as that year is below 10000."""
    try:
        return language.read(text, today, zone)
    except language.FilterError as error:
        raise Invalid.at("query", name, msg=str(error)) from None


def _so(wanted: bool, node: Node) -> Node:
    return node if wanted else Not(node)


def _padded(tags: list[str]) -> list[str]:
    """To 1, 5 or 20 by repeating the last: three statements instead of twenty."""
    full = next(size for size in (1, 5, 20) if size >= len(tags))
    return tags + tags[-1:] * (full - len(tags))


def _due(filters: TaskFilter, zone: str) -> Iterator[Node]:
    """Before is exclusive, after inclusive; a day stands for its first instant, as an exact date for all of it."""
    since: list[datetime] = []
    until: list[datetime] = []
    if isinstance(filters.due_date, datetime):
        yield Term("due_at", filters.due_date)
    elif filters.due_date:
        first, following = day_in(filters.due_date, zone)
        since.append(first)
        if following:
            until.append(following)
    if filters.due_after:
        since.append(_begin(filters.due_after, zone))
    if filters.due_before:
        until.append(_begin(filters.due_before, zone))
    if since:
        yield Term("due_from", max(since))
    if until:
        yield Term("due_until", min(until))


def _begin(moment: date | datetime, zone: str) -> datetime:
    return moment if isinstance(moment, datetime) else day_in(moment, zone)[0]
