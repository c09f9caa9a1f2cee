"""What a check is, and what it finds."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import psycopg

from backend.config import Settings
from backend.connection import arguments

SECONDS: Final = 5.0  # that a check may take


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    level: Level
    said: str
    advice: str = ""


def fine(said: str) -> Finding:
    return Finding(Level.OK, said)


def warned(said: str, advice: str) -> Finding:
    return Finding(Level.WARN, said, advice)


def failed(said: str, advice: str) -> Finding:
    return Finding(Level.FAIL, said, advice)


class Patient:
    """The settings, and one connection for all checks that ask the database."""

    def __init__(self, settings: Settings, *, is_embedded: bool = False) -> None:
        self.settings = settings
        self.is_embedded = is_embedded  # the database, which whoever can enter its folder may do everything with
        self.pooled = False
        self._connection: psycopg.AsyncConnection[Any] | None = None

    @property
    def url(self) -> str:
        assert self.settings.database_url
        return self.settings.database_url

    async def connection(self) -> psycopg.AsyncConnection[Any]:
        """One that a check left in the middle of something is not used again."""
        if self._connection is None or self._connection.closed:
            self._connection = await connected(self.url)
        return self._connection

    async def ask(self, query: str, *values: Any) -> Any:
        """The first row."""
        cursor = await (await self.connection()).execute(query.encode(), values or None)
        return await cursor.fetchone()

    async def ask_all(self, query: str) -> list[Any]:
        cursor = await (await self.connection()).execute(query.encode())
        return await cursor.fetchall()

    async def close(self) -> None:
        if self._connection:
            await self._connection.close()


async def connected(url: str) -> psycopg.AsyncConnection[Any]:
    """Without prepared statements, which a pooler may not keep."""
    return await psycopg.AsyncConnection.connect(
        **{"application_name": "tend doctor", **arguments(url)}, autocommit=True, prepare_threshold=None
    )


class Check(NamedTuple):
    name: str
    look: Callable[[Patient], Awaitable[Finding]]
    needs: str = ""
    """The name of a check that must not have failed."""

    def left_out(self, because: str) -> Finding:
        return Finding(Level.SKIPPED, f"not looked at: `{because}` comes first")


async def examined(check: Check, patient: Patient, before: Mapping[str, Finding]) -> Finding:
    if check.needs and before[check.needs].level in {Level.FAIL, Level.SKIPPED}:
        return check.left_out(check.needs)
    try:
        async with asyncio.timeout(SECONDS):
            return await check.look(patient)
    except TimeoutError:
        return failed(f"no answer in {SECONDS:g} s", "Is the address right, and does a firewall let it through?")
    except psycopg.Error as error:
        return failed(_first_line(error), "Ask the database's log about it.")
    except OSError as error:
        return failed(f"{type(error).__name__}: {error.strerror or 'no answer'}", "Is the address right?")


def _first_line(error: psycopg.Error) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
