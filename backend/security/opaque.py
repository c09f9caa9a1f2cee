"""Tokens that say nothing: whoever has one is looked up by its digest."""

import hashlib
import secrets
import string
import zlib
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

PERSONAL_PREFIX: Final = "tend_"
_RANDOM: Final = 30  # characters of base62: 178 bits
_CHECKSUM: Final = 6  # of CRC32, in base62
_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RECOVERY: Final = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 that are not mistaken for each other


def new_id() -> UUID:
    """Version 7: rows of one user lie in the order in which they were made."""
    return uuid7()


def digest(token: str) -> bytes:
    """What is stored of a token. Plain SHA-256 will do: a token cannot be guessed from a list."""
    return hashlib.sha256(token.encode()).digest()


def refresh_token() -> str:
    """256 bits; a confirmation that is mailed is made alike."""
    return secrets.token_urlsafe(32)


def personal_token() -> str:
    """With a prefix by which programs find one that was published, and a checksum by which they are sure."""
    text = "".join(secrets.choice(_BASE62) for _ in range(_RANDOM))
    return PERSONAL_PREFIX + text + _checksum(text)


def is_personal_token(token: str) -> bool:
    """By its form alone: what was mistyped never reaches the database."""
    text = token.removeprefix(PERSONAL_PREFIX)
    if len(token) != len(PERSONAL_PREFIX) + _RANDOM + _CHECKSUM or not text.isascii() or not text.isalnum():
        return False
    return _checksum(text[:_RANDOM]) == text[_RANDOM:]


def _checksum(text: str) -> str:
    number, written = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM):
        number, place = divmod(number, 62)
        written = _BASE62[place] + written
    return written


def recovery_code() -> str:
    """120 bits, so that a digest is enough (ASVS 5.0, 6.5.2), in groups that can be typed."""
    text = "".join(secrets.choice(_RECOVERY) for _ in range(24))
    return "-".join(text[at : at + 6] for at in range(0, 24, 6))


def normal_recovery_code(typed: str) -> str:
    """As it was shown, however it was typed: without regard to case, spaces and hyphens."""
    text = "".join(character for character in typed.lower() if character.isalnum())
    return "-".join(text[at : at + 6] for at in range(0, 24, 6)) if len(text) == 24 else ""


def kid_of(secret: bytes) -> str:
    """A name for a key that says nothing of it."""
    return hashlib.sha256(b"kid" + secret).hexdigest()[:12]
