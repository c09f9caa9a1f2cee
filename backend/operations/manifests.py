"""A backup on disk: a folder with the dump, what its tables hold, and a manifest, written last.

20261122T031500Z-tend/
    manifest.json           whose it is, of when, and each file's size and SHA-256
    database.dump[.age]     pg_dump's custom format
    tables.json[.age]       rows and checksum of each table; it tells of the contents, so it is encrypted with them

All that is needed to see whether a backup is there, fresh and whole stands in manifest.json, so that a monitor needs
no private key.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple

from pydantic import BaseModel, TypeAdapter, ValidationError

from backend.operations.clients import BackupError

MANIFEST: Final = "manifest.json"
DUMP: Final = "database.dump"
TABLES: Final = "tables.json"
DRAFT: Final = ".tend-backup-"  # begins the name of what is being written, or deleted
CHUNK_BYTES: Final = 256 * 1024

Step = Callable[[int], object]
Bar = Callable[[str, int], Step]
"""Begins a part of the work, of so many units, and gives what to call when some are done."""


class Figures(BaseModel, frozen=True):
    """Of a table; `size` is in bytes, as text."""

    rows: int
    checksum: str
    size: int


Tables = TypeAdapter(dict[str, Figures])


class File(BaseModel, frozen=True):
    size: int
    sha256: str


class Manifest(BaseModel, frozen=True):
    format: Literal[1] = 1
    tend: str
    migration: str
    postgres: str
    database: str
    made_at: datetime
    encrypted: bool
    files: dict[Literal["database.dump", "tables.json"], File]

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files.values())


class Backup(NamedTuple):
    folder: Path
    manifest: Manifest

    def path(self, name: Literal["database.dump", "tables.json"]) -> Path:
        return self.folder / (f"{name}.age" if self.manifest.encrypted else name)

    def check(self, bar: Bar) -> None:
        """Raises BackupError for a file that is not as it was written."""
        step = bar("Checking the files", self.manifest.bytes)
        for name, file in self.manifest.files.items():
            path, digest = self.path(name), hashlib.sha256()
            try:
                with path.open("rb") as content:
                    while chunk := content.read(CHUNK_BYTES):
                        digest.update(chunk)
                        step(len(chunk))
            except OSError as error:
                raise BackupError(f"{path} cannot be read: {error.strerror}. Use another backup.") from None
            if digest.hexdigest() != file.sha256:
                size = path.stat().st_size
                why = "its contents have changed" if size == file.size else f"{size:,} bytes of {file.size:,}"
                raise BackupError(f"{path} is damaged: {why}. Copy it again from where it came, or use another backup.")


def read(folder: Path) -> Backup:
    """Raises BackupError."""
    try:
        return Backup(folder, Manifest.model_validate_json((folder / MANIFEST).read_bytes()))
    except FileNotFoundError:
        inside = among(folder)
        advice = f" There are {len(inside)} in it; the newest is {inside[-1].folder}." if inside else ""
        raise BackupError(f"{folder} is no backup: it has no {MANIFEST}.{advice}") from None
    except OSError as error:
        raise BackupError(f"{folder} is no backup: its {MANIFEST} cannot be read ({error.strerror}).") from None
    except ValidationError:
        raise BackupError(f"{folder / MANIFEST} is damaged, or of a newer Tend.") from None


def among(target: Path) -> list[Backup]:
    """The backups in a folder, the oldest first; whatever else lies there is left out."""
    found = []
    for folder in target.iterdir():
        if not folder.name.startswith(DRAFT) and (folder / MANIFEST).is_file():
            with suppress(BackupError):
                found.append(read(folder))
    return sorted(found, key=lambda backup: backup.manifest.made_at)


@contextmanager
def draft(target: Path) -> Iterator[Path]:
    """A folder that only we may enter and no one takes for a backup; gone afterwards, unless it was moved.

    `target` is made when it is not there. What a killed process left is removed first: nobody holds its lock any more.
    """
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in target.glob(f"{DRAFT}*"):
        with suppress(OSError), _held(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=DRAFT, dir=target))
    try:
        with _held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def publish(folder: Path, manifest: Manifest) -> Backup:
    """Moved into place when all of it has reached the disk. The name is the time, so it waits for one of its own."""
    with create(folder / MANIFEST) as file:
        file.write(manifest.model_dump_json(indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    _sync(folder)
    name = "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in manifest.database)
    while (final := folder.with_name(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}")).exists():
        time.sleep(0.1)
    folder.rename(final)
    _sync(final.parent)
    return Backup(final, manifest)


def create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep(target: Path, newest: Backup, most: int) -> list[Backup]:
    """Deletes the oldest beyond `most` (1 or more) of the same database, and says which; never `newest`."""
    same = [each for each in among(target) if each.manifest.database == newest.manifest.database]
    too_many = [each for each in same if each.folder != newest.folder][: max(0, len(same) - most)]
    for backup in too_many:
        gone = backup.folder.with_name(f"{DRAFT}{backup.folder.name}")  # half deleted, it is none any more
        backup.folder.rename(gone)
        shutil.rmtree(gone)
    return too_many
