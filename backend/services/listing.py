"""The pages of `GET /v1/tasks`."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from backend.errors import Invalid
from backend.rules import cursor, search
from backend.schemas.filters import Sort, TaskFilter
from backend.schemas.lists import Walked
from backend.scope import Scope, account_gone
from backend.services import task_family, task_query
from backend.services.asked import Asked, Saved, asked, binding, today_in
from backend.services.task_query import SORTS
from backend.services.tasks import TASK
from backend.services.walking import position

ANY = "*"


@dataclass(frozen=True, slots=True)
class Page:
    items: str  # JSON, with commas between
    total: int | None
    next_cursor: str | None
    mark: str | None  # changes when the answer may have; none where it changes with the clock
    estimated: bool | None  # none unless an estimate would do
    facets: dict[str, Any] | None
    did_you_mean: str | None
    included: str | None  # JSON, with commas between; none unless it was asked for
    included_all: bool | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The answer is the one that the asker has already."""

    mark: str


async def page(mine: Scope, filters: TaskFilter, known: Collection[str] = ()) -> Page | Unchanged:
    """One statement. With `known` marks of former answers, in quotes, or `*`, first a look at the owner's
    counter; after a search that finds nothing, one for a suggestion.

    With a saved filter, that look is taken in any case, and finds the filter as well.
    Raises Invalid for a cursor of another user, filter or sort, and for a saved filter that is not there.
    """
    return await mine.nearby(partial(_page, filters, known))


async def _page(filters: TaskFilter, known: Collection[str], mine: Scope) -> Page | Unchanged:
    zone = filters.tz or mine.timezone
    state, saved = await _saved(mine, filters.saved) if filters.saved else (None, None)
    bound = f"{mine.user_id} {binding(filters, zone, saved)}".encode()
    after = position(bound, filters.cursor) if filters.cursor else None
    now = (after and after.at) or datetime.now(UTC)
    today = today_in(zone, now) if filters.filter or saved else None
    question = asked(filters, zone, mine.language, today, saved)
    values = question.at(now)
    if after:
        values["after_key"] = after.key
        if not SORTS[question.shape.sort].unique:
            values["after_id"] = after.id
    if known and (mark := await _unchanged(mine, question, known, state)):
        return Unchanged(mark)
    rows = await mine.read(question.statement, values)
    if not rows:
        raise account_gone()
    first = rows[0]
    shape = question.shape
    following = None
    if first.there > filters.limit:
        row_id, _, key = first.place.partition(" ")
        following = cursor.seal(bound, cursor.Position(row_id, key, now if question.timed else None))
    return Page(
        first.body or "",
        total=None if shape.total == "none" else first.total,
        next_cursor=following,
        mark=None if question.moving else _mark(question, first),
        estimated=first.estimated if shape.total == "estimate" else None,
        facets=first.facets if shape.facets else None,
        did_you_mean=await _suggestion(mine, filters, question) if not first.there else None,
        included=first.included or "" if shape.include else None,
        included_all=first.included_all if shape.include else None,
    )


async def _suggestion(mine: Scope, filters: TaskFilter, question: Asked) -> str | None:
    """The search with words that are known instead of those that are not: a statement more."""
    if question.shape.start != "first" or question.shape.search != "exact" or not question.words:
        return None
    [row] = await mine.read(task_query.suggestion(), {"in_words": question.words, **question.configured})
    return search.reworded(filters.search or "", row.words) if row.words else None


async def _saved(mine: Scope, saved_id: UUID) -> tuple[Any, Saved]:
    """The owner's counter, and what the saved filter says. Raises Invalid when there is none."""
    rows = await mine.read(task_query.counter_and_saved(), {"saved_id": saved_id})
    if not rows:
        raise account_gone()
    first = rows[0]
    if first.filter is None:
        raise Invalid.at("query", "saved", msg="there is no such saved filter")
    return first, Saved(first.filter, Sort(first.sort) if first.sort else None, first.order)


async def _unchanged(mine: Scope, question: Asked, known: Collection[str], state: Any) -> str | None:
    """A look at one row by its key, if nobody took it before, and one of the marks is of the same question."""
    if question.moving or not any(tag == ANY or tag[:-1].endswith(question.mark) for tag in known):
        return None
    rows = [state] if state else await mine.read(task_query.counter(), {})
    mark = _mark(question, rows[0]) if rows else None
    return mark if f'"{mark}"' in known or ANY in known else None


def _mark(question: Asked, state: Any) -> str:
    """The epoch tells a database that was restored, and counts once more, from what it was."""
    return f"{state.seq}-{state.epoch}-{question.mark}"


async def subtasks(mine: Scope, task_id: UUID, asked: Walked) -> tuple[list[str], int, str | None]:
    """JSON, one a task, each with how deep it is; how many there are, and a cursor to those after them. One statement.

    Raises NotFound, and Invalid for the cursor.
    """
    bound = f"{mine.user_id} subtasks {task_id}".encode()
    values: dict[str, Any] = {"row_id": task_id, "in_limit": asked.limit + 1}
    if asked.cursor:
        values["after_key"] = position(bound, asked.cursor).key
    rows = await mine.read(task_family.subtasks(asked.cursor is not None), values)
    if not rows:
        raise TASK.missing
    found = [row for row in rows if row.path is not None]
    following = None
    if len(found) > asked.limit:
        last = found[asked.limit - 1]
        following = cursor.seal(bound, cursor.Position(str(last.id), last.path, None))
    return [row.body for row in found[: asked.limit]], rows[0].total, following
