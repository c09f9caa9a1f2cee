"""Tags as SQL: builds statements, runs none."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by

from backend.clocks import stamped
from backend.door import noted
from backend.models import Tag, table
from backend.services.task_criteria import CRITERIA, TASKS, condition, living
from backend.statements import CLOCK, COUNTER, Query, as_json, statement
from backend.wall import OWNER

TAGS = table(Tag)
NONE: Any = literal_column("'[]'", JSONB())
MINE = (TASKS.c.user_id == OWNER).is_(true())  # with the trash, and as `task_criteria.sought` has it
IN_USE = TASKS.c.deleted_at.is_(None)


def _living() -> list[ColumnElement[bool]]:
    return [TAGS.c.user_id == OWNER, TAGS.c.deleted_at.is_(None)]


@statement
def listed(after: bool) -> Query:
    """Rows of (seq, place, body): the tags of living tasks and those that have a colour, most used first, then by name.

    The place is `count tag`. When there are none, one row without a place, so that the counter comes with it. Without
    a colour there is no `color`: clients that were made before there were colours read what they always did.
    """
    each = func.jsonb_array_elements_text(TASKS.c.tags).table_valued("value", name="each", joins_implicitly=True)
    counts = (
        select(each.c.value.label("tag"), func.count().label("count"))
        .select_from(TASKS.join(each, true()))
        .where(*living())
        .group_by(each.c.value)
        .subquery("counts")
    )
    kept = select(TAGS.c.name, TAGS.c.color).where(*_living()).subquery("kept")
    tag = func.coalesce(counts.c.tag, kept.c.name).label("tag")
    count = func.coalesce(counts.c["count"], literal_column("0")).label("count")
    wanted = select(tag, count, kept.c.color).select_from(counts.join(kept, counts.c.tag == kept.c.name, full=True))
    if after:
        there = -cast(bindparam("after_id", type_=Text()), BigInteger()), bindparam("after_key", type_=Text())
        wanted = wanted.where(tuple_(-count.element, tag.element.collate("C")) > tuple_(*there))
    ordered = wanted.order_by(count.desc(), tag.collate("C"))
    most = ordered.limit(bindparam("in_limit", type_=Integer())).subquery("most")
    item = as_json(most, [most.c.tag, most.c["count"], most.c.color])
    place = (cast(most.c["count"], Text()) + literal_column("' '", Text()) + most.c.tag).label("place")
    return (
        select(
            COUNTER.c.seq,
            place,
            cast(func.json_strip_nulls(func.row_to_json(item.table_valued())), Text()).label("body"),
        )
        .select_from(COUNTER.outerjoin(most, true()).outerjoin(item, true()))
        .where(COUNTER.c.user_id == OWNER)
        .order_by(most.c["count"].desc(), most.c.tag.collate("C"))
    )


@statement
def known() -> Query:
    """A row for each of `names`, in their order: the tasks that have it, how many of them are living, its colour.

    Counted and not asked for by EXISTS: for the first of many, Postgres would read everybody's tasks in order.
    """
    names = bindparam("names", type_=ARRAY(Text()))
    given = func.unnest(names).table_valued("name", with_ordinality="n", name="given").render_derived()
    held = (
        select(func.count().label("tasks"), func.count().filter(IN_USE).label("living"))
        .select_from(TASKS)
        .where(MINE, CRITERIA["tags"].line(func.jsonb_build_array(given.c.name)))
        .correlate(given)
        .lateral("held")
    )
    row = and_(*_living(), TAGS.c.name == given.c.name)
    return (
        select(given.c.name, held.c.tasks, held.c.living, TAGS.c.id, TAGS.c.color)
        .select_from(given.join(held, true()).outerjoin(TAGS, row))
        .order_by(given.c.n)
    )


@statement
def retag(many: int) -> Query:
    """Has the tag `into` take the place of all that are among `names`, or none where it is null: how many changed.

    `in_0`, `in_1`, … up to `many` are the same names, each a list of one, for the index. For the transaction form:
    the numbers after `before` are reserved. They are given away in the order of the versions that the tasks had.
    """
    found = (
        select(TASKS.c.id, TASKS.c.tags.label("was_tags"), func.row_number().over(order_by=TASKS.c.version).label("n"))
        .where(MINE, condition(("or", ("tags",) * many)))
        .subquery("found")
    )
    version = bindparam("before", type_=TASKS.c.version.type) + found.c.n
    changed = (
        update(TASKS)
        .where(TASKS.c.user_id == OWNER, TASKS.c.id == found.c.id)
        .values(
            tags=_tags_anew(),
            version=version,
            updated_at=CLOCK,
            **stamped(TASKS, ["tags"], version, CLOCK),
        )
        .returning(*(TASKS.c[name] for name in ("user_id", "id", "version", "updated_at", "tags")), found.c.was_tags)
        .cte("changed")
    )
    return select(func.count().label("updated")).select_from(changed).add_cte(noted(changed, ["tags"]))


def _tags_anew() -> ColumnElement[Any]:
    """In their order; what would be there twice has the first of its places."""
    each = func.jsonb_array_elements_text(TASKS.c.tags).table_valued("value", with_ordinality="place", name="each")
    each = each.render_derived()
    meant = each.c.value == func.any(bindparam("names", type_=ARRAY(Text())))
    name = case((meant, bindparam("into", type_=Text())), else_=each.c.value).label("name")
    renamed = select(name, each.c.place).select_from(each).subquery("renamed")
    once = (
        select(renamed.c.name, func.min(renamed.c.place).label("place"))
        .where(renamed.c.name.is_not(None))
        .group_by(renamed.c.name)
        .subquery("once")
    )
    in_order = func.jsonb_agg(aggregate_order_by(once.c.name, once.c.place))
    return select(func.coalesce(in_order, NONE)).select_from(once).scalar_subquery()
