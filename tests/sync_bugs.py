"""Mistakes that would lose a change or do one twice, as switches: the tests of the synchronisation must find each."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final

import pytest
from sqlalchemy import BigInteger, Uuid, bindparam, delete, select, update

from backend import door
from backend.errors import Unavailable
from backend.schemas.sync import Operation, SyncRequest
from backend.scope import Changing, Scope
from backend.services import pulling, pushing, tombstones
from backend.services.pulling import CLIENTS, Position
from backend.services.push_query import RECEIPTS
from backend.statements import COUNTER, statement
from backend.wall import OWNER
from tend_client import Store

Bug = Callable[[pytest.MonkeyPatch], None]


def no_lock(patch: pytest.MonkeyPatch) -> None:
    """Numbers are committed before the change that takes them."""
    locked = Scope._change_once

    async def change_once(self: Scope, work: Callable[[Changing], Awaitable[Any]], at_most: int) -> Any:
        if self.running:
            return await locked(self, work, at_most)
        reserved = await self.database.write(door.reserve(), {"changes": at_most, "owner": self.user_id})
        async with self._door.transaction(self.user_id) as transaction:
            return await work(Changing(self, transaction, reserved[0].seq - at_most + 1))

    patch.setattr(Scope, "_change_once", change_once)


def two_snapshots(patch: pytest.MonkeyPatch) -> None:
    """The rows are read first, and how far they go is asked afterwards."""
    pull = pulling.pull

    async def twice(mine: Scope, client_id: Any, position: Position | None, limit: int, ack: int) -> pulling.Page:
        page = await pull(mine, client_id, position, limit, ack)
        await asyncio.sleep(0.005)
        later = await pull(mine, client_id, position, limit, ack)
        return (
            page if page.has_more else page._replace(position=later.position if not later.has_more else page.position)
        )

    patch.setattr(pulling, "pull", twice)


@statement
def _forget() -> Any:
    client, first = bindparam("in_client", type_=Uuid()), bindparam("in_first", type_=BigInteger())
    theirs = RECEIPTS.c.user_id == OWNER, RECEIPTS.c.client_id == client, RECEIPTS.c.n >= first
    back = update(CLIENTS).where(CLIENTS.c.user_id == OWNER, CLIENTS.c.client_id == client, CLIENTS.c.last_n >= first)
    return delete(RECEIPTS).where(*theirs).add_cte(back.values(last_n=first - 1).cte("back"))


def no_receipt(patch: pytest.MonkeyPatch) -> None:
    """What is sent again is done again."""
    pushed = pushing._pushed

    async def again(
        inner: Scope, request: SyncRequest, operations: Sequence[Operation], position: Any, one_by_one: bool
    ) -> Any:
        assert inner.running
        if operations[0].n > 1:
            values = {"in_client": request.client_id, "in_first": operations[0].n}
            await inner.running.run(_forget(), inner.bound(values))
        return await pushed(inner, request, operations, position, one_by_one)

    patch.setattr(pushing, "_pushed", again)


def split_transaction(patch: pytest.MonkeyPatch) -> None:
    """The changes are committed, and then that they were done; every third time something comes between."""
    push, turns = pushing.push, count()

    async def split(mine: Scope, request: SyncRequest, position: Position | None) -> Any:
        if request.operations and next(turns) % 3 == 0:
            patched = pytest.MonkeyPatch()

            async def only_changes(inner: Scope, **rest: Any) -> Any:
                keep = inner.running.run  # type: ignore[union-attr]

                async def not_kept(query: Any, values: Mapping[str, Any]) -> Any:
                    return None if "in_digest" in values else await keep(query, values)

                inner.running.run = not_kept  # type: ignore[union-attr, method-assign]
                return await pushed(inner, **rest)

            pushed = pushing._pushed
            patched.setattr(pushing, "_pushed", only_changes)
            try:
                await push(mine, request, position)
            finally:
                patched.undo()
            raise Unavailable("Something came between.")
        return await push(mine, request, position)

    patch.setattr(pushing, "push", split)


def no_fork_check(patch: pytest.MonkeyPatch) -> None:
    """Whatever has a number that was done, is taken for what was done."""
    patch.setattr(pushing, "_digest", lambda _operation: b"\0" * 32)


def no_floor(patch: pytest.MonkeyPatch) -> None:
    """Tombstones go away, and nobody is told."""
    purge = tombstones.purge_of

    async def silently(mine: Scope) -> int:
        before = (await mine.read(_floor(), {}))[0].floor
        purged = await purge(mine)
        await mine.write(_lower(), {"in_floor": before})
        return purged

    patch.setattr(tombstones, "purge_of", silently)


@statement
def _floor() -> Any:
    return select(COUNTER.c.floor).where(COUNTER.c.user_id == OWNER)


@statement
def _lower() -> Any:
    return update(COUNTER).where(COUNTER.c.user_id == OWNER).values(floor=bindparam("in_floor", type_=BigInteger()))


def no_base(patch: pytest.MonkeyPatch) -> None:
    """Who begins anew does not say from when on."""
    seal = pulling.sealed
    patch.setattr(pulling, "sealed", lambda mine, position: seal(mine, position._replace(base=0)))


def skipped_page(patch: pytest.MonkeyPatch) -> None:
    """A page ends one row before the next begins."""
    pull = pulling.pull

    async def one_past(mine: Scope, client_id: Any, position: Position | None, limit: int, ack: int) -> pulling.Page:
        page = await pull(mine, client_id, position, limit + 1, ack)
        return page._replace(changes=page.changes[:limit])

    patch.setattr(pulling, "pull", one_past)


def dropped_when_sent(patch: pytest.MonkeyPatch) -> None:
    """A client that forgets its operations when it has sent them."""
    outgoing = Store.outgoing

    def forgetful(self: Store) -> Any:
        found = outgoing(self)
        self._db.execute("DELETE FROM queue")
        return found

    patch.setattr(Store, "outgoing", forgetful)


BUGS: Final[dict[str, Bug]] = {
    each.__name__: each
    for each in (
        no_lock,
        two_snapshots,
        no_receipt,
        split_transaction,
        no_fork_check,
        no_floor,
        no_base,
        skipped_page,
        dropped_when_sent,
    )
}
