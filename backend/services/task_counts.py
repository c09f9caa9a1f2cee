"""How many tasks a filter finds, in all and by their features: parts of the listing's one statement."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import CTE, BigInteger, ColumnElement, Integer, Text, case, cast, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import JSON, aggregate_order_by

from backend.models import Priority
from backend.services.task_criteria import TASKS
from backend.wall import OWNER

EXACT_MOST: Final = 10_000
"""`count=estimate` counts up to here; beyond, it is an estimate."""
FACET_MOST: Final = 100
_ONE: Final = literal_column("1", Integer())
_MOST: Final = literal_column(str(EXACT_MOST), Integer())
SLICES: Final = literal_column("256", Integer())
SLICE: Final = literal_column("8", Integer())  # versions

Where = list[ColumnElement[bool]]


def exact(where: Where) -> ColumnElement[int]:
    return select(func.count()).select_from(TASKS).where(*where).scalar_subquery()


def all_of(found: CTE) -> ColumnElement[int]:
    return select(func.count()).select_from(found).scalar_subquery()


def or_estimate(where: Where) -> tuple[ColumnElement[int], ColumnElement[bool]]:
    """The total, and whether it is an estimate: it is above EXACT_MOST."""
    few = select(_ONE).select_from(TASKS).where(*where).limit(_MOST + _ONE).subquery("few")
    counted = select(func.count().label("count")).select_from(few).cte("counted")
    more = counted.c["count"] > _MOST
    total = case((more, func.greatest(_MOST + _ONE, _estimate(where))), else_=counted.c["count"])
    return select(total).scalar_subquery(), select(more).scalar_subquery()


def _estimate(where: Where) -> ColumnElement[int]:
    """From 256 slices of 8 versions each, spread evenly from the first version that a task has to the last.

    A task has one version, so that what the slices hold is to all tasks as their width is to the whole. The
    counter itself would not do: it runs ahead where numbers were reserved and not used. Where a few tasks were
    changed many times as often as there are tasks, most slices hold nothing, and the estimate is rough.
    """
    each = func.generate_series(literal_column("0"), SLICES - _ONE).table_valued("n", name="each").render_derived()
    # // and not /: a version compared with a numeric would be looked for in no index.
    ends = (
        select((func.min(TASKS.c.version) - _ONE).label("before"), func.max(TASKS.c.version).label("last"))
        .where(TASKS.c.user_id == OWNER)
        .subquery("ends")
    )
    width = ends.c.last - ends.c.before
    slices = (
        select(width.label("width"), (ends.c.before + each.c.n * width // SLICES).label("start"))
        .select_from(ends.join(each, true()))
        .subquery("slices")
    )
    inside = TASKS.c.version > slices.c.start, TASKS.c.version <= slices.c.start + SLICE
    # Each slice by itself: joined, Postgres reads all tasks and compares each with every slice.
    held = (
        select(func.count())
        .select_from(TASKS)
        .where(TASKS.c.user_id == OWNER, *inside, *where)
        .correlate(slices)
        .scalar_subquery()
    )
    whole = cast(func.sum(held), BigInteger()) * func.max(slices.c.width) // (SLICES * SLICE)
    return select(whole).select_from(slices).scalar_subquery()


def facets(names: Iterable[str], where: Where) -> ColumnElement[Any]:
    """JSON: for each facet its values and how many of the tasks that are found have them."""
    made = {"tag": _tags, "priority": _priorities, "status": _statuses, "project": _projects}
    parts = [part for name in names for part in (literal_column(f"'{name}'"), made[name](where))]
    return func.json_build_object(*parts)


def _statuses(where: Where) -> ColumnElement[Any]:
    completed = {"pending": TASKS.c.completed.is_(False), "completed": TASKS.c.completed.is_(True)}
    return _either(completed, where)


def _priorities(where: Where) -> ColumnElement[Any]:
    return _either({name: TASKS.c.priority == literal_column(f"'{name}'") for name in reversed(Priority)}, where)


def _either(values: Mapping[str, ColumnElement[bool]], where: Where) -> ColumnElement[Any]:
    """All in one reading; a value that no task has is counted as well."""
    counts = [_counted(literal_column(f"'{name}'"), func.count().filter(this)) for name, this in values.items()]
    return select(func.json_build_array(*counts)).select_from(TASKS).where(*where).scalar_subquery()


def _counted(value: Any, count: Any) -> ColumnElement[Any]:
    return func.json_build_object(literal_column("'value'"), value, literal_column("'count'"), count)


def _tags(where: Where) -> ColumnElement[Any]:
    """The hundred most used."""
    tag = func.jsonb_array_elements_text(TASKS.c.tags).table_valued("value", name="tag", joins_implicitly=True)
    return _most(tag.c.value, TASKS.join(tag, true()), where)


def _projects(where: Where) -> ColumnElement[Any]:
    """The hundred fullest, by their ids, and the inbox among them."""
    return _most(func.coalesce(cast(TASKS.c.project_id, Text()), literal_column("'inbox'")), TASKS, where)


def _most(value: ColumnElement[str], source: Any, where: Where) -> ColumnElement[Any]:
    most = (
        select(value.label("value"), func.count().label("count"))
        .select_from(source)
        .where(*where)
        .group_by(value)
        .order_by(func.count().desc(), value.collate("C"))
        .limit(literal_column(str(FACET_MOST)))
        .subquery("most")
    )
    each = _counted(most.c.value, most.c["count"])
    in_order = func.json_agg(aggregate_order_by(each, most.c["count"].desc(), most.c.value.collate("C")))
    return select(func.coalesce(in_order, cast(literal_column("'[]'"), JSON()))).select_from(most).scalar_subquery()
