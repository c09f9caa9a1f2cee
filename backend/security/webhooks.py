"""Signatures of messages, as Standard Webhooks has them (its specification, "Signature scheme")."""

import base64
import binascii
import hmac
import secrets
from typing import Final

PREFIX: Final = "whsec_"
LEAST, MOST = 24, 64  # bytes


def new_secret() -> str:
    """256 bits."""
    return written(secrets.token_bytes(32))


def written(secret: bytes) -> str:
    return PREFIX + base64.b64encode(secret).decode()


def read(text: str) -> bytes:
    """Raises ValueError."""
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(PREFIX) or not LEAST <= len(secret) <= MOST:
        raise ValueError(f"expected {PREFIX} and {LEAST} to {MOST} bytes in base64; leave it out, and one is made")
    return secret


def signature(secret: bytes, message_id: str, at: int, body: str) -> str:
    """Of the message's id, the time of sending in seconds since 1970, and the body: all that must not be changed."""
    signed = hmac.digest(secret, f"{message_id}.{at}.{body}".encode(), "sha256")
    return f"v1,{base64.b64encode(signed).decode()}"
