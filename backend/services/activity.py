"""What became of tasks, and by whom. The door writes it (backend/door.py); here it is read, and goes away."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Delete,
    Integer,
    Interval,
    Subquery,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    null,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY

from backend.db import Database
from backend.door import ACTIVITY
from backend.rules import cursor
from backend.schemas.lists import Walked
from backend.scope import Scope, account_gone
from backend.services.access_tokens import TOKENS
from backend.services.sessions import SESSIONS
from backend.services.task_criteria import TASKS, living
from backend.services.tasks import TASK
from backend.services.walking import position
from backend.statements import CLOCK, COUNTER, Query, as_json, iso, statement, text_of
from backend.wall import OWNER

KEPT: Final = timedelta(days=366)
USERS_AT_ONCE: Final = 200  # that a statement of the purge looks at
OF_A_USER: Final = 100  # oldest rows that it looks at, where the first is too old
BATCH: Final = 5_000  # rows that it deletes at most
NAMES: Final = "account"
"""The scope that a token needs to learn the names of devices and tokens."""


async def newest(mine: Scope, asked: Walked, task_id: UUID | None = None) -> tuple[list[str], str | None]:
    """JSON, one a change of this task or of any, newest first, and a cursor to those before. One statement.

    Raises NotFound when the task is not there or in the trash, and Invalid for the cursor of something else.
    """
    bound = f"{mine.user_id} activity {task_id or ''}".encode()
    values: dict[str, Any] = {"in_limit": asked.limit + 1, "in_named": NAMES in mine.scopes, "in_task": task_id}
    if asked.cursor:
        values["before"] = position(bound, asked.cursor).id
    rows = await mine.read(_newest(task_id is not None, asked.cursor is not None), values)
    if not rows:
        raise TASK.missing if task_id else account_gone()
    following = None
    if len(rows) > asked.limit:
        following = cursor.seal(bound, cursor.Position(str(rows[asked.limit - 1].version), "", None))
    return [row.body for row in rows[: asked.limit] if row.body], following


async def purge(database: Database) -> None:
    """What is older than `KEPT`, of everybody, a few users at a time: nothing else waits for it. Raises Unavailable."""
    after = UUID(int=0)
    while rows := await database.write(_purge(), {"after": after, "age": KEPT}, many=True):
        if not rows[0].deleted:
            after = rows[0].last


@statement
def forget() -> Delete:
    """All that is told of the tasks `ids`: for whoever takes away what was in them. Inside the door."""
    these = ACTIVITY.c.task_id == func.any(bindparam("ids", type_=ARRAY(Uuid())))
    return delete(ACTIVITY).where(ACTIVITY.c.user_id == OWNER, these)


@statement
def _newest(of_task: bool, further: bool) -> Query:
    """Rows of (seq, version, body): one of nulls when there is nothing to tell, and none without the task."""
    whose = select(COUNTER.c.seq).where(COUNTER.c.user_id == OWNER)
    wanted = select(*ACTIVITY.c).where(ACTIVITY.c.user_id == OWNER)
    if of_task:
        task = bindparam("in_task", type_=Uuid())
        whose = whose.where(TASKS.c.user_id == COUNTER.c.user_id, *living(), TASKS.c.id == task)
        wanted = wanted.where(ACTIVITY.c.task_id == task)
    if further:
        wanted = wanted.where(ACTIVITY.c.version < bindparam("before", type_=BigInteger()))
    limit = bindparam("in_limit", type_=Integer())
    found = wanted.order_by(ACTIVITY.c.version.desc()).limit(limit).subquery("found")
    told, here = _told(found), whose.subquery("here")
    item = as_json(told, [*told.c])
    rows = select(here.c.seq, told.c.version, case((told.c.version.is_not(None), text_of(item))).label("body"))
    joined = here.outerjoin(told, true()).outerjoin(item, true())
    return rows.select_from(joined).order_by(told.c.version.desc())


def _told(found: Subquery) -> Subquery:
    """The change on the wire, with the names that are not its own."""
    of_task = and_(TASKS.c.user_id == found.c.user_id, TASKS.c.id == found.c.task_id)
    of_session = and_(SESSIONS.c.user_id == found.c.user_id, SESSIONS.c.id == found.c.session_id)
    of_token = and_(TOKENS.c.user_id == found.c.user_id, TOKENS.c.id == found.c.token_id)
    joined = found.outerjoin(TASKS, of_task).outerjoin(SESSIONS, of_session).outerjoin(TOKENS, of_token)
    named = [found.c.task_id, TASKS.c.title, found.c.version, iso(found.c.at), found.c.kind, found.c.changes]
    return select(*named, _by(found).label("by")).select_from(joined).subquery("told")


def _by(found: Subquery) -> ColumnElement[Any]:
    session, token = found.c.session_id.is_not(None), found.c.token_id.is_not(None)
    kind = case((session, _word("session")), (token, _word("token")), else_=null())
    name = func.coalesce(func.nullif(SESSIONS.c.device, _word("")), TOKENS.c.name)
    shown = case((bindparam("in_named", type_=Boolean()), name), else_=null())
    parts = {"kind": kind, "id": func.coalesce(found.c.session_id, found.c.token_id), "name": shown}
    return func.json_build_object(*(part for key, value in parts.items() for part in (_word(key), value)))


def _word(text: str) -> ColumnElement[str]:
    return literal_column(f"'{text}'", Text())


@statement
def _purge() -> Query:
    """One row: the `last` of the users that were looked at, and how many rows of theirs were `deleted`.

    A user's numbers are in the order of time, so the first row in the key tells whether there is any to delete: no
    index is kept for this alone.
    """
    after = COUNTER.c.user_id > bindparam("after", type_=Uuid())
    users = (
        select(COUNTER.c.user_id).where(after).order_by(COUNTER.c.user_id).limit(_number(USERS_AT_ONCE)).cte("users")
    )
    over = CLOCK - bindparam("age", type_=Interval())
    first = _oldest(users.c.user_id, 1).lateral("first")
    rows = _oldest(users.c.user_id, OF_A_USER).lateral("rows")
    joined = users.join(first, first.c.at < over).join(rows, rows.c.at < over)
    these = select(users.c.user_id, rows.c.version).select_from(joined).limit(_number(BATCH))
    gone = delete(ACTIVITY).where(tuple_(ACTIVITY.c.user_id, ACTIVITY.c.version).in_(these))
    deleted = gone.returning(ACTIVITY.c.version).cte("deleted")
    count = select(func.count()).select_from(deleted).scalar_subquery().label("deleted")
    last = select(users.c.user_id.label("last"), count).order_by(users.c.user_id.desc()).limit(_number(1))
    return last.execution_options(crosses_users="what is over goes away for everybody at once")


def _oldest(user_id: ColumnElement[UUID], rows: int) -> Any:
    wanted = select(ACTIVITY.c.version, ACTIVITY.c.at).where(ACTIVITY.c.user_id == user_id)
    return wanted.order_by(ACTIVITY.c.version).limit(_number(rows))


def _number(number: int) -> ColumnElement[int]:
    return literal_column(str(number), Integer())
