"""A device's operations, each done once: in the order of their numbers, whatever the network did.

A request's operations are a transaction, fifty at a time. It holds the counter's row, as every writer does, from
before it looks at the device's last number until both that and the changes are committed. So an operation is done when
all before it are and it was not: a second time, its receipt is answered.

First it is tried without savepoints, which are two trips of three; when one is refused, again with them.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, Final
from uuid import UUID

import psycopg
from pydantic import ValidationError

from backend.errors import Circle, Conflict, Invalid, NotFound, OutOfStep, TendError, faults_of
from backend.models.columns import TRASH
from backend.rules import merge
from backend.rules.merge import Register, Writer
from backend.schemas.sync import Operation, SyncRequest
from backend.scope import Scope, account_gone
from backend.services import merging, push_query
from backend.services.constraints import words_of
from backend.services.pulling import Position
from backend.services.synced import ENTITIES, Completed, Entity, Patch

log = logging.getLogger("tend")

DEEPEST: Final = 10
AT_ONCE: Final = 50
"""Operations a transaction. Where each is a savepoint, past 64 of them Postgres keeps them where looking is slow."""
LONGEST_SECONDS: Final = 5.0
"""After which a transaction begins no other operation, so that what is done is kept before any deadline."""

Json = dict[str, Any]
Key = tuple[str, UUID]  # an entity and a row's id


async def push(mine: Scope, request: SyncRequest, position: Position | None) -> list[Json]:
    """What became of each operation, with `conflicts`. Raises OutOfStep, with what was before it done.

    One that cannot be done is rejected, and the next one is done: nothing that a device sends stands in its own way.
    """
    results: list[Json] = []
    while some := request.operations[len(results) : len(results) + AT_ONCE]:
        work = partial(_pushed, request=request, operations=some, position=position)
        try:
            results += await mine.together(partial(work, one_by_one=False), savepoints=False)
        except _Refused:
            results += await mine.together(partial(work, one_by_one=True))
    return results


class _Refused(Exception):
    """Something was, and none of it is done."""


async def _pushed(
    inner: Scope,
    request: SyncRequest,
    operations: Sequence[Operation],
    position: Position | None,
    one_by_one: bool,
) -> list[Json]:
    """The results of the first of them, or of all. Raises _Refused, unless what is refused is undone `one_by_one`."""
    rows = await inner.read(push_query.lock(), {})
    if not rows:
        raise account_gone()
    until = monotonic() + LONGEST_SECONDS  # from the lock on, for which it may have waited
    client = {"in_client": request.client_id}
    known = await inner.read(push_query.known(), {**client, "in_first": operations[0].n, "in_last": operations[-1].n})
    last_n = known[0].last_n or 0
    if request.ack > last_n:
        raise OutOfStep("client_ahead", "ack", last_n)
    if operations[0].n > last_n + 1:
        raise OutOfStep("mutation_gap", "operations", last_n)
    receipts = {row.n: row for row in known if row.n is not None}
    digests = [_digest(each) for each in operations]
    results: list[Json] = []
    for operation, digest in zip(operations, digests, strict=True):
        if operation.n > last_n:
            break
        receipt = receipts.get(operation.n)
        if receipt is None or receipt.digest != digest:
            raise OutOfStep("client_forked", "operations", last_n)
        results.append(receipt.result)
    new = operations[len(results) :]
    if not new:
        return results
    # Versions of another epoch are of another history: whether the device has seen what is there, nobody knows.
    lost = position is not None and position.epoch != rows[0].epoch
    doing = _Doing(inner, str(request.client_id), rows[0].now, lost, new)
    done: list[Json] = []
    for each in new:
        done.append(await doing.result(each))
        if done[-1]["status"] == "rejected" and not one_by_one:
            raise _Refused
        if monotonic() > until:
            break
    last = len(results) + len(done)
    kept = {
        **client,
        "in_ack": request.ack,
        "in_last_n": operations[last - 1].n,
        "in_n": [each.n for each in operations[len(results) : last]],
        "in_digest": digests[len(results) : last],
        "in_result": [json.dumps(each) for each in done],
    }
    assert inner.running
    await inner.running.run(push_query.keep(known[0].last_n is None), inner.bound(kept))
    return results + done


class _Doing:
    """The operations of one transaction, and what is known of the rows that they are about."""

    def __init__(self, inner: Scope, client: str, now: int, lost: bool, operations: Sequence[Operation]) -> None:
        self.inner = inner
        self.client = client
        self.now = now  # microseconds since 1970
        self.lost = lost
        self.ids = list({each.id for each in operations if each.op != "create"})
        self.rows: dict[Key, tuple[dict[str, Register], Json]] | None = None

    async def result(self, operation: Operation) -> Json:
        conflicts: list[Json] = []
        error: Json | None = None
        status = "applied"
        try:
            if not await self._done(operation, conflicts):
                status = "superseded"
        except ValidationError as wrong:
            found = wrong.errors(include_url=False, include_input=False, include_context=True)
            error = _rejection(Invalid("It is not valid.", faults_of(found[:20], "set")))
        except psycopg.IntegrityError as wrong:
            told = words_of(wrong)
            if told is None:
                log.exception("A constraint without words refused an operation")
            error = _rejection(told or Conflict("It goes against what is there."))
        except psycopg.DataError:
            error = _rejection(Invalid("A value is not one that can be stored."))
        except (NotFound, Conflict, Invalid) as refused:
            error = _rejection(refused)
        if error:
            status, conflicts = "rejected", []
        return {"n": operation.n, "status": status, "error": error, "conflicts": conflicts}

    async def _done(self, operation: Operation, conflicts: list[Json]) -> bool:
        """Whether anything of it holds."""
        if _is_too_deep(operation.set):
            raise Invalid.at("set", msg=f"nested more than {DEEPEST} deep")
        entity = ENTITIES[operation.entity]
        writer = Writer(self.client, merge.clamped(operation.at, self.now), 0 if self.lost else operation.base)
        mine = replace(self.inner, client_id=self.client, clock=writer.clock)
        if operation.op == "create":
            await entity.create(mine, operation.id, entity.new.model_validate(_with_id(operation)))
            return True
        if operation.op == "delete":
            return await self._deleted(mine, entity, operation, writer)
        patch = _patch_of(entity, operation)
        row = (await self._known()).get((operation.entity, operation.id))
        if row is None:
            held = patch  # made by an operation before, or not there
        else:
            held = merging.held(entity, patch, row, writer, operation, conflicts)
            if patch.model_fields_set and not held.model_fields_set:
                return False
        await entity.edit(mine, operation.id, held)
        if merging.reaches_others(entity, held):
            self.rows = None
        elif row is not None:
            row[0].update({name: Register(writer.clock, 0, self.client) for name in merging.groups_of(entity, held)})
            row[1].update(merging.wire(held))
        return True

    async def _deleted(self, mine: Scope, entity: Entity, operation: Operation, writer: Writer) -> bool:
        """What is not there any more, is deleted. What was taken out of the trash since, stays."""
        farewell = entity.farewell.model_validate(operation.set)
        row = (await self._known()).get((operation.entity, operation.id))
        if row and merge.verdict(row[0].get(TRASH), writer) == "lost":
            return False
        self.rows = None
        try:
            await entity.remove(mine, operation.id, farewell)
        except NotFound:
            return False
        return True

    async def _known(self) -> dict[Key, tuple[dict[str, Register], Json]]:
        """The rows that live, with their registers and what they say. Read anew when others changed along with one."""
        if self.rows is None:
            found = await self.inner.read(push_query.rows(), {"ids": self.ids})
            self.rows = {
                (row.entity, row.id): (
                    {name: Register(*each) for name, each in row.clocks.items()},
                    json.loads(row.body),
                )
                for row in found
            }
        return self.rows


def _with_id(operation: Operation) -> Json:
    if "id" in operation.set:
        raise Invalid.at("set", "id", msg="the operation has it")
    return {**operation.set, "id": str(operation.id)}


def _patch_of(entity: Entity, operation: Operation) -> Patch:
    """Raises ValidationError and Invalid."""
    given = operation.set
    if operation.op == "complete":
        if entity.kind.noun != "task":
            raise Invalid.at("op", msg="only tasks are completed")
        Completed.model_validate(given)
        given = {"completed": True}
    if entity.patch is None:
        raise Invalid.at("op", msg=f"a {entity.kind.noun} is only created and deleted")
    return entity.patch.model_validate(given)


def _rejection(error: TendError) -> Json:
    kinds: list[tuple[type[TendError], str]] = [(NotFound, "gone"), (Conflict, "conflict"), (Invalid, "invalid")]
    kind = next(name for each, name in kinds if isinstance(error, each))
    faults = [{**each, "loc": ["set" if part == "body" else part for part in each["loc"]]} for each in error.errors]
    path = [{"id": task_id, "title": title} for task_id, title in error.path] if isinstance(error, Circle) else []
    return {"type": kind, "detail": error.detail, "errors": faults, **({"path": path} if path else {})}


def _is_too_deep(given: Any) -> bool:
    """Deeper than anything that is meant: what handles JSON by recursion would fail on it."""
    level = [given]
    for _ in range(DEEPEST):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


def _digest(operation: Operation) -> bytes:
    """Of all that was sent, so that another operation under the same number is known for one."""
    about = operation.model_dump(mode="json", exclude={"set"})
    deep = _is_too_deep(operation.set)  # it is refused, whatever it says
    said = json.dumps({**about, "set": "deep" if deep else operation.set}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).digest()
