"""Verbs on saved filters. Every write goes through the door; nothing here commits."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Uuid, bindparam, select, true, tuple_

from backend import door
from backend.errors import Invalid
from backend.rules import filters as language
from backend.rules.text import sort_key
from backend.schemas.lists import Walked
from backend.schemas.saved_filters import SavedFilterCreate, SavedFilterPatch
from backend.scope import Scope, account_gone
from backend.security.opaque import new_id
from backend.services.asked import today_in
from backend.services.changes import GONE, Kind, Stored, as_stored, change, new_values, unchanged
from backend.services.task_query import FILTERS
from backend.services.walking import listed_rows, walked
from backend.statements import Query, as_json, iso, statement, text_of
from backend.wall import OWNER

GIVEN = ("id", "name", "name_key", "filter", "sort", "order")


async def create(mine: Scope, wanted: SavedFilterCreate) -> tuple[UUID, Stored]:
    """One statement. A taken id or name is the database's to refuse. Raises Invalid for the filter's text."""
    row = _derived(mine, {**wanted.model_dump(), "id": wanted.id or new_id()})
    made = await mine.write(door.create(FILTERS, GIVEN, shown), new_values(row))
    if not made:
        raise account_gone()
    return row["id"], Stored(made[0].version, made[0].body)


async def by_name(mine: Scope, asked: Walked) -> tuple[list[str], str | None]:
    """JSON, one a filter, and a cursor to those after them. One statement. Raises Invalid for the cursor."""
    return await walked(mine, listed, asked, "filters", {})


async def read(mine: Scope, filter_id: UUID) -> Stored:
    return as_stored(await mine.read(_one(), {"row_id": filter_id}), FILTER)


async def edit(mine: Scope, filter_id: UUID, patch: SavedFilterPatch, expected: Sequence[int] | None) -> Stored:
    """One statement. Raises NotFound, PreconditionFailed when the version is not among `expected`, and Invalid."""
    sent = _derived(mine, patch.sent())
    if not sent:
        return unchanged(await read(mine, filter_id), FILTER, expected)
    return await change(mine.write, FILTER, filter_id, sent, expected)


async def remove(mine: Scope, filter_id: UUID, expected: Sequence[int] | None) -> None:
    """Its name is free afterwards. Raises like `edit`."""
    await change(mine.write, FILTER, filter_id, dict.fromkeys(GONE), expected)


def _derived(mine: Scope, given: dict[str, Any]) -> dict[str, Any]:
    """With the column that nobody sends. Raises Invalid for a text that could not be asked today."""
    if "filter" in given:
        try:
            language.read(given["filter"], today_in(mine.timezone, datetime.now(UTC)), mine.timezone)
        except language.FilterError as error:
            raise Invalid.at("body", "filter", msg=str(error)) from None
    return {**given, "name_key": sort_key(given["name"])} if "name" in given else given


def shown(row: Any) -> list[ColumnElement[Any]]:
    """The filter on the wire, from any row that has its columns."""
    named = [row.id, row.name, row.filter, row.sort, row.order, row.version]
    return [*named, iso(row.created_at), iso(row.updated_at)]


FILTER: Final = Kind(FILTERS, shown, "filter")


def _living() -> list[ColumnElement[bool]]:
    return [FILTERS.c.user_id == OWNER, FILTERS.c.deleted_at.is_(None)]


@statement
def _one() -> Query:
    this = select(*FILTERS.c).where(*_living(), FILTERS.c.id == bindparam("row_id", type_=Uuid())).subquery("this")
    item = as_json(this, shown(this.c))
    return select(this.c.version, text_of(item)).select_from(this.join(item, true()))


@statement
def listed(after: bool) -> Query:
    """Rows of (seq, place, body): from the first or after the cursor's place."""
    wanted = select(*FILTERS.c, FILTERS.c.name_key.label("key")).where(*_living())
    if after:
        there = bindparam("after_key", type_=FILTERS.c.name_key.type), bindparam("after_id", type_=Uuid())
        wanted = wanted.where(tuple_(FILTERS.c.name_key, FILTERS.c.id) > tuple_(*there))
    limit = bindparam("in_limit", type_=Integer())
    found = wanted.order_by(FILTERS.c.name_key, FILTERS.c.id).limit(limit).subquery("found")
    return listed_rows(found, as_json(found, shown(found.c)), found)
