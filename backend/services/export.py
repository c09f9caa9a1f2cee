"""Everything that is kept about a user, as a ZIP of JSON files: one a table, a row a line.

Which tables and columns, the model says: each table with a `user_id`, and each column, but those with
`info={"export": False}`. It is no snapshot: what changes meanwhile is in it as it was before or after.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from io import RawIOBase, TextIOWrapper
from typing import Any, Final, TextIO
from uuid import UUID
from weakref import WeakValueDictionary
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from anyio import CancelScope, to_thread
from sqlalchemy import Column, DateTime, Integer, Table, bindparam, literal_column, select, true, tuple_
from sqlmodel import SQLModel

from backend.errors import Unavailable
from backend.models import User, table
from backend.scope import Scope, account_gone
from backend.sql import Row
from backend.statements import Query, as_json, iso, statement, text_of
from backend.wall import OWNER

USERS = table(User)
ROWS: Final = 1_000  # a page: one statement, and one piece of what is sent
WAIT_SECONDS: Final = 10  # of a second export for the first of the same user


def tables() -> list[Table]:
    """The account, then what belongs to it by name."""
    known = sorted(SQLModel.metadata.tables.values(), key=lambda each: each.name)
    return [USERS, *(each for each in known if "user_id" in each.c and each.info.get("export", True))]


def columns(source: Table) -> list[Column[Any]]:
    return [column for column in source.c if column.info.get("export", True)]


class Exports:
    """One worker's: one a user at a time, and of all together one page in memory.

    A page can have 1,000 descriptions of 10,000 characters, and many users may export at once.
    """

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._page = asyncio.Lock()

    async def archive(self, mine: Scope, now: datetime) -> AsyncGenerator[bytes, None]:
        """The ZIP in pieces; `now` is the time of its files. Close it when it is not read to its end.

        No connection is held between two pieces. Raises NotSignedIn when the account is gone and
        Unavailable when the database is, both in the middle too: what was made so far is then worth
        nothing. Raises Unavailable as well when another export of the user takes too long.
        """
        async with self._turn(mine.user_id):
            sink = _Sink()
            with ZipFile(sink, "w") as archive:
                with _file(archive, "account", now) as file:
                    file.write(f"{await _account(mine)}\n")
                yield sink.emptied()
                for source in tables()[1:]:
                    with _file(archive, source.name, now) as file:
                        file.write("[")
                        after: Mapping[str, Any] | None = {}
                        while after is not None:
                            after = await self._copy_page(mine, source, after, file)
                            yield sink.emptied()
                        file.write("\n]\n")
                await _account(mine)  # rows that ended with it were no longer found
            yield sink.emptied()

    @asynccontextmanager
    async def _turn(self, user_id: UUID) -> AsyncIterator[None]:
        turn = self._turns.setdefault(user_id, asyncio.Lock())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn.acquire()
        except TimeoutError:
            words = "Another export of yours is under way. Try again when it has ended."
            raise Unavailable(words, retry_after=WAIT_SECONDS) from None
        try:
            yield
        finally:
            turn.release()

    async def _copy_page(
        self, mine: Scope, source: Table, after: Mapping[str, Any], file: TextIO
    ) -> Mapping[str, Any] | None:
        """Where the next page begins; None after the last."""
        async with self._page:
            with CancelScope(shield=True):  # a connection that is cut off in a statement would have to be closed
                rows = await mine.read(_page(source, bool(after)), after)
            await to_thread.run_sync(_write, rows, bool(after), file)  # deflates: up to a second of a core
        return dict(zip(_after(source), rows[-1], strict=False)) if len(rows) == ROWS else None


class _Sink(RawIOBase):
    """What zipfile writes to. It cannot seek, so that zipfile puts the sizes behind the data (APPNOTE 4.3.9)."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: Any) -> int:
        self._written.append(bytes(data))
        return len(data)

    def emptied(self) -> bytes:
        written, self._written = self._written, []
        return b"".join(written)


def _file(archive: ZipFile, name: str, now: datetime) -> TextIO:
    """In ZIP64, since nobody knows beforehand whether it stays below 2 GiB."""
    entry = ZipInfo(f"{name}.json", now.timetuple()[:6])
    entry.compress_type = ZIP_DEFLATED
    return TextIOWrapper(archive.open(entry, "w", force_zip64=True), "utf-8", newline="\n")


def _write(rows: Sequence[Row], more: bool, file: TextIO) -> None:
    for row in rows:
        file.write(f",\n{row.body}" if more else f"\n{row.body}")
        more = True


async def _account(mine: Scope) -> str:
    rows = await mine.read(_page(USERS, False), {})
    if not rows:
        raise account_gone()
    return str(rows[0].body)


def _owner(source: Table) -> Column[Any]:
    return source.c.id if source is USERS else source.c.user_id


def _keys(source: Table) -> list[Column[Any]]:
    return [column for column in source.primary_key if column is not _owner(source)]


def _after(source: Table) -> list[str]:
    """The parameters that say which row was the last."""
    return [f"after_{column.name}" for column in _keys(source)]


@statement
def _page(source: Table, following: bool) -> Query:
    """Up to `ROWS` rows as JSON, behind their keys."""
    keys, shown = _keys(source), columns(source)
    wanted = select(*dict.fromkeys([*keys, *shown])).where(_owner(source) == OWNER)
    if following:
        last = [bindparam(name, type_=key.type) for name, key in zip(_after(source), keys, strict=True)]
        wanted = wanted.where(tuple_(*keys) > tuple_(*last))
    this = wanted.order_by(*keys).limit(literal_column(str(ROWS), Integer())).subquery("this")
    places = [this.c[key.name] for key in keys]
    seen = [this.c[column.name] for column in shown]
    item = as_json(this, [iso(each) if isinstance(each.type, DateTime) else each for each in seen])
    named = [place.label(name) for name, place in zip(_after(source), places, strict=True)]
    return select(*named, text_of(item)).select_from(this.join(item, true())).order_by(*places)
