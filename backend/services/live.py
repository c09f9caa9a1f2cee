"""News for whoever is connected: a worker asks once a second, by one statement, how far all of them have come.

Not by LISTEN, which hears nothing behind a pooler in transaction mode, and says nothing of it. Whatever wrote, on
whichever worker or by a command, counted up the counter that is looked at.
"""

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Text, Uuid, bindparam, cast, func, literal_column, null, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY

from backend.background import regularly
from backend.errors import TooMany
from backend.scope import Scope, account_gone
from backend.services import access_tokens, sessions
from backend.services.access_tokens import TOKENS
from backend.services.sessions import SESSIONS
from backend.sql import Row
from backend.state import State
from backend.statements import COUNTER, Query, statement
from backend.turns import unasked
from backend.wall import OWNER

LOOK_SECONDS: Final = 1.0
MOST_OF_ONE: Final = 10
"""Connections of one user to one worker."""


class News(NamedTuple):
    seq: int
    id: str  # of the event: another one after a restore too, where the number may be the same


class Listener:
    """One connection. `over`: there is nobody any more who may hear, or the worker stops."""

    def __init__(self, mine: Scope, news: News) -> None:
        self.mine = mine
        self.news = news
        self.over = False
        self._stirred = asyncio.Event()

    def tell(self, news: News) -> None:
        if news.id != self.news.id:
            self.news = news
            self._stirred.set()

    def end(self) -> None:
        self.over = True
        self._stirred.set()

    async def wait(self, seconds: float) -> None:
        """Until there are news or it is over, or so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stirred.wait()
        self._stirred.clear()


class Live:
    """One worker's. It asks nothing while nobody listens."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._listeners: defaultdict[UUID, set[Listener]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None

    async def join(self, mine: Scope) -> Listener:
        """To be left again. Raises TooMany, and NotSignedIn when the account is gone."""
        listening = self._state.listening
        if listening[mine.user_id] >= MOST_OF_ONE:
            words = f"You have {MOST_OF_ONE} such connections already. Close one, or ask now and then instead."
            raise TooMany(words, "events", MOST_OF_ONE, 60, 60)
        listening[mine.user_id] += 1
        try:
            rows = await mine.read(_now(), {})
            if not rows:
                raise account_gone()
            listener = Listener(mine, _news(rows[0]))
        except BaseException:
            self._uncount(mine.user_id)
            raise
        self._listeners[mine.user_id].add(listener)
        if self._looking is None:
            self._looking = asyncio.create_task(regularly(LOOK_SECONDS, self._look, "Nobody is told of changes"))
        return listener

    def leave(self, listener: Listener) -> None:
        user_id = listener.mine.user_id
        theirs = self._listeners[user_id]
        theirs.discard(listener)
        if not theirs:
            del self._listeners[user_id]
        self._uncount(user_id)

    def _uncount(self, user_id: UUID) -> None:
        """Those who are about to join are counted as well."""
        self._state.listening[user_id] -= 1
        if not self._state.listening[user_id]:
            del self._state.listening[user_id]

    def close(self) -> None:
        if self._looking:
            self._looking.cancel()

    async def _look(self) -> None:
        if self._listeners:
            with unasked():
                await self.look()

    async def look(self) -> None:
        """Tells everybody who has news, and ends those whose sign-in has ended."""
        listeners = [each for theirs in self._listeners.values() for each in theirs]
        ids = {
            "users": list(self._listeners),
            "sessions": [each.mine.session_id for each in listeners if each.mine.session_id],
            "tokens": [each.mine.token_id for each in listeners if each.mine.token_id],
        }
        rows = await self._state.database.read(_there(), ids)
        news = {row.id: _news(row) for row in rows if row.kind == "user"}
        alive = {row.id for row in rows if row.kind != "user"}
        for each in listeners:
            if each.mine.user_id in news and (each.mine.session_id or each.mine.token_id) in alive:
                each.tell(news[each.mine.user_id])
            else:
                each.end()


def _news(row: Row) -> News:
    return News(row.seq, f"{row.seq}-{row.epoch.hex[:8]}")


@statement
def _now() -> Query:
    return select(COUNTER.c.seq, COUNTER.c.epoch).where(COUNTER.c.user_id == OWNER)


@statement
def _there() -> Query:
    """(kind, id, seq, epoch): the counters of `users`, and which of `sessions` and `tokens` still let somebody in."""
    users, in_session, in_token = (
        func.any(bindparam(name, type_=ARRAY(Uuid()))) for name in ("users", "sessions", "tokens")
    )
    none: tuple[Any, Any] = cast(null(), BigInteger), cast(null(), Uuid)
    counters = select(_kind("user"), COUNTER.c.user_id.label("id"), COUNTER.c.seq, COUNTER.c.epoch)
    known = union_all(
        counters.where(COUNTER.c.user_id == users),
        sessions.alive(_kind("session"), SESSIONS.c.id, *none).where(SESSIONS.c.id == in_session),
        access_tokens.alive(_kind("token"), TOKENS.c.id, *none).where(TOKENS.c.id == in_token),
    ).subquery("known")
    return select(*known.c).execution_options(crosses_users="all who listen are told by one statement")


def _kind(name: str) -> Any:
    return literal_column(f"'{name}'", Text()).label("kind")
