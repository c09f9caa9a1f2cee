"""What has to be read again, but by nobody else: secrets in the database, and what a client carries for us."""

import base64
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PURPOSE: Final = b"tend: what is sealed"


class Broken(Exception):
    """Not sealed here, for something else, changed on the way, or too old."""


class Seal:
    """Seals under the first of the secrets, opens what was sealed under any (Fernet: AES-128-CBC and HMAC-SHA256)."""

    def __init__(self, *secrets: bytes) -> None:
        self._fernet = MultiFernet([Fernet(_key(secret)) for secret in secrets])

    def close(self, purpose: str, content: bytes) -> str:
        """`purpose` has no NUL; what is sealed for one is not opened for another."""
        return self._fernet.encrypt(purpose.encode() + b"\0" + content).decode()

    def open(self, purpose: str, sealed: str, *, seconds: int | None = None) -> bytes:
        """Raises Broken; past `seconds` too, if they are given."""
        try:
            found, _, content = self._fernet.decrypt(sealed.encode(), ttl=seconds).partition(b"\0")
        except InvalidToken:
            raise Broken from None
        if found != purpose.encode():
            raise Broken
        return content

    def again(self, sealed: str) -> str:
        """The same, sealed under the first secret. Raises Broken."""
        try:
            return self._fernet.rotate(sealed.encode()).decode()
        except InvalidToken:
            raise Broken from None


def derived(secret: bytes, purpose: bytes) -> bytes:
    """A key of 32 bytes for this purpose alone (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret)


def _key(secret: bytes) -> bytes:
    return base64.urlsafe_b64encode(derived(secret, _PURPOSE))
