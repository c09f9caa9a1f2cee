"""Whose rows, over which transaction.

A Scope is the only way from a service to the database: it gives `:owner` its value, so that a statement
cannot run for somebody else.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import psycopg

from backend import config, door
from backend.db import Database, Transaction
from backend.errors import Invalid, NotSignedIn, Unavailable
from backend.replica import Behind, Replica
from backend.sql import Row
from backend.turns import GONE, BrokenOff, Crowded, is_of_the_way

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

T = TypeVar("T")
TRIES = 3


class Seen:
    """How far the user's changes have come, as far as a request knows: the highest number that it wrote or read."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def note(self, rows: Sequence[Row]) -> None:
        for name in ("seq", "version"):
            if rows and (number := getattr(rows[-1], name, None)):
                self.number = max(self.number, number)
                return


class Running:
    """A transaction in place of the database: all that is asked goes through it, and whoever began it ends it.

    Each write is as it would be alone: one that is refused is undone and takes nothing else along. That is a savepoint,
    and two trips more; without `savepoints`, the first refusal is the end of the whole. What goes wrong on the way to
    the database is kept for whoever began, who may do it all again, and is only told of above.
    """

    def __init__(self, transaction: Transaction, savepoints: bool) -> None:
        self._transaction = transaction
        self._savepoints = savepoints
        self.broken: psycopg.Error | None = None

    async def run(self, statement: Any, values: Mapping[str, Any]) -> Sequence[Row]:
        """Without a savepoint: whatever refuses it ends the whole."""
        with self._kept():
            return await self._transaction.run(statement, values)

    read = run

    async def write(
        self, statement: Any, values: Mapping[str, Any], *, many: bool = False, repeatable: bool = False
    ) -> Sequence[Row]:
        """The deadline is that of the whole, and so is a second try."""
        async with self.transaction(values["owner"]) as transaction:
            return await transaction.run(statement, values)

    @asynccontextmanager
    async def transaction(self, _owner: UUID) -> AsyncIterator[Transaction]:
        with self._kept():
            async with self._transaction.savepoint() if self._savepoints else nullcontext():
                yield self._transaction

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if not is_of_the_way(error):
                raise
            self.broken = self.broken or error
            raise Unavailable(GONE, retry_after=2) from error


@dataclass(frozen=True, slots=True)
class Scope:
    """One user, and what a request may do for them."""

    user_id: UUID
    database: Database
    timezone: str = "UTC"
    language: str = "en"
    session_id: UUID | None = None
    scopes: frozenset[str] = frozenset()  # what the token is for
    signed_in_at: int = 0  # seconds since 1970: when they last showed who they are
    token_id: UUID | None = None  # of a personal access token
    seen: Seen = field(default_factory=Seen)
    replica: Replica | None = None
    least: int | None = None  # the number that a replica must have come to; None: it is not to be asked
    on_replica: bool = False
    running: Running | None = None
    client_id: str | None = None  # of the device whose operation is done, with its clock
    clock: int | None = None

    @property
    def _door(self) -> Database | Running:
        return self.running or self.database

    async def read(self, statement: Any, values: Mapping[str, Any]) -> Sequence[Row]:
        rows = await self._door.read(statement, {**values, "owner": self.user_id})
        if self.on_replica and (self.least is None or not rows or rows[0].seq < self.least):
            raise Behind
        self.seen.note(rows)
        return rows

    async def nearby(self, work: Callable[["Scope"], Awaitable[T]]) -> T:
        """Work that only reads, on the replica where that will do.

        It will when the request names what it has seen, and each statement finds the counter (`seq`, in the same
        snapshot as all else) there or further. Else, and whatever goes wrong there, the primary is asked.
        """
        replica = self.replica
        if replica is None or self.least is None or not replica.is_up:
            return await work(self)
        try:
            found = await work(replace(self, database=replica.database, on_replica=True))
        except (Behind, Invalid):  # what is not there yet looks as if it were asked for wrongly
            replica.behind += 1
        except (BrokenOff, Crowded):
            pass  # not the replica's fault: a conflict with what it follows, or one user's own haste
        except (Unavailable, psycopg.Error):
            replica.rest()
        else:
            replica.served += 1
            return found
        return await work(self)

    async def write(
        self, statement: Any, values: Mapping[str, Any], *, many: bool = False, repeatable: bool = False
    ) -> Sequence[Row]:
        """The door's first form: one statement that counts and changes. `many`, `repeatable`: see `Database.write`."""
        rows = await self._door.write(statement, self.bound(values), many=many, repeatable=repeatable)
        self.seen.note(rows)
        return rows

    def bound(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """With whose rows they are, and what the activity and the clocks say of who changed them."""
        by = {"by_session": self.session_id, "by_token": self.token_id}
        return {**values, "owner": self.user_id, **by, "by_client": self.client_id, "by_clock": self.clock}

    async def change(self, work: Callable[["Changing"], Awaitable[T]], *, at_most: int) -> T:
        """The door's second form, for what decides by reading: a transaction that reserves its numbers first.

        `work` may run again, up to three times, when the database broke it off; it must do nothing
        outside the transaction. Raises Unavailable when that did not help.
        """
        return await _tried(lambda: self._change_once(work, at_most))

    async def _change_once(self, work: Callable[["Changing"], Awaitable[T]], at_most: int) -> T:
        async with self._door.transaction(self.user_id) as transaction:
            reserved = await transaction.run(door.reserve(), {"changes": at_most, "owner": self.user_id})
            if not reserved:
                raise account_gone()
            done = await work(Changing(self, transaction, reserved[0].seq - at_most + 1))
        self.seen.note(reserved)
        return done

    async def together(self, work: Callable[["Scope"], Awaitable[T]], *, savepoints: bool = True) -> T:
        """Whatever `work` asks of the Scope that it is given, as one transaction: undone when an error leaves it.

        May run again, as `change` does. While it runs, it has one of the user's connections: what it asks past its
        Scope would wait for another. Without `savepoints` (see `Running`), it must let every refusal leave it.
        """
        return await _tried(lambda: self._together_once(work, savepoints))

    async def _together_once(self, work: Callable[["Scope"], Awaitable[T]], savepoints: bool) -> T:
        before = self.seen.number
        try:
            async with self.database.transaction(self.user_id) as transaction:
                running = Running(transaction, savepoints)
                try:
                    done = await work(replace(self, running=running, replica=None))
                except Exception:
                    if running.broken is None:
                        raise
                if running.broken is not None:
                    raise running.broken  # for `Database.transaction` to judge, whatever became of it above
                return done
        except BaseException:
            self.seen.number = before  # what was undone was not seen
            raise

    @asynccontextmanager
    async def session(self) -> AsyncIterator["AsyncSession"]:
        """For scripts: reads whatever the owner may see, with statements made on the spot."""
        async with self.database.session(self.user_id) as session:
            yield session


@dataclass(frozen=True, slots=True)
class Changing:
    """Inside the door: the owner's row is locked, and the numbers from `first` are theirs to give away."""

    mine: Scope
    transaction: Transaction
    first: int  # of the numbers reserved

    async def reserve(self, changes: int) -> int:
        """The first of as many numbers more, where only reading tells how many are needed."""
        reserved = await self.run(door.reserve(), {"changes": changes})
        return int(reserved[0].seq) - changes + 1

    async def run(self, statement: Any, values: Mapping[str, Any]) -> Sequence[Row]:
        rows = await self.transaction.run(statement, self.mine.bound(values))
        self.mine.seen.note(rows)
        return rows


async def _tried(once: Callable[[], Awaitable[T]]) -> T:
    for _ in range(TRIES - 1):
        with suppress(BrokenOff):
            return await once()
    return await once()


def account_gone() -> NotSignedIn:
    """A valid token whose account was deleted meanwhile: without its counter, nothing can be written."""
    return NotSignedIn("The account is gone.", token_sent=True)


@asynccontextmanager
async def scope_for(user_id: UUID, settings: config.Settings | None = None) -> AsyncIterator[Scope]:
    """The same doors for scripts: `async with scope_for(user_id) as mine: await tasks.create(mine, …)`."""
    database = Database(settings or config.load())
    try:
        yield Scope(user_id, database)
    finally:
        await database.close()
