"""Whether the database is there, and at which migration."""

from psycopg.errors import UndefinedTable
from sqlalchemy import select

from backend.db import Database
from backend.door import Query, statement
from backend.models import migrations
from backend.wall import allow

MIGRATIONS = allow(migrations)


async def migration(database: Database) -> str | None:
    """The database's; None when it was never migrated. Raises Unavailable."""
    try:
        rows = await database.read(_migration(), {})
    except UndefinedTable:
        return None
    return rows[0].version_num if rows else None


@statement
def _migration() -> Query:
    return select(MIGRATIONS.c.version_num)
