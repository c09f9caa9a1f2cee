"""Access tokens, and the ring of keys that signs and reads them.

python-jose alone accepts too much (tokens without `exp` or `aud`, `iat` in the future, critical headers);
what it leaves out is checked here.
"""

import base64
import hmac
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk, jws, jwt
from jose.backends import ECKey, HMACKey
from jose.backends.cryptography_backend import CryptographyECKey, CryptographyHMACKey
from jose.exceptions import JOSEError

from backend.security.opaque import kid_of

if (HMACKey, ECKey) != (CryptographyHMACKey, CryptographyECKey):  # pragma: no cover - a broken installation
    raise RuntimeError("python-jose does not use its cryptography backend; install python-jose[cryptography]")

Algorithm = Literal["HS256", "ES256"]
ISSUER: Final = "tend"
AUDIENCE: Final = "tend"
TOKEN_TYPE: Final = "at+jwt"  # RFC 9068
MOST_BYTES: Final = 4096
CLOCK_SKEW: Final = 30  # seconds
_DEMANDS: Final = {f"require_{claim}": True for claim in ("exp", "iat", "aud", "iss", "sub", "jti")}


class InvalidToken(Exception):
    """Whatever was wrong with it: who sends it learns nothing more."""


@dataclass(frozen=True, slots=True)
class Claims:
    user_id: UUID
    session_id: UUID
    timezone: str
    language: str
    expires_at: int  # seconds since 1970
    signed_in_at: int  # `auth_time`, seconds since 1970; 0 when the token does not tell


class Key:
    """One of the ring. Times are seconds since 1970."""

    def __init__(self, secret: bytes, algorithm: Algorithm, signs_from: float = 0, former_until: float = 0) -> None:
        """`secret` is 32 bytes of text or more for HS256, and a private key as PEM for ES256."""
        self.kid = kid_of(secret)
        self.signs_from = signs_from
        self.former_until = former_until  # until when those before it are accepted
        self.signing = jwk.construct(secret.decode(), algorithm)
        self.reading = self.signing if algorithm == "HS256" else self.signing.public_key()

    def public(self) -> dict[str, Any]:
        """As a JSON Web Key (RFC 7517); ES256 alone."""
        return {**self.reading.to_dict(), "kid": self.kid, "use": "sig"}


class Keys:
    """Signs with the newest, reads what any that is still accepted has signed. One family of algorithms, ever.

    `lifetime` is a token's, in seconds.
    """

    def __init__(self, root: Sequence[bytes], lifetime: int, algorithm: Algorithm = "HS256") -> None:
        """`root`: the configured secret, and the one before it if there is; they sign while the ring has no key."""
        self._root = root
        self.lifetime = lifetime
        self.algorithm: Algorithm = algorithm
        self._ring: list[Key] = []
        self.put([])

    def put(self, keys: Iterable[Key]) -> None:
        """The ring as it is now, oldest first."""
        configured = [Key(secret, "HS256") for secret in reversed(self._root)] if self.algorithm == "HS256" else []
        self._ring = [*configured, *keys]

    def accepted(self) -> list[Key]:
        """Those that read, oldest first; the last ones may not sign yet."""
        now = time.time()
        kept: list[Key] = []
        for key in self._ring:
            if key.former_until and key.former_until <= now:
                kept = []
            kept.append(key)
        return kept

    def access_token(
        self, user_id: UUID, session_id: UUID, timezone: str, language: str, signed_in_at: float | None = None
    ) -> str:
        """`signed_in_at`: when the user last showed who they are, now by default."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "jti": secrets.token_urlsafe(12),
            "iat": now,
            "exp": now + self.lifetime,
            "auth_time": now if signed_in_at is None else int(signed_in_at),
            "token_use": "access",
            "sid": str(session_id),
            "tz": timezone,
            "lang": language,
        }
        accepted = self.accepted()
        key = [key for key in accepted if key.signs_from <= now or key is accepted[0]][-1]
        headers = {"typ": TOKEN_TYPE, "kid": key.kid}
        return str(jwt.encode(claims, key.signing, algorithm=self.algorithm, headers=headers))

    def read(self, token: str) -> Claims:
        """Raises InvalidToken."""
        try:
            if len(token) > MOST_BYTES:
                raise InvalidToken
            header = jws.get_unverified_header(token)
            if header.get("alg") != self.algorithm or header.get("typ") != TOKEN_TYPE or "crit" in header:
                raise InvalidToken
            key = next((key for key in self.accepted() if key.kid == header.get("kid")), None)
            if key is None:
                raise InvalidToken
            claims: dict[str, Any] = jwt.decode(
                token, key.reading, algorithms=[self.algorithm], audience=AUDIENCE, issuer=ISSUER, options=_DEMANDS
            )
            issued, expires, signed_in_at = claims["iat"], claims["exp"], claims.get("auth_time", 0)
            if issued > time.time() + CLOCK_SKEW or not 0 < expires - issued <= self.lifetime:
                raise InvalidToken
            if claims["token_use"] != "access" or not isinstance(signed_in_at, int):
                raise InvalidToken
            return Claims(
                UUID(claims["sub"]),
                UUID(claims["sid"]),
                str(claims["tz"]),
                str(claims["lang"]),
                expires,
                signed_in_at,
            )
        except (JOSEError, KeyError, TypeError, ValueError, AttributeError):
            raise InvalidToken from None

    def successor(self, refresh_token: str) -> str:
        """The refresh token that follows this one: always the same, so that a lost answer can be had again."""
        following = hmac.digest(self._root[0], b"refresh\0" + refresh_token.encode(), "sha256")
        return base64.urlsafe_b64encode(following).decode().rstrip("=")


def new_secret(algorithm: Algorithm) -> bytes:
    """For a Key."""
    if algorithm == "HS256":
        return secrets.token_urlsafe(48).encode()
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
