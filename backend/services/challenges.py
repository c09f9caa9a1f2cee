"""A sign-in between its two factors: sealed, and carried by the client."""

import json
from typing import Final, NamedTuple
from uuid import UUID

from backend.errors import NotSignedIn
from backend.security.sealing import Broken, Seal

SECONDS: Final = 300
_PURPOSE: Final = "sign-in that awaits a code"


class FirstFactor(NamedTuple):
    """Who has shown it, how, on which device, and a stamp of the password's hash of then."""

    user_id: UUID
    how: str
    device: str
    stamp: str


def challenge(seal: Seal, first: FirstFactor) -> str:
    """For whoever has shown the first factor: carried by the client, good for five minutes."""
    return seal.close(_PURPOSE, json.dumps([str(first.user_id), *first[1:]]).encode())


def challenged(seal: Seal, sent: str) -> FirstFactor:
    """Raises NotSignedIn."""
    try:
        user_id, *rest = json.loads(seal.open(_PURPOSE, sent, seconds=SECONDS))
    except Broken:
        raise NotSignedIn("The challenge is not valid, or no longer. Sign in again.") from None
    return FirstFactor(UUID(user_id), *rest)
