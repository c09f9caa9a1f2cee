"""Whether an address leads through a pooler: migrations and backups need a connection that is theirs alone.

A pooler in transaction mode hands each transaction whatever connection is free. Locks and settings of a session then
belong to nobody, or to somebody else.
"""

import secrets
from typing import Final

import psycopg
from sqlalchemy import make_url

from backend.config import SettingsError
from backend.connection import CONNECT_SECONDS, arguments
from backend.errors import Unavailable

MARK: Final = "tend.direct"  # a setting that nobody knows: Postgres keeps it for whoever has a dot in the name


def refuse(url: str, work: str, place: str = "DIRECT_DATABASE_URL") -> None:
    """Raises SettingsError when `url` leads through a pooler, and Unavailable when nothing answers.

    `work` is what needs a direct connection, like `Migrations`; `place` is where `url` was given.
    """
    try:
        pooled = is_pooled(url)
    except psycopg.OperationalError as error:
        raise Unavailable(f"The database cannot be reached: {str(error).splitlines()[0]}") from None
    if pooled:
        host = make_url(url).host or "the address"
        raise SettingsError(
            f"{place}: {work} need a direct connection, and {host} is a pooler: it would not keep locks "
            "and timeouts. Set it to the address of the same database without the pooler (at Neon, the same host "
            "without `-pooler`)."
        )


def is_pooled(url: str, seconds: int = CONNECT_SECONDS) -> bool:
    """By Neon's name for them, or else by how it answers. Raises psycopg.OperationalError when nothing does."""
    host = make_url(url).host or ""
    return "-pooler" in host or not _keeps_what_it_is_told(url, seconds)


def _keeps_what_it_is_told(url: str, seconds: int) -> bool:
    """A setting in the startup packet reaches the session that Postgres makes for it, and no other.

    PgBouncer refuses what it cannot track, or drops it when it is told to (`ignore_startup_parameters`). The process
    number would not do: some direct addresses (Neon's) lie behind a proxy that has numbers of its own.
    """
    sign = secrets.token_hex(8)
    address = arguments(url)
    options = f"{address.pop('options', '')} -c {MARK}={sign}".strip()
    try:
        with psycopg.connect(**{"connect_timeout": seconds, **address}, autocommit=True, options=options) as connection:
            row = connection.execute("SELECT current_setting(%s, true)", [MARK]).fetchone()
    except psycopg.OperationalError as error:
        if "unsupported startup parameter" in str(error):
            return False
        raise
    return row is not None and row[0] == sign
