"""The audit trail: what happened to an account, written with what it tells of, and told to the log.

No secret is ever part of an event, nor what was typed in a sign-in that failed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, FromClause, Integer, Uuid, bindparam, insert, select, true

from backend.models import AuditEvent, User, table
from backend.rules import cursor
from backend.scope import Scope
from backend.security.opaque import new_id
from backend.services.walking import position
from backend.sql import Row
from backend.statements import Query, as_json, iso, statement, text_of
from backend.telemetry import logs
from backend.wall import OWNER

EVENTS, USERS = table(AuditEvent), table(User)
DEVICE_CHARACTERS: Final = 200

log = logs.logger("tend.audit")


class Caller(NamedTuple):
    """From where a request came: a network address, and what the client calls itself."""

    address: str
    device: str


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    caller: Caller
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """What `noted` binds."""
        return {
            "event_id": new_id(),
            "event_kind": self.kind,
            "event_address": self.caller.address,
            "event_device": self.caller.device,
            "event_detail": dict(self.detail),
        }

    def log(self, user_id: UUID | None) -> None:
        tell(self.kind, user=str(user_id) if user_id else None, **self.caller._asdict(), **self.detail)


def tell(event: str, **more: Any) -> None:
    """A line in the log; in production a line of JSON, whatever is in it."""
    log.info(event, **more)


class Door(Protocol):
    """A Scope, or the Database where nobody is signed in yet."""

    async def write(self, statement: Any, values: Mapping[str, Any]) -> Sequence[Row]: ...


async def write(door: Door, statement: Any, values: Mapping[str, Any], event: Event) -> Sequence[Row]:
    """A statement that holds `noted` and gives `user_id` back: both are stored, or neither is."""
    rows = await door.write(statement, {**values, **event.values})
    if rows:
        event.log(rows[0].user_id)
    return rows


def noted(source: FromClause, user_id: ColumnElement[UUID]) -> CTE:
    """Part of a statement: an event for the user of `source`, if it has a row."""
    names = ["user_id", "id", "kind", "address", "device", "detail"]
    values = [bindparam(f"event_{name}", type_=EVENTS.c[name].type) for name in names[1:]]
    row = select(user_id, *values).select_from(source).limit(1)
    return insert(EVENTS).from_select(names, row, include_defaults=False).cte("noted")


@statement
def note() -> Query:
    """An event of something that changed nothing else."""
    account = select(USERS.c.id.label("user_id")).where(USERS.c.id == OWNER).cte("account")
    return select(account.c.user_id).add_cte(noted(account, OWNER))


async def newest(mine: Scope, limit: int, after: str | None) -> tuple[list[str], str | None]:
    """Events as JSON, newest first, and the cursor of those before. Raises Invalid for a cursor of something else."""
    bound = f"{mine.user_id} audit".encode()
    values: dict[str, Any] = {"in_limit": limit + 1}
    if after is not None:
        values["before"] = position(bound, after).id
    rows = await mine.read(_newest(after is not None), values)
    following = None
    if len(rows) > limit:
        following = cursor.seal(bound, cursor.Position(str(rows[limit - 1].id), "", None))
    return [row.body for row in rows[:limit]], following


@statement
def _newest(further: bool) -> Query:
    criteria = [EVENTS.c.user_id == OWNER]
    if further:
        criteria.append(EVENTS.c.id < bindparam("before", type_=Uuid()))
    found = (
        select(*EVENTS.c)
        .where(*criteria)
        .order_by(EVENTS.c.id.desc())
        .limit(bindparam("in_limit", type_=Integer()))
        .subquery("found")
    )
    item = as_json(found, [found.c.id, iso(found.c.at), found.c.kind, found.c.address, found.c.device, found.c.detail])
    return select(found.c.id, text_of(item)).select_from(found.join(item, true())).order_by(found.c.id.desc())
