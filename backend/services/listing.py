"""What `GET /v1/tasks` asks for, as a shape and values; and the page that comes back."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from backend.errors import Invalid
from backend.rules import cursor, days
from backend.schemas.filters import Sort, TagFilter, TaskFilter
from backend.scope import Scope
from backend.services import task_query
from backend.services.task_query import SORTS, Shape

_NOT_BOUND = {"page", "limit", "cursor", "count", "highlight", "sort", "order", "tz"}


@dataclass(frozen=True, slots=True)
class Page:
    items: list[str]  # JSON
    total: int | None
    next_cursor: str | None


async def page(mine: Scope, filters: TaskFilter) -> Page:
    """One statement. Raises Invalid for a cursor of another user, filter or sort."""
    sort = filters.sort or (Sort.relevance if filters.search else Sort.created)
    falling = filters.order == "desc" if filters.order else SORTS[sort].falling
    zone = filters.tz or mine.timezone
    bound = f"{mine.user_id} {sort} {falling} {zone} {filters.model_dump_json(exclude=_NOT_BOUND)}"
    binding = bound.encode()
    after = _position(binding, filters.cursor)
    now = (after and after.at) or datetime.now(UTC)
    criteria, values = _asked(filters, zone, now)
    any_tags = _padded(filters.any_tags)
    values |= {f"in_any_tag_{n}": [tag] for n, tag in enumerate(any_tags)}
    shape = Shape(
        criteria=frozenset(criteria),
        any_tags=len(any_tags),
        sort=sort,
        falling=falling,
        after=after is not None,
        counted=(filters.count or ("none" if after else "exact")) == "exact",
        highlight=filters.highlight,
    )
    if after:
        values["after_key"] = after.key
        if not SORTS[sort].unique:
            values["after_id"] = after.id
    else:
        values["in_offset"] = ((filters.page or 1) - 1) * filters.limit
    values["in_limit"] = filters.limit + 1  # the one more tells whether there is a next page
    if filters.search is not None:
        values |= {"in_search": filters.search, "in_language": mine.language}
    rows = await mine.read(task_query.page(shape), values)
    total = rows[0].total if shape.counted else None
    if shape.counted and rows[0].id is None:
        rows = []
    following = None
    if len(rows) > filters.limit:
        row_id, _, key = rows[filters.limit - 1].place.partition(" ")
        following = cursor.seal(binding, cursor.Position(row_id, key, now if filters.overdue is not None else None))
    return Page([row.body for row in rows[: filters.limit]], total, following)


def _position(binding: bytes, text: str | None) -> cursor.Position | None:
    if text is None:
        return None
    try:
        return cursor.unseal(binding, text)
    except ValueError as error:
        raise Invalid.at("query", "cursor", msg=str(error)) from None


def _asked(filters: TaskFilter, zone: str, now: datetime) -> tuple[set[str], dict[str, Any]]:
    """The criteria that are set, and their values. A filter left out narrows nothing."""
    values: dict[str, Any] = {}
    if filters.status != "all":
        values["completed"] = filters.status == "completed"
    if filters.priority:
        values["priority"] = filters.priority
    if filters.tags:
        values["tags"] = filters.tags
    if filters.not_tags:
        values["not_tags"] = filters.not_tags
    if filters.search is not None:
        values["search"] = filters.search
    _ask_due(filters, zone, values)
    criteria = set(values)
    if filters.has_due_date is not None:
        criteria.add("dated" if filters.has_due_date else "undated")
    if filters.overdue is not None:
        criteria.add("overdue" if filters.overdue else "not_overdue")
        values["now"] = now
    return criteria, {f"in_{name}": value for name, value in values.items()}


def _padded(tags: list[str]) -> list[str]:
    """To 1, 5 or 20 by repeating the last: three statements instead of twenty."""
    full = next(size for size in (0, 1, 5, 20) if size >= len(tags))
    return tags + tags[-1:] * (full - len(tags))


def _ask_due(filters: TaskFilter, zone: str, values: dict[str, Any]) -> None:
    """Before is exclusive, after inclusive; a day stands for its first instant, as an exact date for all of it."""
    since: list[datetime] = []
    until: list[datetime] = []
    if isinstance(filters.due_date, datetime):
        values["due_at"] = filters.due_date
    elif filters.due_date:
        first, following = days.day_in(filters.due_date, zone)
        since.append(first)
        if following:
            until.append(following)
    if filters.due_after:
        since.append(_begin(filters.due_after, zone))
    if filters.due_before:
        until.append(_begin(filters.due_before, zone))
    if since:
        values["due_from"] = max(since)
    if until:
        values["due_until"] = min(until)


def _begin(moment: date | datetime, zone: str) -> datetime:
    return moment if isinstance(moment, datetime) else days.day_in(moment, zone)[0]


async def tags(mine: Scope, filters: TagFilter) -> list[str]:
    """JSON, one a tag. One statement."""
    rows = await mine.read(task_query.tag_counts(), {"in_limit": filters.limit})
    return [row.body for row in rows]
