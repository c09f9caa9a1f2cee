"""Where a walk goes on: an opaque text, bound to whom and what it was made for."""

import base64
import binascii
import hashlib
from datetime import datetime
from typing import Final, NamedTuple

_DIGEST_BYTES: Final = 12


class Position(NamedTuple):
    id: str
    key: str  # what the last row is sorted by, as the database writes it
    at: datetime | None  # the time that the filter depends on, frozen for the whole walk


def seal(binding: bytes, position: Position) -> str:
    text = f"{position.at.isoformat() if position.at else ''} {position.id} {position.key}".encode()
    return base64.urlsafe_b64encode(_digest(binding, text) + text).decode().rstrip("=")


def unseal(binding: bytes, cursor: str) -> Position:
    """Raises ValueError when it was made for another user, filter or sort, or was damaged.

    It is a checksum and no signature: who forges one reads nothing but their own tasks from another place.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    digest, text = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if not text or digest != _digest(binding, text):
        raise ValueError("not a cursor of this list, filter and sort; begin again without one")
    at, row_id, key = text.decode().split(" ", 2)
    begun = datetime.fromisoformat(at) if at else None
    if begun is not None and (begun.tzinfo is None or not 2000 < begun.year < 9000):
        raise ValueError("not a cursor of this time; begin again without one")
    return Position(row_id, key, begun)


def _digest(binding: bytes, text: bytes) -> bytes:
    return hashlib.blake2b(text, key=hashlib.sha256(binding).digest(), digest_size=_DIGEST_BYTES).digest()
