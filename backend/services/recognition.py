"""Whose token it is: verified, looked up at most once in 10 seconds on each worker, and remembered in between.

It is the one thing that two workers may disagree on, and no longer than that: a session that was ended,
a token that was revoked and an account that was disabled are believed for `REMEMBERED_SECONDS` at most.
"""

import asyncio
import math
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import DateTime, Table, Update, Uuid, bindparam, func, or_, update
from sqlalchemy.dialects.postgresql import ARRAY

from backend.errors import NotSignedIn
from backend.scope import Scope
from backend.security.opaque import PERSONAL_PREFIX, is_personal_token
from backend.security.tokens import Claims, InvalidToken
from backend.services import access_tokens, keys, sessions
from backend.services.sessions import Known
from backend.state import State
from backend.statements import statement

REMEMBERED_SECONDS: Final = 10
REMEMBERED_MOST: Final = 10_000
NOTED_SECONDS: Final = 60  # last use is written so much later at most


class _Recognized(NamedTuple):
    scope: Scope
    until: float  # monotonic: a clock that is set back must not make anybody believed for longer
    expires_at: float  # seconds since 1970


class Recognition:
    def __init__(self, state: State) -> None:
        self._state = state
        self._tokens: dict[str, _Recognized] = {}
        self._looks: dict[UUID | str, tuple[asyncio.Future[Known | None], float]] = {}
        self._used: dict[Table, dict[UUID, datetime]] = {sessions.SESSIONS: {}, access_tokens.TOKENS: {}}

    async def scope_of(self, token: str) -> Scope:
        """Raises NotSignedIn."""
        known = self._tokens.get(token)
        if known and known.until > time.monotonic() and known.expires_at > time.time():
            return known.scope
        recognized = await (self._personal(token) if token.startswith(PERSONAL_PREFIX) else self._access(token))
        if len(self._tokens) >= REMEMBERED_MOST:
            self._tokens.clear()
        self._tokens[token] = recognized
        return recognized.scope

    async def _access(self, token: str) -> _Recognized:
        claims = await self._read(token)
        look = sessions.look_up(self._state.database, claims.session_id, claims.user_id)
        known, until = await self._looked_up(claims.session_id, look)
        if known is None or known.user_id != claims.user_id:
            raise not_valid()
        self._note(sessions.SESSIONS, claims.session_id)
        scope = Scope(
            claims.user_id,
            self._state.database,
            known.timezone,
            known.language,
            claims.session_id,
            known.scopes,
            claims.signed_in_at,
        )
        return _Recognized(scope, until, claims.expires_at)

    async def _read(self, token: str) -> Claims:
        try:
            return (await keys.current(self._state)).read(token)
        except InvalidToken:
            raise not_valid() from None

    async def _personal(self, token: str) -> _Recognized:
        if not is_personal_token(token):
            raise not_valid()
        known, until = await self._looked_up(token, access_tokens.look_up(self._state.database, token))
        if known is None or known.token_id is None:
            self._looks.pop(token, None)  # whoever guesses would fill the memory
            raise not_valid()
        self._note(access_tokens.TOKENS, known.token_id)
        scope = Scope(
            known.user_id, self._state.database, known.timezone, known.language, None, known.scopes, 0, known.token_id
        )
        return _Recognized(scope, until, math.inf)

    async def _looked_up(self, what: UUID | str, look: Coroutine[Any, Any, Known | None]) -> tuple[Known | None, float]:
        """One look, however many ask while it is under way and for a while after."""
        looking, until = self._looks.get(what, (None, 0.0))
        if looking is None or until <= time.monotonic():
            if len(self._looks) >= REMEMBERED_MOST:
                self._looks.clear()
            looking, until = asyncio.ensure_future(look), time.monotonic() + REMEMBERED_SECONDS
            self._looks[what] = looking, until
        else:
            look.close()
        try:
            return await asyncio.shield(looking), until
        except Exception:
            self._looks.pop(what, None)
            raise

    async def confirm(self, mine: Scope) -> None:
        """Looks the session up now, for what must not be done with one that has just ended. Raises NotSignedIn."""
        assert mine.session_id is not None
        if await sessions.look_up(self._state.database, mine.session_id, mine.user_id) is None:
            self.forget(mine.session_id)
            raise not_valid()

    def forget(self, *gone: UUID | None) -> None:
        """Sessions and tokens that ended: at once on this worker, on the others within `REMEMBERED_SECONDS`."""
        kept = {t: r for t, r in self._tokens.items() if not {r.scope.session_id, r.scope.token_id} & set(gone)}
        for token in self._tokens.keys() - kept.keys():
            self._looks.pop(token, None)
        for one in gone:
            if one is not None:
                self._looks.pop(one, None)
        self._tokens = kept

    def forget_user(self, user_id: UUID) -> None:
        """All of somebody's: what is true of the account has changed."""
        scopes = [known.scope for known in self._tokens.values() if known.scope.user_id == user_id]
        self.forget(*(scope.session_id or scope.token_id for scope in scopes))

    def forget_all(self) -> None:
        self._tokens.clear()
        self._looks.clear()

    def _note(self, table: Table, used: UUID) -> None:
        if not any(self._used.values()):  # else it waits already
            self._state.later.start(self.write_uses(), after=NOTED_SECONDS)
        self._used[table][used] = datetime.now(UTC)

    async def write_uses(self) -> None:
        """When each session and token was last used, in one statement for each of the two tables."""
        for table, used in self._used.items():
            if used:
                values = {"ids": list(used), "times": list(used.values())}
                used.clear()
                await self._state.database.write(_note_use(table), values)


def not_valid() -> NotSignedIn:
    return NotSignedIn("The access token is not valid, or no longer.", token_sent=True)


@statement
def _note_use(target: Table) -> Update:
    given = (
        func.unnest(bindparam("ids", type_=ARRAY(Uuid())), bindparam("times", type_=ARRAY(DateTime(timezone=True))))
        .table_valued("id", "at", name="given")
        .render_derived()
    )
    earlier = or_(target.c.last_used_at.is_(None), target.c.last_used_at < given.c.at)
    return update(target).where(target.c.id == given.c.id, earlier).values(last_used_at=given.c.at)
