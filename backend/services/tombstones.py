"""Tombstones go away after 90 days. A device that was away for longer begins again: `floor` tells (pulling.py)."""

from contextlib import suppress
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKeyConstraint,
    FromClause,
    Interval,
    Table,
    Uuid,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    literal_column,
    not_,
    select,
    union,
    update,
)
from sqlmodel import SQLModel

from backend.db import Database
from backend.errors import NotSignedIn
from backend.scope import Changing, Scope
from backend.services.synced import ENTITIES
from backend.services.trash_query import ROWS, USERS
from backend.statements import CLOCK, COUNTER, Query, statement
from backend.wall import OWNER

KEPT: Final = timedelta(days=90)
DAYS: Final = cast(literal_column(f"'{KEPT.days} days'"), Interval())


async def purge(database: Database) -> None:
    """Everybody's, in the order of their ids. What others still refer to stays until these are gone.

    Raises Unavailable.
    """
    after = UUID(int=0)
    while owners := await database.read(_owners(), {"after": after}):
        for row in owners:
            with suppress(NotSignedIn):  # the account ended meanwhile, and everything of it
                await purge_of(Scope(row.user_id, database))
            after = row.user_id


async def purge_of(mine: Scope) -> int:
    """How many. By the thousand, each under the owner's lock, together with the floor."""
    purged = 0
    for target in reversed([entity.kind.table for entity in ENTITIES.values()]):
        if not await mine.read(_some(target), {}):
            continue  # the lock would take a number, which is news to those who listen

        async def work(changing: Changing, target: Table = target) -> int:
            [row] = await changing.run(_purge(target), {})
            return int(row.gone)

        while some := await mine.change(work, at_most=1):
            purged += some
    return purged


@statement
def _some(target: Table) -> Query:
    whose = target.c.user_id == OWNER
    return select(target.c.id).where(whose, *_over(target), *_free(target, target)).limit(literal_column("1"))


def _over(target: FromClause) -> tuple[ColumnElement[bool], ...]:
    scrubbed = [target.c.scrubbed_at.is_not(None)] if "scrubbed_at" in target.c else [target.c.deleted_at.is_not(None)]
    return *scrubbed, target.c.deleted_at < CLOCK - DAYS


def _free(target: Table, row: FromClause) -> list[ColumnElement[bool]]:
    """Nothing refers to the row: asked of each foreign key that leads to its table."""
    free: list[ColumnElement[bool]] = []
    for table in SQLModel.metadata.sorted_tables:
        for key in table.constraints:
            if isinstance(key, ForeignKeyConstraint) and key.referred_table is target:
                other = table.alias(f"other_{len(free)}")
                same = [other.c[pair.parent.name] == row.c[pair.column.name] for pair in key.elements]
                free.append(not_(exists().where(and_(other.c.user_id == OWNER, *same)).correlate(row)))
    return free


@statement
def _purge(target: Table) -> Query:
    """How many went; no device that has not come past the last of them is told of changes any more."""
    old = target.alias("old")
    these = select(old.c.id).where(old.c.user_id == OWNER, *_over(old), *_free(target, old)).limit(ROWS).cte("these")
    this = target.c.user_id == OWNER, target.c.id == these.c.id
    gone = delete(target).where(*this).returning(target.c.version).cte("gone")
    last = select(func.max(gone.c.version)).scalar_subquery()
    raised = (
        update(COUNTER)
        .where(COUNTER.c.user_id == OWNER)
        .values(floor=func.greatest(COUNTER.c.floor, last))
        .returning(COUNTER.c.floor)
        .cte("raised")
    )
    return select(func.count().label("gone")).select_from(gone).add_cte(raised)


@statement
def _owners() -> Query:
    """Up to a hundred users, behind `after`, who have tombstones whose time is over."""
    tables = [entity.kind.table for entity in ENTITIES.values()]
    old = union(*(select(each.c.user_id).where(*_over(each)) for each in tables)).subquery("old")
    why = "tombstones go away for everybody"
    following = select(old.c.user_id).where(old.c.user_id > bindparam("after", type_=Uuid()))
    return following.order_by(old.c.user_id).limit(USERS).execution_options(crosses_users=why)
