"""The listing as SQL: builds statements, runs none.

A statement depends on the *shape* of what is asked: which criteria are set, the sort and its direction,
by page or from a cursor, counted or not. There is one statement a shape, made once; values are bound.
The page leaves Postgres as JSON text, a row an item.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    desc,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL

from backend.door import Query, as_json, iso, statement, text_of
from backend.models import Task, table
from backend.schemas.filters import Sort
from backend.wall import OWNER

TASKS = table(Task)

_WHEN = DateTime(timezone=True)
NEVER: ColumnElement[Any] = literal_column("'infinity'", _WHEN)
DUE = func.coalesce(TASKS.c.due_date, NEVER, type_=_WHEN)  # as the index tasks_due has it
DUE_FALLING = func.coalesce(TASKS.c.due_date, literal_column("'-infinity'", _WHEN), type_=_WHEN)
CONFIGURATION = func.search_config(bindparam("in_language", type_=Text()))
# What separates words in the row's vector separates them here.
QUERY = func.websearch_to_tsquery(CONFIGURATION, func.search_text(bindparam("in_search", type_=Text())))
NOW = bindparam("in_now", type_=_WHEN)
SNIPPET = literal_column(
    """'StartSel=<mark>, StopSel=</mark>, MaxFragments=2, MaxWords=24, MinWords=8, FragmentDelimiter=" … "'""",
    Text(),
)


def _tags(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=JSONB())


CRITERIA: Mapping[str, ColumnElement[bool]] = {
    "completed": TASKS.c.completed == bindparam("in_completed", type_=Boolean()),
    "priority": TASKS.c.priority == func.any(bindparam("in_priority", type_=ARRAY(TASKS.c.priority.type))),
    "due_at": DUE == bindparam("in_due_at", type_=_WHEN),
    "due_from": and_(DUE >= bindparam("in_due_from", type_=_WHEN), DUE < NEVER),
    "due_until": DUE < bindparam("in_due_until", type_=_WHEN),
    "overdue": and_(DUE < NOW, not_(TASKS.c.completed)),
    "not_overdue": or_(DUE >= NOW, TASKS.c.completed),
    "dated": DUE < NEVER,
    "undated": DUE == NEVER,
    "tags": TASKS.c.tags.contains(_tags("in_tags")),
    "not_tags": not_(TASKS.c.tags.has_any(bindparam("in_not_tags", type_=ARRAY(Text())))),
    "search": TASKS.c.search.op("@@", is_comparison=True)(QUERY),
}
"""A line a criterion; what is left out narrows nothing. `any_tags` has a line a tag: see `_where`."""


class Order(NamedTuple):
    key: ColumnElement[Any]
    falling: bool
    turned: ColumnElement[Any] | None = None  # the key in the other direction, where it is another one
    unique: bool = False  # no two rows of a user are equal, and no id is needed to tell them apart


SORTS: Mapping[Sort, Order] = {
    Sort.created: Order(TASKS.c.created_at, falling=True),
    Sort.updated: Order(TASKS.c.version, falling=True, unique=True),
    Sort.title: Order(TASKS.c.title_key, falling=False),
    Sort.priority: Order(TASKS.c.priority, falling=True),
    Sort.due_date: Order(DUE, falling=False, turned=DUE_FALLING),
    # real, like ts_rank_cd itself: as a double it never compares equal, and a cursor over it never ends
    Sort.relevance: Order(func.ts_rank_cd(TASKS.c.search, QUERY, type_=REAL()), falling=True),
}


class Shape(NamedTuple):
    criteria: frozenset[str]
    any_tags: int  # how many
    sort: Sort
    falling: bool
    after: bool  # from a cursor, not by page
    counted: bool
    highlight: bool


def shown(row: Any) -> list[ColumnElement[Any]]:
    """The task on the wire, from any row that has its columns."""
    return [
        row.id,
        row.title,
        row.description,
        row.priority,
        iso(row.due_date),
        row.tags,
        row.completed,
        iso(row.completed_at),
        row.version,
        iso(row.created_at),
        iso(row.updated_at),
    ]


def _living() -> list[ColumnElement[bool]]:
    """The only way to the table: the owner's tasks that are not in the trash."""
    return [TASKS.c.user_id == OWNER, TASKS.c.deleted_at.is_(None)]


def _where(shape: Shape) -> list[ColumnElement[bool]]:
    where = [*_living(), *(CRITERIA[name] for name in sorted(shape.criteria))]
    if shape.any_tags:  # an OR of @>, which the index on tags can answer; ?| it cannot
        where.append(or_(*(TASKS.c.tags.contains(_tags(f"in_any_tag_{n}")) for n in range(shape.any_tags))))
    return where


@statement
def page(shape: Shape) -> Query:
    """Rows of (total, place, body): `limit` tasks from `offset` or after the cursor's place.

    Counted, there is always a first row; its `id` is null when there is no task.
    """
    order = SORTS[shape.sort]
    key = order.turned if order.turned is not None and shape.falling != order.falling else order.key
    where = _where(shape)
    wanted = select(*_columns(), key.label("key")).where(*where)
    if shape.after:
        there: Any = cast(bindparam("after_key", type_=Text()), key.type)
        here: Any = key
        if not order.unique:
            here, there = tuple_(key, TASKS.c.id), tuple_(there, bindparam("after_id", type_=Uuid()))
        wanted = wanted.where(here < there if shape.falling else here > there)
    else:
        wanted = wanted.offset(bindparam("in_offset", type_=Integer()))
    turn: Callable[[Any], Any] = desc if shape.falling else lambda column: column
    ties = [] if order.unique else [turn(TASKS.c.id)]
    wanted = wanted.order_by(turn(key), *ties).limit(bindparam("in_limit", type_=Integer()))
    found = wanted.subquery("found")
    item = as_json(found, [*shown(found.c), *([_snippet(found.c)] if shape.highlight else [])])
    place = func.concat(cast(found.c.id, Text()), literal_column("' '"), cast(found.c.key, Text())).label("place")
    if not shape.counted:
        rows = select(place, text_of(item)).select_from(found.join(item, true()))
        return rows.order_by(turn(found.c.key), turn(found.c.id))
    total = select(func.count()).select_from(TASKS).where(*where).scalar_subquery()
    counted = select(total.label("total")).subquery("counted")
    everything = counted.outerjoin(found, true()).outerjoin(item, true())
    return (
        select(counted.c.total, found.c.id, place, text_of(item))
        .select_from(everything)
        .order_by(turn(found.c.key), turn(found.c.id))
    )


def _columns() -> list[ColumnElement[Any]]:
    named = ["id", "title", "description", "priority", "due_date", "tags", "completed", "completed_at"]
    return [TASKS.c[name] for name in [*named, "version", "created_at", "updated_at"]]


def _snippet(row: Any) -> ColumnElement[str]:
    """Escaped before the marks are set, so that a title is never taken for HTML."""
    text: Any = func.concat_ws(literal_column("' · '"), row.title, row.description)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = func.replace(text, literal_column(f"'{character}'"), literal_column(f"'{entity}'"))
    return func.ts_headline(CONFIGURATION, text, QUERY, SNIPPET).label("snippet")


@statement
def one() -> Query:
    this = select(*_columns()).where(*_living(), TASKS.c.id == bindparam("row_id", type_=Uuid())).subquery("this")
    item = as_json(this, shown(this.c))
    return select(this.c.version, text_of(item)).select_from(this.join(item, true()))


@statement
def tag_counts() -> Query:
    """Rows of JSON text: the tags of living tasks, most used first, then by name."""
    tag = func.jsonb_array_elements_text(TASKS.c.tags).table_valued("value", name="tag", joins_implicitly=True)
    name = tag.c.value.collate("C")
    counts = (
        select(tag.c.value.label("tag"), func.count().label("count"))
        .select_from(TASKS.join(tag, true()))
        .where(*_living())
        .group_by(tag.c.value)
        .order_by(func.count().desc(), name)
        .limit(bindparam("in_limit", type_=Integer()))
        .subquery("counts")
    )
    item = as_json(counts, [counts.c.tag, counts.c["count"]])
    return (
        select(text_of(item))
        .select_from(counts.join(item, true()))
        .order_by(counts.c["count"].desc(), counts.c.tag.collate("C"))
    )
