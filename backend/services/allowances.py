"""How many requests a user may make a minute, if the operator limits them.

Counted in Postgres over all workers, at little cost: a worker takes a part of what is left at once and gives it out
from memory. With several workers a user may be refused a little early, while another worker still holds a part;
never is more given out than there is.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

from backend.db import Database
from backend.errors import TooMany
from backend.services import throttles
from backend.services.throttles import Limit, Try

SECONDS: Final = 60
PARTS: Final = 20  # so many looks at the database for a user's whole minute
MOST_KEPT: Final = 10_000


@dataclass(slots=True)
class _Held:
    left: int  # of this worker's part
    beyond: int  # of the minute, when the part was taken
    is_last: bool  # after it there is nothing in this minute, and the database need not be asked
    until: float  # monotonic


class Allowances:
    """Of one worker. `most` requests a user and minute."""

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._limit = Limit("requests", most, SECONDS)
        self._part = max(1, most // PARTS)
        self._held: dict[UUID, _Held] = {}
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def take(self, user_id: UUID) -> tuple[Limit, int, int]:
        """One request: what is left of the minute, as far as this worker knows, and its seconds. Raises TooMany."""
        held = self._held.get(user_id)
        while held is None or held.until <= time.monotonic() or (held.left <= 0 and not held.is_last):
            async with self._turns.setdefault(user_id, asyncio.Lock()):
                if self._held.get(user_id) is held:  # else another request was quicker
                    await self._hold(user_id)
            held = self._held.get(user_id)
        wait = max(0, round(held.until - time.monotonic()))
        if held.left <= 0:
            raise TooMany("Too many requests. Wait a while.", self._limit.name, self._limit.most, SECONDS, wait)
        held.left -= 1
        return self._limit, held.left + held.beyond, wait

    async def _hold(self, user_id: UUID) -> None:
        used, wait = await throttles.count(self._database, Try(self._limit, (str(user_id),)), self._part)
        beyond = self._limit.most - used
        if len(self._held) >= MOST_KEPT:
            self._held.clear()
        self._held[user_id] = _Held(
            left=max(0, self._part + min(0, beyond)),
            beyond=max(0, beyond),
            is_last=beyond <= 0,
            until=time.monotonic() + wait,
        )
