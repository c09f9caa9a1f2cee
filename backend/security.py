"""Hashes and tokens: the only file that imports jose and passlib.

python-jose alone accepts too much (tokens without `exp` or `aud`, `iat` in the future, critical headers);
what it leaves out is checked here.
"""

import base64
import hashlib
import hmac
import os
import secrets
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from anyio import CapacityLimiter, to_thread
from jose import jws, jwt
from jose.backends import HMACKey
from jose.backends.cryptography_backend import CryptographyHMACKey
from jose.exceptions import JOSEError
from passlib.context import CryptContext
from uuid_utils.compat import uuid7

from backend.errors import Unavailable

if HMACKey is not CryptographyHMACKey:  # pragma: no cover - a broken installation
    raise RuntimeError("python-jose does not use its cryptography backend; install python-jose[cryptography]")

ALGORITHM: Final = "HS256"
ISSUER: Final = "tend"
AUDIENCE: Final = "tend"
TOKEN_TYPE: Final = "at+jwt"  # RFC 9068
MOST_BYTES: Final = 4096
CLOCK_SKEW: Final = 30  # seconds
_DEMANDS: Final = {f"require_{claim}": True for claim in ("exp", "iat", "aud", "iss", "sub", "jti")}

# The OWASP minimum for argon2id: 19 MiB, two passes; 30 to 50 ms here.
_PASSWORDS: Final[Any] = CryptContext(  # type: ignore[no-untyped-call]
    schemes=["argon2"],
    argon2__type="ID",
    argon2__memory_cost=19_456,
    argon2__time_cost=2,
    argon2__parallelism=1,
)
MOST_WAITING: Final = 100  # for a hash: about two seconds on two cores
PASSWORD_CHARACTERS: Final = (8, 128)
# Of nobody's password, at today's cost.
DUMMY_HASH: Final = "$argon2id$v=19$m=19456,t=2,p=1$pbT2XmvN+Z/TmtO6dy5FSA$xide4QWrIM80HYhWdVQsrHV3SfjBFBVqztpPDs8ofnQ"


class InvalidToken(Exception):
    """Whatever was wrong with it: who sends it learns nothing more."""


@dataclass(frozen=True, slots=True)
class Claims:
    user_id: UUID
    session_id: UUID
    timezone: str
    language: str
    expires_at: int  # seconds since 1970


class Keys:
    """Signs and reads tokens. `secret` has 32 bytes or more, `lifetime` is in seconds."""

    def __init__(self, secret: bytes, lifetime: int) -> None:
        self._secret = secret
        self.lifetime = lifetime
        self.kid = hashlib.sha256(b"kid" + secret).hexdigest()[:12]

    def access_token(self, user_id: UUID, session_id: UUID, timezone: str, language: str) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "jti": secrets.token_urlsafe(12),
            "iat": now,
            "exp": now + self.lifetime,
            "token_use": "access",
            "sid": str(session_id),
            "tz": timezone,
            "lang": language,
        }
        headers = {"typ": TOKEN_TYPE, "kid": self.kid}
        return str(jwt.encode(claims, self._key, algorithm=ALGORITHM, headers=headers))

    def read(self, token: str) -> Claims:
        """Raises InvalidToken."""
        try:
            if len(token) > MOST_BYTES:
                raise InvalidToken
            header = jws.get_unverified_header(token)
            if header.get("alg") != ALGORITHM or header.get("typ") != TOKEN_TYPE or "crit" in header:
                raise InvalidToken
            if header.get("kid") != self.kid:
                raise InvalidToken
            claims: dict[str, Any] = jwt.decode(
                token, self._key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_DEMANDS
            )
            issued, expires = claims["iat"], claims["exp"]
            if issued > time.time() + CLOCK_SKEW or not 0 < expires - issued <= self.lifetime:
                raise InvalidToken
            if claims["token_use"] != "access":
                raise InvalidToken
            return Claims(UUID(claims["sub"]), UUID(claims["sid"]), str(claims["tz"]), str(claims["lang"]), expires)
        except (JOSEError, KeyError, TypeError, ValueError, AttributeError):
            raise InvalidToken from None

    def successor(self, refresh_token: str) -> str:
        """The refresh token that follows this one: always the same, so that a lost answer can be had again."""
        digest = hmac.digest(self._secret, b"refresh\0" + refresh_token.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    @cached_property
    def _key(self) -> str:
        return self._secret.decode()


def new_id() -> UUID:
    """Version 7: rows of one user lie in the order in which they were made."""
    return uuid7()


def refresh_token() -> str:
    """256 bits."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """What is stored of a token. Plain SHA-256 will do: a token cannot be guessed from a list."""
    return hashlib.sha256(token.encode()).digest()


_limiter: CapacityLimiter | None = None


async def _aside(work: Any, *given: Any) -> Any:
    """In a thread, at most one a core: a burst of sign-ins neither stops the loop nor eats the memory."""
    global _limiter
    _limiter = _limiter or CapacityLimiter(os.cpu_count() or 1)
    if _limiter.statistics().tasks_waiting >= MOST_WAITING:
        raise Unavailable("Too many people sign in at once. Try again.", retry_after=2)
    return await to_thread.run_sync(work, *given, limiter=_limiter)


async def hash_password(password: str) -> str:
    return str(await _aside(_PASSWORDS.hash, password))


async def verify_password(password: str, hashed: str | None) -> tuple[bool, str | None]:
    """Whether it fits, and a new hash when the stored one is weaker than today's.

    Without a hash (no such account, or none that signs in with a password) it takes as long and fails;
    so does a password that is longer than any may be, past which passlib raises.
    """
    if hashed is None or len(password) > PASSWORD_CHARACTERS[1]:
        await _aside(_PASSWORDS.verify, "", DUMMY_HASH)
        return False, None
    fits, better = await _aside(_PASSWORDS.verify_and_update, password, hashed)
    return bool(fits), better
