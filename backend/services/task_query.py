"""The listing as SQL: builds statements, runs none.

A statement depends on the *shape* of what is asked: the form of the tree, the sort and its direction,
by page or from a cursor, counted or not. There is one statement a shape, made once; values are bound.
The page leaves Postgres as JSON text, a row an item.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    Integer,
    Subquery,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    desc,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from backend.models import SavedFilter, table
from backend.schemas.filters import Sort
from backend.services import task_counts as counts
from backend.services.task_counts import Where
from backend.services.task_criteria import (
    DUE,
    DUE_FALLING,
    SOUGHT,
    TASKS,
    Form,
    by_id,
    condition,
    conjuncts,
    living,
    names_in,
    place,
    sought,
    sought_condition,
)
from backend.services.task_family import MOST_INCLUDED, relatives
from backend.services.task_search import Words, found_by, meant, rank, ranked_hits, snippet, vocabulary, words
from backend.services.task_wire import columns, shown
from backend.statements import COUNTER, Query, as_json, one_by_one, statement, text_of
from backend.wall import OWNER

FILTERS = table(SavedFilter)
EPOCH = func.left(cast(COUNTER.c.epoch, Text()), literal_column("8")).label("epoch")
"""Tells a database that was restored, and counts once more, from what it was."""
ONE: Any = literal_column("1", Integer())
PLANNED_ANEW = or_(
    bindparam("in_anew", type_=Boolean()),
    select(func.count())
    .select_from(func.generate_series(ONE, literal_column("1000000000")).alias("dear"))
    .scalar_subquery()
    == ONE,
)
"""True, and gone when the statement is planned for its values; never run, but dear in a plan for any values.

Postgres would prefer such a plan, once a statement is prepared, where it looks cheaper: made for a user of
average size, it is slow for one with many tasks.
"""
INSENSITIVE = {"completed"}
"""Criteria that change no plan: an order is walked, and what does not fit is passed over."""


ROW = place(TASKS.c), TASKS.c.id
"""The order by hand."""


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
    Sort.position: Order(place(TASKS.c), falling=False),
    Sort.relevance: Order(rank(words()), falling=True),
}


class Shape(NamedTuple):
    form: Form  # of the tree that is asked for
    sort: Sort
    falling: bool
    start: Literal["first", "page", "cursor"] = "first"
    limit: int | None = None  # where it is a common one; Postgres plans for 10 % of all when it does not know it
    total: Literal["exact", "estimate", "none"] = "exact"
    search: Literal["no", "exact", "fuzzy"] = "no"
    highlight: bool = False
    facets: tuple[str, ...] = ()
    include: tuple[str, ...] = ()

    @property
    def sought(self) -> bool:
        """Found by words or tags, whatever else is asked of it."""
        return self.search != "no" or not SOUGHT.isdisjoint(conjuncts(self.form))

    @property
    def planned_anew(self) -> bool:
        return not self.sought and not INSENSITIVE.issuperset(names_in(self.form))


@statement
def page(shape: Shape) -> Query:
    """One row: what is known beside the page; `there`, how many tasks there are, up to one more than fit in it;
    `body`, those that fit, as the inside of a JSON array; `place`, where a cursor goes on after the last of them.

    Without an account there is no row. One row and not one a task: the driver takes 7 µs for each.
    """
    looked_for = words(fuzzy=shape.search == "fuzzy", by_rank=shape.sort is Sort.relevance)
    where = [*sought(), sought_condition(shape.form)] if shape.sought else [*living(), condition(shape.form)]
    where += [found_by(looked_for)] if shape.search != "no" else []
    where += [PLANNED_ANEW] if shape.planned_anew else []
    hits = ranked_hits(looked_for, where, likes=shape.search == "fuzzy") if shape.sort is Sort.relevance else None
    known = _known(shape, where, hits).subquery("known")
    found = _found(shape, where) if hits is None else _of_hits(shape, hits)
    rows = _rows(shape, found, looked_for)
    if not shape.include:
        listed = _listed(shape, rows.subquery("rows")).subquery("listed")
        return select(*known.c, *listed.c).select_from(known.join(listed, true()))
    page = rows.cte("rows")
    listed = _listed(shape, page).subquery("listed")
    beside = _included(shape, page).subquery("beside")
    return select(*known.c, *listed.c, *beside.c).select_from(known.join(listed, true()).join(beside, true()))


@statement
def suggestion() -> Query:
    """A statement of its own: as a part of each search it took Postgres half a millisecond to plan."""
    return select(COUNTER.c.seq, meant(vocabulary()).label("words")).where(COUNTER.c.user_id == OWNER)


def _rows(shape: Shape, found: Subquery, looked_for: Words) -> Query:
    turn = _turn(shape)
    item = as_json(found, [*shown(found.c), *([snippet(found.c, looked_for)] if shape.highlight else [])])
    number = func.row_number().over(order_by=[turn(found.c.key), turn(found.c.id)]).label("n")
    family = [found.c.parent_id] if shape.include else []
    return select(found.c.id, *family, found.c.key, number, text_of(item)).select_from(found.join(item, true()))


def _listed(shape: Shape, rows: Any) -> Query:
    comma: Any = literal_column("','")
    body = func.string_agg(rows.c.body, aggregate_order_by(comma, rows.c.n)).filter(rows.c.n <= _limit(shape))
    place = cast(rows.c.id, Text()) + literal_column("' '") + cast(rows.c.key, Text())
    last = func.max(place).filter(rows.c.n == _limit(shape))
    return select(func.count().label("there"), body.label("body"), last.label("place")).select_from(rows)


def _included(shape: Shape, rows: CTE) -> Query:
    """`included`: those around the page's tasks, without these, as the inside of a JSON array; and whether all are."""
    page = select(rows.c.id, rows.c.parent_id).where(rows.c.n <= _limit(shape)).cte("page")
    these = TASKS.c.id.in_(relatives(shape.include, page)), TASKS.c.id.not_in(select(page.c.id))
    most = literal_column(str(MOST_INCLUDED), Integer())
    found = select(*columns()).where(*living(), *these).order_by(*ROW).limit(most + ONE).subquery("others")
    item = as_json(found, shown(found.c))
    number = func.row_number().over(order_by=(place(found.c), found.c.id)).label("n")
    each = select(number, text_of(item)).select_from(found.join(item, true())).subquery("each")
    comma: Any = literal_column("','")
    body = func.string_agg(each.c.body, aggregate_order_by(comma, each.c.n)).filter(each.c.n <= most)
    return select(body.label("included"), (func.count() <= most).label("included_all")).select_from(each)


def _found(shape: Shape, where: Where) -> Subquery:
    """The rows of the page, and the key that each is sorted by."""
    order = SORTS[shape.sort]
    key = order.turned if order.turned is not None and shape.falling != order.falling else order.key
    wanted = select(*columns(), *_for_snippet(shape), key.label("key")).where(*where)
    return _paged(shape, wanted, key, TASKS.c.id).subquery("found")


def _of_hits(shape: Shape, hits: CTE) -> Subquery:
    """The same of those that a search found, whose ranks are known: each is read again by its key."""
    these = _paged(shape, select(hits), hits.c.key, hits.c.id).subquery("these")
    row = one_by_one(select(*columns(), *_for_snippet(shape)).where(*by_id(), TASKS.c.id == these.c.id), these)
    return select(*row.c, these.c.key).select_from(these.join(row, true())).subquery("found")


def _for_snippet(shape: Shape) -> list[ColumnElement[Any]]:
    return [TASKS.c.search] if shape.highlight else []


def _paged(shape: Shape, wanted: Query, key: Any, row_id: Any) -> Query:
    order = SORTS[shape.sort]
    if shape.start == "cursor":
        there: Any = cast(bindparam("after_key", type_=Text()), key.type)
        here: Any = key
        if not order.unique:
            here, there = tuple_(key, row_id), tuple_(there, bindparam("after_id", type_=Uuid()))
        further = here < there if shape.falling else here > there
        wanted = wanted.where(further.is_(true()) if shape.sought else further)
    if shape.start == "page":
        wanted = wanted.offset(bindparam("in_offset", type_=Integer()))
    turn = _turn(shape)
    ties = [] if order.unique else [turn(row_id)]
    return wanted.order_by(turn(key), *ties).limit(_limit(shape) + ONE)


def _limit(shape: Shape) -> Any:
    if shape.limit is None:
        return bindparam("in_limit", type_=Integer())
    return literal_column(str(shape.limit), Integer())


def _turn(shape: Shape) -> Callable[[Any], Any]:
    return desc if shape.falling else lambda column: column


def _known(shape: Shape, where: Where, hits: CTE | None) -> Query:
    """What the answer says beside the page: one row."""
    about: list[ColumnElement[Any]] = [COUNTER.c.seq, EPOCH]
    if shape.total == "exact":
        total = counts.exact(where) if hits is None else counts.all_of(hits)
        about.append(total.label("total"))
    elif shape.total == "estimate":
        total, estimated = counts.or_estimate(where)
        about += [total.label("total"), estimated.label("estimated")]
    if shape.facets:
        about.append(counts.facets(shape.facets, where).label("facets"))
    return select(*about).where(COUNTER.c.user_id == OWNER)


@statement
def counter_and_saved() -> Query:
    """As `counter`, with what the saved filter `saved_id` says: nulls when there is no such one."""
    this = and_(
        FILTERS.c.user_id == COUNTER.c.user_id,
        FILTERS.c.id == bindparam("saved_id", type_=Uuid()),
        FILTERS.c.deleted_at.is_(None),
    )
    return (
        select(COUNTER.c.seq, EPOCH, FILTERS.c.filter, FILTERS.c.sort, FILTERS.c.order)
        .select_from(COUNTER.outerjoin(FILTERS, this))
        .where(COUNTER.c.user_id == OWNER)
    )


@statement
def counter() -> Query:
    """How far the owner's changes have come: all that a listing depends on besides itself and the clock."""
    return select(COUNTER.c.seq, EPOCH).where(COUNTER.c.user_id == OWNER)


@statement
def one() -> Query:
    this = select(*columns()).where(*living(), TASKS.c.id == bindparam("row_id", type_=Uuid())).subquery("this")
    item = as_json(this, shown(this.c))
    return select(this.c.version, text_of(item)).select_from(this.join(item, true()))


@statement
def these() -> Query:
    """The tasks `ids`, in the order of their versions."""
    some = select(*columns()).where(*living(), TASKS.c.id == func.any(bindparam("ids", type_=ARRAY(Uuid()))))
    found = some.subquery("found")
    item = as_json(found, shown(found.c))
    return select(found.c.version, text_of(item)).select_from(found.join(item, true())).order_by(found.c.version)


@statement
def known() -> Query:
    """Which of `ids` there are, in the trash and beyond too."""
    these = TASKS.c.id == func.any(bindparam("ids", type_=ARRAY(Uuid())))
    return select(TASKS.c.id).where(TASKS.c.user_id == OWNER, these)
