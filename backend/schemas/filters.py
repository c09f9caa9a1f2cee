"""What a listing is asked for: the parameters of `GET /v1/tasks` and `GET /v1/tags`."""

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from backend.models import Priority
from backend.rules import search
from backend.schemas.lists import Walked
from backend.schemas.scalars import (
    Characters,
    DayOrInstant,
    Filled,
    FromDigits,
    Id,
    Shown,
    Tag,
    Text,
    Truth,
    Wire,
    Zone,
)

DEEPEST = 10_000
"""Rows that `page` reaches: past them the database would count through all that came before."""

SEARCH_WORDS = 32
"""A match is sought for each word in each of a user's tasks: a page of words would keep the database busy."""

FUZZY_WORDS = 8
"""Each is compared with all the words of some 2,000 tasks."""

_WORD = re.compile(r'(?!or$)[^"*-][^"*]*', re.IGNORECASE)


def _only_words(text: str) -> bool:
    """Counted as they are compared: `figs/lemons` is two."""
    return len(search.read(text).words) <= FUZZY_WORDS and all(map(_WORD.fullmatch, text.split()))


def _with_commas(value: Any) -> Any:
    return tuple(value.split(",")) if isinstance(value, str) else value


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("the same one is given twice")
    return values


Facets = Annotated[
    tuple[Literal["tag", "priority", "status", "project"], ...],
    BeforeValidator(_with_commas),
    AfterValidator(_once),
    Shown(minItems=1, uniqueItems=True),
]
Include = Annotated[
    tuple[Literal["parents", "subtasks"], ...],
    BeforeValidator(_with_commas),
    AfterValidator(_once),
    Shown(minItems=1, uniqueItems=True),
]
FilterTags = Annotated[list[Tag], Field(max_length=20)]
FilterText = Annotated[Filled, Characters(1, 1_000), Shown(format="tend-filter")]
Direction = Literal["asc", "desc"]


class Sort(StrEnum):
    created = "created"
    updated = "updated"
    title = "title"  # type: ignore[assignment]  # str has a method of this name
    priority = "priority"
    due_date = "due_date"
    position = "position"
    relevance = "relevance"


class TaskFilter(Wire):
    status: Literal["all", "pending", "completed"] = Field("all", description="Which tasks, by completion.")
    priority: Annotated[list[Priority], Field(max_length=3)] = Field(
        [], description="Repeatable: any of these.", examples=[["high"]]
    )
    due_date: DayOrInstant | None = Field(
        None, description="Due at this time; a date alone means that whole day in `tz`."
    )
    due_before: DayOrInstant | None = Field(None, description="Due before it; before the day begins in `tz`.")
    due_after: DayOrInstant | None = Field(None, description="Due then or later; from the day's beginning in `tz`.")
    tz: Zone | None = Field(None, description="An IANA time zone; default: the account's.", examples=["Europe/Berlin"])
    overdue: Truth | None = Field(None, description="Pending and past its due date, or not so.")
    has_due_date: Truth | None = Field(None, description="With a due date, or without.")
    tags: FilterTags = Field([], description="Repeatable: has all of these.", examples=[["home"]])
    any_tags: FilterTags = Field([], description="Repeatable: has any of these.")
    not_tags: FilterTags = Field([], description="Repeatable: has none of these.")
    project_id: Annotated[list[Id], Field(max_length=20)] = Field([], description="Repeatable: in any of these.")
    inbox: Truth | None = Field(None, description="In no project, or in one.")
    parent_id: Id | None = Field(None, description="The subtasks of this task, without theirs.")
    is_subtask: Truth | None = Field(None, description="Parts of other tasks, or those that are none.")
    include: Include = Field(
        (),
        description="`parents`, `subtasks`, with commas: beside the tasks that the filter finds, `included` has those "
        "that they are parts of, or their parts, whatever the filter says of these.",
        examples=["parents"],
    )
    search: Annotated[Filled, Characters(1, 500)] | None = Field(
        None,
        description='Full text over title, tags and description, or over a comment: words, `"a phrase"`, `or`, '
        "`-not`, `begin*`.",
        examples=['figs "the kitchen" -dead'],
    )
    fuzzy: Truth = Field(
        False, description="Finds also what is written nearly as the words of `search`, which then are only words."
    )
    filter: FilterText | None = Field(
        None,
        description="An expression of the filter language, besides the other parameters: docs/filters.md.",
        examples=['priority:high due<tomorrow (tag:home or tag:"deep work") -tag:waiting'],
    )
    saved: Id | None = Field(
        None,
        description="The id of a saved filter, besides the other parameters. Its sort and order are the listing's "
        "unless `sort` is given; `order` alone turns its sort.",
    )
    sort: Sort | None = Field(
        None,
        description="`created` (newest first, the default), `updated` (newest first), `title` (A first), `priority` "
        "(high first), `due_date` (soonest first), `position` (the order by hand), `relevance` (best first; needs "
        "`search`, and is then the default).",
    )
    order: Direction | None = Field(
        None, description="Turns the sort's own direction. Tasks without a due date stay last."
    )
    limit: Annotated[int, Field(ge=1, le=200), FromDigits] = Field(20, description="Tasks a page.")
    page: Annotated[int, Field(ge=1), FromDigits, Shown(maximum=DEEPEST)] | None = Field(
        None, description=f"From 1, up to {DEEPEST:,} rows deep; further on, follow `next_cursor`."
    )
    cursor: Annotated[Text, Characters(1, 2_000)] | None = Field(
        None, description="`next_cursor` of the answer before, with the same filter and sort."
    )
    count: Literal["exact", "estimate", "none"] | None = Field(
        None,
        description="Whether `total` is counted: `exact` by default, `none` by default with `cursor`. `estimate` is "
        "exact up to 10,000 and an estimate above, and `estimated` says which.",
    )
    facets: Facets = Field(
        (),
        description="`tag`, `priority`, `status`, `project`, with commas: how many of the tasks found have each of "
        "their values.",
        examples=["tag,priority"],
    )
    highlight: Truth = Field(False, description="Adds `snippet` to each item; needs `search`.")

    # As a key it is itself: the same query is read once (`deps.asked_of`), and what follows from it is kept.
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.cursor is not None and self.page is not None:
            raise ValueError("`page` and `cursor` do not go together")
        if (self.page or 1) * self.limit > DEEPEST:
            raise ValueError(f"`page` reaches {DEEPEST:,} rows deep; follow `next_cursor` instead")
        if self.search is None and self.sort is Sort.relevance:
            raise ValueError("`sort=relevance` needs `search`")
        if self.search is not None and len(self.search.split()) > SEARCH_WORDS:
            raise ValueError(f"`search` has more than {SEARCH_WORDS} words")
        if self.search is None and (self.highlight or self.fuzzy):
            raise ValueError(f"`{'highlight' if self.highlight else 'fuzzy'}` needs `search`")
        if self.search is not None and self.fuzzy and not _only_words(self.search):
            raise ValueError(f"with `fuzzy`, `search` is at most {FUZZY_WORDS} words, without quotes, -, * and `or`")
        return self


class TagFilter(Walked):
    limit: Annotated[int, Field(ge=1, le=1_000), FromDigits] = Field(100, description="How many tags.")
