"""What a listing is asked for: the parameters of `GET /v1/tasks` and `GET /v1/tags`."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backend.models import Priority
from backend.schemas.scalars import Characters, DayOrInstant, Tag, Text, Trimmed, Truth, Whole, Wire, Zone

DEEPEST = 10_000
"""Rows that `page` reaches: past them the database would count through all that came before."""

SEARCH_WORDS = 32
"""A match is sought for each word in each of a user's tasks: a page of words would keep the database busy."""

FilterTags = Annotated[list[Tag], Field(max_length=20)]


class Sort(StrEnum):
    created = "created"
    updated = "updated"
    title = "title"  # type: ignore[assignment]  # str has a method of this name
    priority = "priority"
    due_date = "due_date"
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
    search: Annotated[Trimmed, Characters(1, 500)] | None = Field(
        None,
        description='Full text over title, tags and description: words, `"a phrase"`, `or`, `-not`.',
        examples=['figs "the kitchen" -dead'],
    )
    sort: Sort | None = Field(
        None,
        description="`created` (newest first, the default), `updated` (newest first), `title` (A first), `priority` "
        "(high first), `due_date` (soonest first), `relevance` (best first; needs `search`, and is then the default).",
    )
    order: Literal["asc", "desc"] | None = Field(
        None, description="Turns the sort's own direction. Tasks without a due date stay last."
    )
    limit: Annotated[Whole, Field(ge=1, le=200)] = Field(20, description="Tasks a page.")
    page: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description=f"From 1, up to {DEEPEST:,} rows deep; further on, follow `next_cursor`."
    )
    cursor: Annotated[Text, Characters(1, 2_000)] | None = Field(
        None, description="`next_cursor` of the answer before, with the same filter and sort."
    )
    count: Literal["exact", "none"] | None = Field(
        None, description="Whether `total` is counted: `exact` by default, `none` by default with `cursor`."
    )
    highlight: Truth = Field(False, description="Adds `snippet` to each item; needs `search`.")

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
        if self.search is None and self.highlight:
            raise ValueError("`highlight` needs `search`")
        return self


class TagFilter(Wire):
    limit: Annotated[Whole, Field(ge=1, le=1_000)] = Field(100, description="How many tags.")
