"""Dependencies as SQL: builds statements, runs none."""

from typing import Any, Final

from sqlalchemy import (
    Insert,
    Integer,
    Update,
    Uuid,
    and_,
    bindparam,
    case,
    column,
    func,
    insert,
    select,
    true,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, array

from backend.services.task_criteria import by_id, living
from backend.services.task_dependencies import BACK, DEPENDENCIES, ONWARD, OTHER, TASKS, Way, leads
from backend.services.task_wire import shown
from backend.statements import CLOCK, COUNTER, Query, as_json, one_by_one, statement, text_of
from backend.wall import OWNER

IDS: Final = bindparam("ids", type_=ARRAY(Uuid()))
TASK_ID: Final = bindparam("in_task", type_=Uuid())
OTHER_ID: Final = bindparam("in_other", type_=Uuid())


@statement
def beside(way: Way, after: bool) -> Query:
    """Rows of (seq, place, body): the tasks to which `in_task` leads, in the order in which that was said.

    Without any there is a row of nulls, and without `in_task` no row.
    """
    this = TASKS.alias("this")
    wanted = select(*TASKS.c, DEPENDENCIES.c.id.label("place")).where(*leads(way, TASK_ID, TASKS))
    if after:
        wanted = wanted.where(DEPENDENCIES.c.id > bindparam("after_id", type_=Uuid()))
    limit = bindparam("in_limit", type_=Integer())
    found = wanted.order_by(DEPENDENCIES.c.id).limit(limit).subquery("found")
    item = as_json(found, shown(found.c))
    seq = select(COUNTER.c.seq).where(COUNTER.c.user_id == OWNER).scalar_subquery().label("seq")
    return (
        select(seq, found.c.place, text_of(item))
        .select_from(this.outerjoin(found, true()).outerjoin(item, true()))
        .where(this.c.user_id == OWNER, this.c.id == TASK_ID, this.c.deleted_at.is_(None))
        .order_by(found.c.place)
    )


@statement
def ends() -> Query:
    """Of `in_task` and `in_other`, those that are there: how many each depends on, how many depend on it, and
    `joined`, whether the one depends on the other."""
    joined = select(DEPENDENCIES.c.id).where(*leads(ONWARD, TASK_ID), OTHER.c.id == OTHER_ID).exists()
    these = TASKS.c.id == func.any(array([TASK_ID, OTHER_ID]))
    counts = (_count(ONWARD).label("dependencies"), _count(BACK).label("dependents"))
    return select(TASKS.c.id, *counts, joined.label("joined")).where(*living(), these)


def _count(way: Way) -> Any:
    there = select(func.count()).where(*leads(way, TASKS.c.id), DEPENDENCIES.c.user_id == TASKS.c.user_id)
    return there.correlate(TASKS).scalar_subquery()


@statement
def between() -> Query:
    """The dependency of `in_task` on `in_other`, when both are there."""
    here = *living(), TASKS.c.id == DEPENDENCIES.c.task_id
    return select(DEPENDENCIES.c.id).where(*leads(ONWARD, TASK_ID), OTHER.c.id == OTHER_ID, *here)


@statement
def touching() -> Query:
    """The dependencies of the tasks `ids`, both ways, in the order in which they were made."""
    columns = DEPENDENCIES.c.id, DEPENDENCIES.c.task_id, DEPENDENCIES.c.depends_on_id
    theirs = union(*(select(*columns).where(*leads(way, func.any(IDS))) for way in (ONWARD, BACK))).subquery("theirs")
    return select(*theirs.c).order_by(theirs.c.id)


@statement
def onward() -> Query:
    """The dependencies that can be reached from the tasks `ids`, up to `in_limit`.

    UNION goes through each task once, so that it takes time in proportion to what is found; and Postgres goes no
    further than to the limit.
    """
    given = func.unnest(IDS).table_valued(column("id", Uuid()), name="given").render_derived()
    first = select(given.c.id).cte("reached", recursive=True)
    to_living = DEPENDENCIES.join(OTHER, and_(*leads(ONWARD, first.c.id)))
    further = one_by_one(select(DEPENDENCIES.c.depends_on_id).select_from(to_living), first)
    reached = first.union(select(further.c.depends_on_id).select_from(first.join(further, true())))
    theirs = (DEPENDENCIES.c.user_id == OWNER, DEPENDENCIES.c.task_id == reached.c.id)
    columns = select(DEPENDENCIES.c.task_id, DEPENDENCIES.c.depends_on_id)
    found = one_by_one(columns.where(*theirs, DEPENDENCIES.c.deleted_at.is_(None)), reached)
    return select(*found.c).select_from(reached.join(found, true())).limit(bindparam("in_limit", type_=Integer()))


@statement
def titles() -> Query:
    return select(TASKS.c.id, TASKS.c.title).where(*by_id(), TASKS.c.id == func.any(IDS))


@statement
def make() -> Insert:
    """For the transaction form, which has counted before."""
    new = {name: bindparam(f"new_{name}", type_=DEPENDENCIES.c[name].type) for name in ("id", "version")}
    new["created_version"] = new["version"]
    return insert(DEPENDENCIES).values(user_id=OWNER, task_id=TASK_ID, depends_on_id=OTHER_ID, **new)


@statement
def move() -> Update:
    """The dependencies `ids` from `in_task` to `in_other`, at whichever end it is, numbered after `before`."""
    given = func.unnest(IDS).table_valued("id", with_ordinality="n", name="given").render_derived()
    new = {name: case((DEPENDENCIES.c[name] == TASK_ID, OTHER_ID), else_=DEPENDENCIES.c[name]) for name in ONWARD}
    version = bindparam("before", type_=DEPENDENCIES.c.version.type) + given.c.n
    this = DEPENDENCIES.c.user_id == OWNER, DEPENDENCIES.c.id == given.c.id, DEPENDENCIES.c.deleted_at.is_(None)
    return update(DEPENDENCIES).where(*this).values(new | {"version": version, "updated_at": CLOCK})
