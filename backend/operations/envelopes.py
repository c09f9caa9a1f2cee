"""Files that only the holder of a private key can read: age (age-encryption.org/v1), a stream at a time.

age and not the seal under JWT_SECRET: the server that writes backups needs no key that opens them, and `age -d` reads
them without Tend. Memory stays at some ten megabytes, whatever the size.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pyrage
from pyrage import x25519

from backend.operations.clients import BackupError
from backend.operations.manifests import CHUNK_BYTES, File, create

Identities = Sequence[x25519.Identity]


def read_identities(path: Path) -> Identities:
    """The private keys in a file as `age-keygen` writes it. Raises BackupError."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
        found = [x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, pyrage.IdentityError):
        found = []
    if not found:
        raise BackupError(f"{path} holds no age private key; expected a line like AGE-SECRET-KEY-1…")
    return found


def write(source: IO[bytes], path: Path, recipients: Sequence[str]) -> File:
    """All of the source, encrypted if there are recipients, and on the disk when this returns."""
    with create(path) as file:
        taken, given = _Tap(source), _Tap(file)
        if recipients:
            keys = [x25519.Recipient.from_str(key) for key in recipients]
            _through(pyrage.encrypt_io, taken, given, keys)
        else:
            shutil.copyfileobj(taken, given, CHUNK_BYTES)
        file.flush()
        os.fsync(file.fileno())
    return File(size=given.size, sha256=given.digest.hexdigest())


def read(path: Path, target: IO[bytes], identities: Identities) -> None:
    """Decrypted if the file's name says that it is encrypted. Raises BackupError for a wrong key."""
    with path.open("rb") as file:
        if path.suffix != ".age":
            shutil.copyfileobj(file, target, CHUNK_BYTES)
            return
        if not identities:
            raise BackupError(f"{path.parent} is encrypted: name the file with the private key by --identity.")
        try:
            _through(pyrage.decrypt_io, _Tap(file), _Tap(target), identities)
        except pyrage.DecryptError as error:
            if "No matching keys" in str(error):
                raise BackupError(f"{path} was encrypted for another key than those in the --identity file.") from None
            raise BackupError(f"{path} cannot be decrypted: {error}.") from None


def _through(work: Any, taken: "_Tap", given: "_Tap", keys: Sequence[Any]) -> None:
    """pyrage makes an error of its own of what a file raises, and at the last block none at all; also of a signal."""
    try:
        work(taken, given, keys)
    except Exception:
        if not (taken.error or given.error):
            raise
    if error := taken.error or given.error:
        raise error


class _Tap:
    """A file that notes what passes, and what went wrong."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.size = 0
        self.digest = hashlib.sha256()
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self.file.read(size)
        except BaseException as error:
            self.error = error
            raise

    def write(self, data: bytes) -> int:
        try:
            self.size += len(data)
            self.digest.update(data)
            return self.file.write(data)
        except BaseException as error:
            self.error = error
            raise

    def flush(self) -> None:
        pass
