"""Verbs on the comments of a task. Every write goes through the door; nothing here commits.

A task that is not there, somebody else's or in the trash has none: the three look the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    desc,
    literal_column,
    select,
    true,
    tuple_,
)

from backend import door
from backend.schemas.comments import CommentCreate, CommentList, CommentPatch
from backend.scope import Changing, Scope
from backend.security.opaque import new_id
from backend.services.changes import GONE, Kind, Stored, change, unchanged
from backend.services.comment_search import COMMENTS
from backend.services.task_criteria import TASKS, living
from backend.services.tasks import TASK
from backend.services.walking import walked
from backend.sql import Row
from backend.statements import COUNTER, Query, as_json, iso, statement, text_of
from backend.wall import OWNER

GIVEN: Final = ("id", "task_id", "body", "language")
TASK_ID: Final = bindparam("task_id", type_=Uuid())


async def create(mine: Scope, task_id: UUID, comment: CommentCreate) -> tuple[UUID, Stored]:
    """A taken id, of a deleted one too, is the database's to refuse. Raises NotFound for the task.

    The door's second form: its foreign key takes a task in the trash, so the task is looked at under the lock.
    """
    comment_id = comment.id or new_id()
    values = {"new_id": comment_id, "new_task_id": task_id, "new_body": comment.body, "new_language": mine.language}

    async def work(changing: Changing) -> Stored:
        if not await changing.run(task(), {"task_id": task_id}):
            raise TASK.missing
        [made] = await changing.run(door.create(COMMENTS, GIVEN, shown), values)
        return Stored(made.version, made.body)

    return comment_id, await mine.change(work, at_most=1)


async def of(mine: Scope, task_id: UUID, asked: CommentList) -> tuple[list[str], str | None]:
    """JSON, one a comment, and a cursor to those after them. One statement. Raises NotFound, and Invalid for the
    cursor.
    """

    def page(after: bool) -> Query:
        return listed(asked.order == "desc", after)

    return await walked(mine, page, asked, f"comments {task_id} {asked.order}", {"task_id": task_id}, TASK.missing)


async def read(mine: Scope, task_id: UUID, comment_id: UUID) -> Stored:
    return _found(await mine.read(one(), {"task_id": task_id, "row_id": comment_id}))


async def edit(
    mine: Scope, task_id: UUID, comment_id: UUID, patch: CommentPatch, expected: Sequence[int] | None
) -> Stored:
    """Raises NotFound, and PreconditionFailed when the version is not among `expected`."""
    sent = patch.sent()
    if not sent:
        return unchanged(await read(mine, task_id, comment_id), COMMENT, expected)
    return await _change(mine, task_id, comment_id, sent, expected)


async def remove(mine: Scope, task_id: UUID, comment_id: UUID, expected: Sequence[int] | None) -> None:
    """To the trash. Raises like `edit`."""
    await _change(mine, task_id, comment_id, dict.fromkeys(GONE), expected)


async def _change(
    mine: Scope, task_id: UUID, comment_id: UUID, sent: Mapping[str, Any], expected: Sequence[int] | None
) -> Stored:
    async def work(changing: Changing) -> Stored:
        unchanged(_found(await changing.run(one(), {"task_id": task_id, "row_id": comment_id})), COMMENT, expected)
        return await change(changing.run, COMMENT, comment_id, sent)

    return await mine.change(work, at_most=1)


def _found(rows: Sequence[Row]) -> Stored:
    if not rows:
        raise TASK.missing
    if rows[0].version is None:
        raise COMMENT.missing
    return Stored(rows[0].version, rows[0].body)


def shown(row: Any) -> list[ColumnElement[Any]]:
    """The comment on the wire, from any row that has its columns."""
    return [row.id, row.task_id, row.body, row.version, iso(row.created_at), iso(row.updated_at)]


COMMENT: Final = Kind(COMMENTS, shown, "comment")


def _columns() -> list[ColumnElement[Any]]:
    return [COMMENTS.c[name] for name in ("id", "task_id", "body", "version", "created_at", "updated_at")]


def _of_task() -> list[ColumnElement[bool]]:
    return [COMMENTS.c.user_id == OWNER, COMMENTS.c.task_id == TASK_ID, COMMENTS.c.deleted_at.is_(None)]


@statement
def task() -> Query:
    return select(TASKS.c.version).where(*living(), TASKS.c.id == TASK_ID)


@statement
def one() -> Query:
    """A row when the task is there, with nulls when the comment is not."""
    this = select(*_columns()).where(*_of_task(), COMMENTS.c.id == bindparam("row_id", type_=Uuid())).subquery("this")
    item = as_json(this, shown(this.c))
    at = TASKS.outerjoin(this, true()).outerjoin(item, true())
    return select(this.c.version, text_of(item)).select_from(at).where(*living(), TASKS.c.id == TASK_ID)


@statement
def listed(falling: bool, after: bool) -> Query:
    """Rows of (seq, place, body), from the first or after the cursor's place. A task without comments is a row of
    nulls, and one that is not there none.
    """
    turn = desc if falling else lambda column: column
    wanted = select(*_columns()).where(*_of_task())
    if after:
        key = cast(bindparam("after_key", type_=Text()), DateTime(timezone=True))
        here = tuple_(COMMENTS.c.created_at, COMMENTS.c.id)
        there = tuple_(key, bindparam("after_id", type_=Uuid()))
        wanted = wanted.where(here < there if falling else here > there)
    limit = bindparam("in_limit", type_=Integer())
    found = wanted.order_by(turn(COMMENTS.c.created_at), turn(COMMENTS.c.id)).limit(limit).subquery("found")
    item = as_json(found, shown(found.c))
    place = cast(found.c.id, Text()) + literal_column("' '") + cast(found.c.created_at, Text())
    seq = select(COUNTER.c.seq).where(COUNTER.c.user_id == OWNER).scalar_subquery().label("seq")
    rows = select(seq, place.label("place"), case((found.c.id.is_not(None), text_of(item))).label("body"))
    at = and_(*living(), TASKS.c.id == TASK_ID)
    return (
        rows.select_from(TASKS.outerjoin(found, true()).outerjoin(item, true()))
        .where(at)
        .order_by(turn(found.c.created_at), turn(found.c.id))
    )
