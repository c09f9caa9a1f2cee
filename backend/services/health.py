"""Whether the database is there, and at which migration."""

import asyncio
from typing import Final

from psycopg.errors import UndefinedTable
from sqlalchemy import select

from backend.db import Database
from backend.errors import Unavailable
from backend.models import migrations
from backend.statements import Query, statement
from backend.wall import allow

MIGRATIONS = allow(migrations)
READY_SECONDS: Final = 3  # whoever asks gives up after 5 (Render)


async def migration(database: Database) -> str | None:
    """The database's; None when it was never migrated. Raises Unavailable, within `READY_SECONDS`."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            rows = await database.read(_migration(), {})
    except UndefinedTable:
        return None
    except TimeoutError:
        raise Unavailable("The database did not answer in time.", retry_after=2) from None
    return rows[0].version_num if rows else None


@statement
def _migration() -> Query:
    return select(MIGRATIONS.c.version_num)
