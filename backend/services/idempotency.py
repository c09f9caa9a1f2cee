"""Answers that are kept by the key of their request, so that the request can be sent again.

An answer is stored in the transaction that makes the change: either both are there or neither is, whatever
breaks, and whoever does not know sends the request again.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Insert, bindparam, func, insert, select

from backend.errors import InFlight, Invalid, Unsettled
from backend.models import IdempotencyKey, table
from backend.scope import Scope, account_gone
from backend.statements import COUNTER, Query, statement
from backend.wall import OWNER

KEYS = table(IdempotencyKey)
HOURS: Final = 24
KEPT: Final = timedelta(hours=HOURS)
"""At least: what is older goes with the next cleaning (housekeeping.py)."""
HEADER: Final = "Idempotency-Key"


class Answer(NamedTuple):
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


class _NotKept(Exception):
    """A refusal: nothing of it is kept, so that the same request may do better another time."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


async def once(mine: Scope, key: str, digest: bytes, work: Callable[[Scope], Awaitable[Answer]]) -> tuple[Answer, bool]:
    """What `work` answers, or what it answered the first time, and whether it is the latter.

    `work` does all it does through the Scope that it is given, and may run again when the database broke it off.
    `digest` tells one request from another. Raises InFlight while another one with this key is being answered,
    Invalid when the key was another request's, and Unsettled when nobody knows: then the next one finds out.
    """

    async def keyed(inner: Scope) -> tuple[Answer, bool]:
        claimed = await inner.read(_claim(), {"in_lock": _lock(mine, key)})
        if not claimed[0].is_ours:
            raise InFlight
        found = await inner.read(_find(), {"in_key": key})
        if not found:
            raise account_gone()
        if found[0].digest is not None:
            return _replayed(digest, *found[0][1:]), True
        answer = await work(inner)
        if not answer.is_good:
            raise _NotKept(answer)
        assert inner.running
        kept = {"owner": mine.user_id, "new_key": key, "new_digest": digest, **_values(answer)}
        await inner.running.run(_keep(), kept)
        return answer, False

    try:
        return await mine.together(keyed)
    except _NotKept as refused:
        return refused.answer, False
    except Unsettled as error:
        raise Unsettled("Send it again with the same key.") from error


def _lock(mine: Scope, key: str) -> int:
    """A number of 64 bits, signed. Another's same number, once in a very long while, is a 409 too many."""
    return int.from_bytes(hashlib.sha256(mine.user_id.bytes + key.encode()).digest()[:8], signed=True)


def _replayed(digest: bytes, same: bytes, status: int, headers: list[list[str]], body: bytes) -> Answer:
    if same != digest:
        raise Invalid.at("header", HEADER, msg="another request had this key; take a new one for each request")
    return Answer(status, [(name, value) for name, value in headers], body)


def _values(answer: Answer) -> dict[str, object]:
    return {
        "new_status": answer.status,
        "new_headers": [list(each) for each in answer.headers],
        "new_body": answer.body,
    }


@statement
def _claim() -> Query:
    """Not waited for; let go of with the transaction, and so behind a pooler too. A statement of its own: what the
    next one reads is no older than this lock."""
    return select(func.pg_try_advisory_xact_lock(bindparam("in_lock", type_=BigInteger())).label("is_ours"))


@statement
def _find() -> Query:
    """With the counter, so that whoever hears an answer again knows how far the changes have come."""
    this = (KEYS.c.user_id == COUNTER.c.user_id) & (KEYS.c.key == bindparam("in_key", type_=KEYS.c.key.type))
    columns = COUNTER.c.seq, KEYS.c.digest, KEYS.c.status, KEYS.c.headers, KEYS.c.body
    return select(*columns).select_from(COUNTER.outerjoin(KEYS, this)).where(COUNTER.c.user_id == OWNER)


@statement
def _keep() -> Insert:
    names = ("key", "digest", "status", "headers", "body")
    new = {name: bindparam(f"new_{name}", type_=KEYS.c[name].type) for name in names}
    return insert(KEYS).values(user_id=OWNER, **new)
