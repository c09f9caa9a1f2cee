"""Passwords: which are taken, and how they are kept."""

import os
import sys
from functools import cache
from typing import Any, Final

from anyio import CapacityLimiter, to_thread
from passlib.context import CryptContext

from backend.errors import Unavailable

# The OWASP minimum for argon2id: 19 MiB, two passes; 30 to 50 ms here.
_CONTEXT: Final[Any] = CryptContext(  # type: ignore[no-untyped-call]
    schemes=["argon2"],
    argon2__type="ID",
    argon2__memory_cost=19_456,
    argon2__time_cost=2,
    argon2__parallelism=1,
)
MOST_WAITING: Final = 100  # for a hash: about two seconds on two cores
CHARACTERS: Final = (8, 128)
# Of nobody's password, at today's cost.
DUMMY_HASH: Final = "$argon2id$v=19$m=19456,t=2,p=1$pbT2XmvN+Z/TmtO6dy5FSA$xide4QWrIM80HYhWdVQsrHV3SfjBFBVqztpPDs8ofnQ"

_limiter: CapacityLimiter | None = None


@cache
def common() -> frozenset[str]:
    """The 11,000 of at least eight characters among the 30,000 that zxcvbn knows as used most, in lower case.

    Takes some tenths of a second the first time. NIST SP 800-63B, section 5.1.1.2, asks for such a list.
    """
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    kept = frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= CHARACTERS[0])
    for name in [name for name in sys.modules if name.split(".")[0] == "zxcvbn"]:
        del sys.modules[name]  # its other lists would stay: ten megabytes in each worker
    return kept


async def hash_password(password: str) -> str:
    return str(await _aside(_CONTEXT.hash, password))


async def verify_password(password: str, hashed: str | None) -> tuple[bool, str | None]:
    """Whether it fits, and a new hash when the stored one is weaker than today's.

    Without a hash (no such account, or none that signs in with a password) it takes as long and fails;
    so does a password that is longer than any may be, past which passlib raises.
    """
    if hashed is None or len(password) > CHARACTERS[1]:
        await _aside(_CONTEXT.verify, "", DUMMY_HASH)
        return False, None
    fits, better = await _aside(_CONTEXT.verify_and_update, password, hashed)
    return bool(fits), better


def waiting() -> int:
    """How many passwords wait for a thread."""
    return _limiter.statistics().tasks_waiting if _limiter else 0


async def _aside(work: Any, *given: Any) -> Any:
    """In threads, one core left to all else: a burst of sign-ins neither stops the loop nor eats the memory."""
    global _limiter
    _limiter = _limiter or CapacityLimiter(max(1, (os.cpu_count() or 1) - 1))
    if _limiter.statistics().tasks_waiting >= MOST_WAITING:
        raise Unavailable("Too many people sign in at once. Try again.", retry_after=2)
    return await to_thread.run_sync(work, *given, limiter=_limiter)
