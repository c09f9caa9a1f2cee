"""Delivers to webhooks what the feed of changes says: signed, in order, at least once.

The feed itself is what waits. A webhook has a place in it, like a device that synchronises, and is given the next page
when the one before was delivered; so an address that is away for days costs nothing, and is told of each row once.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from backend.background import regularly
from backend.errors import TendError, Unavailable
from backend.rules import messages
from backend.rules.webhooks import RESET, type_of, wait_after
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

if TYPE_CHECKING:  # imported with the first message: it takes a tenth of a second
    from backend.egress import Egress, Outcome

log = logging.getLogger("tend")

LOOK_SECONDS: Final = 1.0
LOOKS_AFTER: Final = 3
"""A transaction may be committed a while after its last statement."""
AT_ONCE: Final = 50  # webhooks, each with one message on its way
IN_A_ROW: Final = 100  # steps for one webhook, before others have their turn
PAGE: Final = 50  # changes
NOBODY: Final = UUID(int=0)  # no device


class Sender:
    """One worker's. It looks for what is due while something is asked of the database, and a little longer."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._claim = uuid4()
        self._serving: dict[UUID, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._egress: Egress | None = None
        self._own = 0  # statements
        self._seen = -1
        self._looks = 0
        self._due = float("inf")  # monotonic

    def start(self) -> None:
        self._looking = asyncio.create_task(regularly(LOOK_SECONDS, self._turn, "No webhook is told of changes"))

    async def close(self) -> None:
        """What is on its way is cut off, and sent again by another worker."""
        tasks = [each for each in (self._looking, *self._serving.values()) if each]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._egress:
            with suppress(Unavailable):
                await self._ask(delivery_query.release_all(), {"in_claim": self._claim}, writes=True)
            await self._egress.close()

    async def _turn(self) -> None:
        """A database that nobody asks anything may sleep: nothing changes in it, but for what is tried again."""
        asked = self._state.database.usage.statements - self._own
        if asked != self._seen or time.monotonic() >= self._due:
            self._seen, self._looks = asked, LOOKS_AFTER
        if self._looks:
            self._looks -= 1
            await self.look()
            if not self._looks:
                [row] = await self._ask(delivery_query.next_due(), {})
                self._due = float("inf") if row.seconds is None else time.monotonic() + float(row.seconds)

    async def look(self) -> None:
        """Begins with whatever is due."""
        values = {"in_claim": self._claim, "in_most": AT_ONCE - len(self._serving)}
        for row in await self._ask(delivery_query.claim(), values, writes=True):
            if row.id not in self._serving:
                task = asyncio.create_task(self._serve(Scope(row.user_id, self._state.database), row.id))
                self._serving[row.id] = task
                task.add_done_callback(partial(self._served, row.id))

    def _served(self, hook_id: UUID, _task: asyncio.Task[None]) -> None:
        del self._serving[hook_id]

    async def settled(self) -> None:
        """When nothing is on its way."""
        while self._serving:
            await asyncio.wait(self._serving.values())

    async def _ask(self, statement: Any, values: Mapping[str, Any], *, writes: bool = False) -> Any:
        self._own += 1
        database = self._state.database
        return await (database.write(statement, values) if writes else database.read(statement, values))

    async def _serve(self, mine: Scope, hook_id: UUID) -> None:
        """What cannot be written down now is done again when the claim has run out."""
        held = {"in_webhook": hook_id, "in_claim": self._claim}
        try:
            for _ in range(IN_A_ROW):
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
            return False
        hook = rows[0]
        if hook.delivery_id is None:
            return await self._take_page(mine, hook, held)
        outcome = await self._post(hook)
        return await self._record(mine, hook, held, outcome)

    async def _take_page(self, mine: Scope, hook: Row, held: Mapping[str, Any]) -> bool:
        place = Position(hook.epoch, hook.told_version, 0)
        page = await pull(mine, NOBODY, place, PAGE, 0)
        if page.position == place:
            await mine.write(delivery_query.release(), held)
            return False
        if page.reset:
            found, told_at = [(RESET, "{}")], page.server_time
            page = page._replace(position=Position(page.position.epoch, page.position.base, 0))
        else:
            found, told_at = _news(page, hook.told_at, hook.events)
        bodies = [f'{{"type":"{type_}","timestamp":"{page.server_time}","data":{data}}}' for type_, data in found]
        values = {
            "set_told_version": page.position.after,
            "set_told_at": datetime.fromisoformat(told_at),
            "set_epoch": page.position.epoch,
            "each_id": [new_id() for _ in found],
            "each_type": [type_ for type_, _ in found],
            "each_body": bodies,
        }
        return bool(await mine.write(delivery_query.take(), {**held, **values}))

    async def _post(self, hook: Row) -> "Outcome":
        from backend.egress import Egress, Outcome

        if self._egress is None:
            self._egress = Egress(self._state.settings.webhook_networks)
        at = int(time.time())
        try:
            secrets = [self._opened(sealed) for sealed in (hook.secret, hook.former_secret) if sealed]
        except Broken:
            log.error("A webhook's secret was sealed under another JWT_SECRET: set JWT_SECRET_FORMER.")
            return Outcome(None, "The server could not sign it.", 0.0)
        message_id = str(hook.delivery_id)
        headers = {
            "content-type": "application/json",
            "user-agent": "Tend-Webhooks/1",
            "webhook-id": message_id,
            "webhook-timestamp": str(at),
            "webhook-signature": " ".join(signing.signature(each, message_id, at, hook.body) for each in secrets),
        }
        return await self._egress.post(hook.url, headers, hook.body)

    def _opened(self, sealed: str) -> bytes:
        return signing.read(self._state.seal.open(PURPOSE, sealed).decode())

    async def _record(self, mine: Scope, hook: Row, held: Mapping[str, Any], outcome: "Outcome") -> bool:
        tried = {
            "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "status": outcome.status,
            "error": outcome.error,
            "milliseconds": round(outcome.seconds * 1000),
        }
        values: dict[str, Any] = {**held, "in_delivery": hook.delivery_id, "new_try": [tried]}
        if not outcome.is_taken:
            values["set_because"] = "gone" if outcome.status == 410 else None
            values["set_wait"] = _about(wait_after(hook.failures + 1))
        self._state.delivered["taken" if outcome.is_taken else "failed"] += 1
        rows = await mine.write(delivery_query.record(outcome.is_taken), values)
        if rows and rows[0].disabled_because:
            await self._say_off(mine, hook, rows[0].disabled_because)
        return bool(rows) and outcome.is_taken

    async def _say_off(self, mine: Scope, hook: Row, because: str) -> None:
        audit.tell("webhook_switched_off", user=str(mine.user_id), webhook=str(hook.id), because=because)
        for row in await mine.read(delivery_query.owner(), {}):
            notify(self._state, messages.webhook_switched_off(row.email, row.name, host_of(hook.url), because))


def _news(page: Page, told_at: str, wanted: list[str]) -> tuple[list[tuple[str, str]], str]:
    """Type and JSON of each change that is wanted, and the latest that a row on the page was changed."""
    found, latest = [], told_at
    for text in page.changes:
        change = json.loads(text)
        row = change["row"]
        type_ = type_of(ENTITIES[change["entity"]].kind.noun, row, told_at, wanted)
        if type_:
            found.append((type_, text))
        latest = max(latest, row["updated_at"] if row else "")
    return found, latest


def _about(wait: timedelta) -> timedelta:
    """So that what failed together does not come back together."""
    return wait * random.uniform(0.8, 1.2)  # noqa: S311 # nosec B311
