"""The operator's bulk load: tasks of many users from a file, through the write door."""

import gzip
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any
from uuid import UUID, uuid5

from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from backend import door
from backend.config import Settings
from backend.db import Database
from backend.door import Query, statement
from backend.rules.text import sort_key
from backend.schemas.scalars import Characters, Email, Instant, Password
from backend.schemas.scalars import Text as WireText
from backend.schemas.tasks import TaskCreate
from backend.scope import Scope
from backend.security import hash_password
from backend.services.accounts import USERS, email_key, open_account
from backend.services.task_query import TASKS, shown
from backend.services.tasks import GIVEN

CHUNK = 20_000  # lines in memory at once
BATCH = 1_000  # rows a statement
LINE_BYTES = 1024 * 1024
LOADED = ("created_at", *GIVEN)
NAMESPACE = UUID("6f1d2a7e-3f0b-5e0a-9a51-6d2a3c1b7e44")


class Line(TaskCreate):
    """A line of the file: a task, whose it is, and when it was made."""

    user: Annotated[WireText, Characters(1, 64), Field(pattern=r"^[A-Za-z0-9._+-]+$")]
    created_at: Instant | None = None


@dataclass
class Done:
    tasks: int = 0
    accounts: int = 0
    known: int = 0
    refused: int = 0


class Refused(Exception):
    """The file or an option as a whole; nothing was loaded."""


@dataclass
class _Loading:
    database: Database
    domain: str
    hashed: str | None
    done: Done = field(default_factory=Done)
    scopes: dict[str, Scope] = field(default_factory=dict)
    seen: Counter[UUID] = field(default_factory=Counter)

    async def chunk(self, lines: list[Line]) -> None:
        await self._open_accounts({line.user for line in lines} - self.scopes.keys())
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in lines:
            rows[line.user].append(self._row(line))
        for user, theirs in rows.items():
            for start in range(0, len(theirs), BATCH):
                await self._insert(self.scopes[user], theirs[start : start + BATCH])

    async def _open_accounts(self, users: set[str]) -> None:
        emails = {email_key(f"{user}@{self.domain}"): user for user in users}
        found = await self.database.read(_accounts(), {"in_keys": list(emails)})
        for row in found:
            self.scopes[emails.pop(row.email_key)] = Scope(row.id, self.database, row.timezone, row.language)
        for user in sorted(emails.values()):
            await open_account(self.database, f"{user}@{self.domain}", user, self.hashed)
        for row in await self.database.read(_accounts(), {"in_keys": list(emails)}):
            self.scopes[emails[row.email_key]] = Scope(row.id, self.database, row.timezone, row.language)
        self.done.accounts += len(emails)

    def _row(self, line: Line) -> dict[str, Any]:
        """Its id is made of what it says and of how many lines before said the same."""
        given = line.model_dump(mode="json", exclude={"user"})
        mine = self.scopes[line.user]
        content = uuid5(mine.user_id, line.model_dump_json(exclude={"user"}))
        self.seen[content] += 1
        own = uuid5(NAMESPACE, f"{content} {self.seen[content]}")
        return {
            **given,
            "id": str(line.id or own),
            "title_key": sort_key(line.title),
            "language": mine.language,
        }

    async def _insert(self, mine: Scope, rows: list[dict[str, Any]]) -> None:
        made = await mine.write(
            door.create_many(TASKS, LOADED, shown, skip_existing=True), {"rows": door.rows_of(rows)}
        )
        self.done.tasks += len(made)
        self.done.known += len(rows) - len(made)


async def load(
    settings: Settings,
    path: Path,
    email_domain: str,
    password: str | None,
    advance: Callable[[int, int], None],
    refuse: Callable[[int, str], None],
) -> Done:
    """Loads what can be loaded, and reports each line that cannot with its number and the reason.

    `advance` is told the bytes of the file that were read and the tasks so far. Raises Refused.
    """
    try:
        TypeAdapter(Email).validate_python(f"user@{email_domain}")
        if password is not None:
            TypeAdapter(Password).validate_python(password)
    except ValidationError as wrong:
        raise Refused(f"{wrong.title}: {_reason(wrong)}") from None
    database = Database(settings)
    loading = _Loading(database, email_domain, await hash_password(password) if password else None)
    lines: list[Line] = []
    try:
        with path.open("rb") as file:
            for number, raw in _numbered(file):
                try:
                    lines.append(_parsed(raw))
                except ValueError as wrong:
                    loading.done.refused += 1
                    refuse(number, _reason(wrong))
                if len(lines) >= CHUNK:
                    await loading.chunk(lines)
                    lines = []
                if not number % 500:
                    advance(file.tell(), loading.done.tasks + loading.done.known)
        await loading.chunk(lines)
    finally:
        await database.close()
    return loading.done


def _numbered(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    source: IO[bytes] = io.BufferedReader(gzip.GzipFile(fileobj=file)) if packed else file
    number = 0
    try:
        while raw := source.readline(LINE_BYTES + 1):
            number += 1
            if raw.strip():
                yield number, raw
            while len(raw) > LINE_BYTES and not raw.endswith(b"\n"):
                raw = source.readline(LINE_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        yield number + 1, b"\0" + str(error).encode()


def _parsed(raw: bytes) -> Line:
    if raw.startswith(b"\0"):
        raise ValueError(f"the file is damaged from here on: {raw[1:].decode()}")
    if len(raw) > LINE_BYTES:
        raise ValueError("longer than 1 MiB")
    return Line.model_validate_json(raw)


def _reason(wrong: ValueError) -> str:
    if not isinstance(wrong, ValidationError):
        return str(wrong)
    reasons = []
    for error in wrong.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in error["loc"])
        reasons.append((f"{place}: " if place else "") + error["msg"].removeprefix("Value error, "))
    return "; ".join(reasons)


@statement
def _accounts() -> Query:
    keys = func.any(bindparam("in_keys", type_=ARRAY(Text())))
    return select(USERS.c.id, USERS.c.email_key, USERS.c.timezone, USERS.c.language).where(USERS.c.email_key == keys)
