"""Delivers to webhooks what the feed of changes says: signed, in order, at least once.

The feed itself is what waits. A webhook has a place in it, like a device that synchronises, and is given the next page
when the one before was delivered; so an address that is away for days costs nothing, and is told of each row once.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID, uuid4

from backend.background import regularly
from backend.errors import TendError, Unavailable
from backend.rules import messages
from backend.rules.days import written
from backend.rules.webhooks import LONGEST, RESET, Change, type_of, wait_after
from backend.schemas.webhooks import host_of
from backend.scope import Scope
from backend.security import webhooks as signing
from backend.security.opaque import new_id
from backend.security.sealing import Broken
from backend.services import audit, delivery_query
from backend.services.confirmations import notify
from backend.services.pulling import Page, Position, pull
from backend.services.synced import ENTITIES
from backend.services.webhooks import PURPOSE
from backend.sql import Row
from backend.state import State
from backend.turns import unasked

if TYPE_CHECKING:  # imported with the first message: it takes a tenth of a second
    from backend.egress import Egress, Outcome

log = logging.getLogger("tend")

LOOK_SECONDS: Final = 1.0
REST: Final = 10
"""Times as long as a look took, there is none: however many webhooks there are, it has a tenth of a connection."""
LOOKS_AFTER: Final = 2  # the last use of the database
AT_ONCE: Final = 50  # webhooks, each with one message on its way
TURN_SECONDS: Final = 10.0  # for one webhook, before others have their turn
PAGE: Final = 25  # changes
UNSIGNED: Final = timedelta(hours=1)  # until it is looked whether a message can be signed by then
NOBODY: Final = UUID(int=0)  # no device


Key = tuple[UUID, UUID]
"""A user, and one of their webhooks: another may have one of the same id."""


class Serving(NamedTuple):
    claim: UUID
    task: asyncio.Task[None]


class Sender:
    """One worker's. It looks for what is due while something is asked of the database, and a little longer."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._serving: dict[Key, Serving] = {}
        self._looking: asyncio.Task[None] | None = None
        self._egress: Egress | None = None
        self._seen = -1
        self._looks = 0
        self._due, self._rested = float("inf"), float("-inf")  # monotonic: when to look, and not before

    def start(self) -> None:
        self._looking = asyncio.create_task(regularly(LOOK_SECONDS, self._turn, "No webhook is told of changes"))

    async def close(self) -> None:
        """What is on its way is cut off, and sent again by another worker."""
        claims = [each.claim for each in self._serving.values()]
        tasks = [each.task for each in self._serving.values()] + ([self._looking] if self._looking else [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if claims:
            with suppress(Unavailable):
                await self._state.database.write(delivery_query.release_all(), {"in_claims": claims})
        if self._egress:
            await self._egress.close()

    async def _turn(self) -> None:
        """A database that nobody asks anything may sleep: nothing changes in it, but for what is tried again."""
        began, asked = time.monotonic(), self._state.database.usage.asked
        if asked != self._seen or began >= self._due:
            self._seen, self._looks, self._due = asked, LOOKS_AFTER, float("inf")
        if self._looks and began >= self._rested:
            try:
                with unasked():
                    await self.look()
                    if self._looks == 1:
                        [row] = await self._state.database.read(delivery_query.next_due(), {})
                        self._due = float("inf") if row.seconds is None else time.monotonic() + float(row.seconds)
                self._looks -= 1
            finally:
                self._rested = time.monotonic() + REST * (time.monotonic() - began)

    async def look(self) -> None:
        """Begins with whatever is due, while there is room."""
        most = AT_ONCE - len(self._serving)
        if not most:
            return
        of_each = Counter(user_id for user_id, _ in self._serving)
        full = [user_id for user_id, number in of_each.items() if number >= delivery_query.SHARE]
        claim = uuid4()
        values = {"in_claim": claim, "in_most": most, "in_full": full}
        for row in await self._state.database.write(delivery_query.claim(), values):
            key = row.user_id, row.id
            if key in self._serving:  # it was given up as dead
                self._serving[key].task.cancel()
            task = asyncio.create_task(self._serve(Scope(row.user_id, self._state.database), row.id, claim))
            self._serving[key] = Serving(claim, task)
            task.add_done_callback(partial(self._served, key))

    def _served(self, key: Key, task: asyncio.Task[None]) -> None:
        """What is left of it, or when it is tried again, only another look can tell."""
        self._looks = max(self._looks, 1)
        if key in self._serving and self._serving[key].task is task:
            del self._serving[key]

    async def settled(self) -> None:
        """When nothing is on its way."""
        while self._serving:
            await asyncio.wait([each.task for each in self._serving.values()])

    async def _serve(self, mine: Scope, hook_id: UUID, claim: UUID) -> None:
        """What cannot be written down now is done again when the claim has run out."""
        held = {"in_webhook": hook_id, "in_claim": claim}
        until = time.monotonic() + TURN_SECONDS
        try:
            while time.monotonic() < until:
                if not await self._step(mine, held):
                    return
            await mine.write(delivery_query.release(), held)
        except TendError as error:
            log.warning("A webhook has to wait: %s", error.detail)
        except Exception:
            log.exception("A webhook has to wait")

    async def _step(self, mine: Scope, held: Mapping[str, Any]) -> bool:
        """Whether to go on."""
        rows = await mine.read(delivery_query.head(), held)
        if not rows:
            await mine.write(delivery_query.release(), held)
            return False
        hook = rows[0]
        seen = {**held, "was_updated_at": hook.updated_at, "was_next_try_at": hook.next_try_at}
        if hook.delivery_id is None:
            return await self._take_page(mine, hook, seen)
        secrets = self._secrets_of(hook)
        if not secrets:
            log.error("A webhook's secret was sealed under another JWT_SECRET: set JWT_SECRET_FORMER.")
            await mine.write(delivery_query.postpone(), {**held, "set_wait": UNSIGNED})
            return False
        at = datetime.now(UTC)
        return await self._record(mine, hook, seen, at, await self._post(hook, secrets, at))

    async def _take_page(self, mine: Scope, hook: Row, seen: Mapping[str, Any]) -> bool:
        place = Position(hook.epoch, hook.told_version, 0)
        page = await pull(mine, NOBODY, place, PAGE, 0, since=True)
        if page.position == place:
            await mine.write(delivery_query.release(), seen)
            return False
        epoch, told, beginning = page.position
        if page.reset:
            told, found = beginning, [(RESET, "{}")]
        else:
            found = _news(page, hook.settled_version, hook.events)
        values = {
            "was_told_version": hook.told_version,
            "set_told_version": told,
            "set_settled_version": hook.settled_version if page.has_more and not page.reset else told,
            "set_epoch": epoch,
            "each_id": [new_id() for _ in found],
            "each_type": [type_ for type_, _ in found],
            "each_body": [
                f'{{"type":"{type_}","timestamp":"{page.server_time}","data":{data}}}' for type_, data in found
            ],
        }
        await mine.write(delivery_query.take(), {**seen, **values})
        return True

    async def _post(self, hook: Row, secrets: list[bytes], at: datetime) -> "Outcome":
        from backend.egress import Egress

        if self._egress is None:
            self._egress = Egress(
                self._state.settings.webhook_networks, plain=self._state.settings.environment == "development"
            )
        message_id, seconds = str(hook.delivery_id), int(at.timestamp())
        headers = {
            "content-type": "application/json",
            "user-agent": "Tend-Webhooks/1",
            "webhook-id": message_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": " ".join(signing.signature(each, message_id, seconds, hook.body) for each in secrets),
        }
        return await self._egress.post(hook.url, headers, hook.body)

    def _secrets_of(self, hook: Row) -> list[bytes]:
        """Empty when its own cannot be opened, which is not the receiver's failure; the former one may be missing."""
        secrets: list[bytes] = []
        for sealed in (hook.secret, hook.former_secret):
            try:
                secrets += [signing.read(self._state.seal.open(PURPOSE, sealed).decode())] if sealed else []
            except Broken:
                if not secrets:
                    break
        return secrets

    async def _record(self, mine: Scope, hook: Row, seen: Mapping[str, Any], at: datetime, outcome: "Outcome") -> bool:
        tried = {
            "at": written(at),
            "status": outcome.status,
            "error": outcome.error,
            "milliseconds": round(outcome.seconds * 1000),
        }
        values: dict[str, Any] = {**seen, "in_delivery": hook.delivery_id, "new_try": [tried]}
        if not outcome.is_taken:
            values["set_because"] = "gone" if outcome.status == 410 else None
            values["set_wait"] = max(
                _about(wait_after(hook.failures + 1)), min(timedelta(seconds=outcome.retry_after), LONGEST)
            )
        self._state.delivered["taken" if outcome.is_taken else "failed"] += 1
        rows = await mine.write(delivery_query.record(outcome.is_taken), values)
        if rows and not outcome.is_taken and rows[0].disabled_because:
            await self._say_off(mine, hook, rows[0].disabled_because)
        return outcome.is_taken or not rows  # as it is now, if it was changed

    async def _say_off(self, mine: Scope, hook: Row, because: str) -> None:
        audit.tell("webhook_switched_off", user=str(mine.user_id), webhook=str(hook.id), because=because)
        for row in await mine.read(delivery_query.owner(), {}):
            which = f"{hook.description} ({host_of(hook.url)})" if hook.description else host_of(hook.url)
            notify(self._state, messages.webhook_switched_off(row.email, row.name, which, because))


def _news(page: Page, settled: int, wanted: list[str]) -> list[tuple[str, str]]:
    """Type and JSON of each change that is wanted."""
    found = []
    for row, text in zip(page.rows, page.changes, strict=True):
        change = Change(row.version, row.body is None, row.created_version, row.completed_version)
        if type_ := type_of(ENTITIES[row.entity].kind.noun, change, settled, wanted):
            found.append((type_, text))
    return found


def _about(wait: timedelta) -> timedelta:
    """So that what failed together does not come back together."""
    return wait * random.uniform(0.8, 1.2)  # noqa: S311 # nosec B311
