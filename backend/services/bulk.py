"""The operator's bulk load: tasks of many users from a file, through the write door.

It is no activity of theirs: what is told of such a task begins with its first change.
"""

import asyncio
import codecs
import gzip
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Any
from uuid import UUID, uuid5

from pydantic import AfterValidator, TypeAdapter, ValidationError
from sqlalchemy import Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from backend import door
from backend.config import Settings
from backend.db import Database
from backend.errors import words_for
from backend.schemas.scalars import Characters, Email, Instant, Password
from backend.schemas.scalars import Text as WireText
from backend.schemas.tasks import TaskCreate
from backend.scope import Scope
from backend.security.passwords import hash_password
from backend.services.accounts import USERS, email_key, open_account
from backend.services.task_criteria import TASKS
from backend.services.tasks import GIVEN, derived
from backend.statements import Query, statement

CHUNK = 10_000  # lines in memory at once
BATCH = 1_000  # rows a statement
LINE_BYTES = 1024 * 1024
LOADED = ("created_at", *GIVEN)
SAID = ("id", "title", "description", "priority", "due_date", "tags", "completed", "created_at")
"""What makes a line the same as one that was loaded before, by whatever release."""


def _local_part(user: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._+-]+", user):
        raise ValueError("expected what comes before the @, of A-Z a-z 0-9 . _ + -")
    return user


class Line(TaskCreate):
    """A line of the file: a task, whose it is, and when it was made."""

    project_id: None = None  # of whom, a file does not know
    parent_id: None = None
    user: Annotated[WireText, Characters(1, 64), AfterValidator(_local_part)]
    created_at: Instant | None = None


@dataclass
class Done:
    tasks: int = 0
    accounts: int = 0
    known: int = 0
    refused: int = 0


class Refused(Exception):
    """An option that cannot be meant; nothing was loaded."""


@dataclass
class _Loading:
    database: Database
    domain: str
    hashed: str | None
    connections: int
    advance: Callable[[int, int], None]
    done: Done = field(default_factory=Done)
    scopes: dict[str, Scope] = field(default_factory=dict)
    seen: Counter[UUID] = field(default_factory=Counter)

    async def chunk(self, lines: list[Line], position: int) -> None:
        await self._open_accounts({line.user for line in lines} - self.scopes.keys())
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in lines:
            rows[line.user].append(self._row(line))
        await self._together(partial(self._insert_all, user, theirs, position) for user, theirs in rows.items())

    async def _together(self, work: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """As many at once as there are connections: more would wait for one until their deadline."""
        places = asyncio.Semaphore(self.connections)

        async def one(each: Callable[[], Awaitable[None]]) -> None:
            async with places:
                await each()

        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(one(each))

    async def _open_accounts(self, users: set[str]) -> None:
        keys = {user: email_key(f"{user}@{self.domain}") for user in users}
        found = await self._find(keys)
        missing = sorted(set(keys.values()) - found.keys())
        users_by_key = {key: user for user, key in keys.items()}
        await self._together(partial(self._open, users_by_key[key]) for key in missing)
        found = await self._find(keys)
        self.scopes |= {user: found[key] for user, key in keys.items()}
        self.done.accounts += len(missing)

    async def _open(self, user: str) -> None:
        await open_account(self.database, f"{user}@{self.domain}", user, self.hashed)

    async def _find(self, keys: dict[str, str]) -> dict[str, Scope]:
        rows = await self.database.read(_accounts(), {"in_keys": list(keys.values())})
        return {row.email_key: Scope(row.id, self.database, row.timezone, row.language) for row in rows}

    def _row(self, line: Line) -> dict[str, Any]:
        """Its id is made of what it says and of how many lines before said the same."""
        given = line.model_dump(mode="json", exclude={"user"})
        mine = self.scopes[line.user]
        content = uuid5(mine.user_id, json.dumps({name: given[name] for name in SAID}))
        self.seen[content] += 1
        own = uuid5(content, str(self.seen[content]))
        return {**given, "id": given["id"] or str(own), **derived(mine, line)}

    async def _insert_all(self, user: str, rows: list[dict[str, Any]], position: int) -> None:
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            insert = door.create_many(TASKS, LOADED, _id, skip_existing=True, activity=False)
            made = await self.scopes[user].write(insert, {"rows": door.rows_of(batch)}, many=True)
            self.done.tasks += len(made)
            self.done.known += len(batch) - len(made)
            self.advance(position, self.done.tasks + self.done.known)


def _id(row: Any) -> list[Any]:
    return [row.id]


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
    check_options(email_domain, password)
    database = Database(settings)
    hashed = await hash_password(password) if password else None
    loading = _Loading(database, email_domain, hashed, settings.pool_size, advance)
    lines: list[Line] = []
    try:
        with path.open("rb") as file:
            for number, raw in _numbered(file):
                try:
                    if isinstance(raw, Exception):
                        raise ValueError(f"the file is damaged from here on: {raw}")
                    lines.append(_parsed(raw))
                except ValueError as wrong:
                    loading.done.refused += 1
                    refuse(number, _reason(wrong))
                if len(lines) >= CHUNK:
                    await loading.chunk(lines, file.tell())
                    lines = []
            await loading.chunk(lines, file.tell())
        await _settle(database)
    finally:
        await database.close()
    return loading.done


async def _settle(database: Database) -> None:
    """Tells the planner what came in, at once: left to itself, Postgres would notice within minutes."""
    async with database.engine.connect() as connection:
        await connection.exec_driver_sql("VACUUM (ANALYZE) tasks")


def check_options(email_domain: str, password: str | None) -> None:
    """Raises Refused."""
    _check("--email-domain", Email, f"user@{email_domain}")
    if password is not None:
        _check("--password", Password, password)


def _check(option: str, kind: Any, value: str) -> None:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as wrong:
        raise Refused(f"{option}: {_reason(wrong)}") from None


def _numbered(file: IO[bytes]) -> Iterator[tuple[int, bytes | Exception]]:
    """The lines that are not empty, from 1, and what broke the file off.

    A line that is too long comes cut; the rest of it is passed over.
    """
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    source: IO[bytes] = io.BufferedReader(gzip.GzipFile(fileobj=file)) if packed else file
    number = 0
    try:
        while raw := source.readline(LINE_BYTES + 1):
            number += 1
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            if raw.strip():
                yield number, raw
            while len(raw) > LINE_BYTES and not raw.endswith(b"\n"):
                raw = source.readline(LINE_BYTES + 1)
    except (EOFError, OSError) as error:  # gzip's own errors among them
        yield number + 1, error


def _parsed(raw: bytes) -> Line:
    if len(raw) > LINE_BYTES:
        raise ValueError("longer than 1 MiB")
    return Line.model_validate_json(raw.rstrip())


def _reason(wrong: ValueError) -> str:
    if not isinstance(wrong, ValidationError):
        return str(wrong)
    reasons = []
    for error in wrong.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in error["loc"])
        reasons.append((f"{place}: " if place else "") + words_for(error))
    return "; ".join(reasons)


@statement
def _accounts() -> Query:
    keys = func.any(bindparam("in_keys", type_=ARRAY(Text())))
    return select(USERS.c.id, USERS.c.email_key, USERS.c.timezone, USERS.c.language).where(USERS.c.email_key == keys)
