"""What migrations do that no transaction may hold, or not for long.

Landed migrations import this: a function keeps its name and its meaning for ever. docs/migrations.md says when to
use which.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from alembic import context, op
from sqlalchemy import TextClause, text

WAIT: Final = "5min"  # for transactions that are older; nobody waits behind these statements

INVALID: Final = text("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


def build_index(name: str, table: str, columns: Sequence[str | TextClause], **options: Any) -> None:
    """CREATE INDEX CONCURRENTLY; `options` are those of `op.create_index`.

    May run again: an index that is there stays, and one that a killed build left unfinished is built anew.
    """
    with _no_transaction():
        if not context.is_offline_mode() and op.get_bind().execute(INVALID, {"name": _quoted(name)}).scalar():
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
        op.create_index(name, table, list(columns), postgresql_concurrently=True, if_not_exists=True, **options)


def remove_index(name: str, table: str) -> None:
    """DROP INDEX CONCURRENTLY, if it is there."""
    with _no_transaction():
        op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)


def validate(table: str, constraint: str) -> None:
    """Reads the whole table for a constraint that was added NOT VALID; others read and write meanwhile.

    In a migration after the one that added it: in the same one, the lock of the adding would last for the reading.
    """
    op.execute(f"SET LOCAL lock_timeout = '{WAIT}'")
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(f"ALTER TABLE {_quoted(table)} VALIDATE CONSTRAINT {_quoted(constraint)}")


@contextmanager
def _no_transaction() -> Iterator[None]:
    with op.get_context().autocommit_block():
        op.execute(f"SET lock_timeout = '{WAIT}'")
        op.execute("SET statement_timeout = 0")
        yield
        op.execute("SET lock_timeout = '5s'")  # as backend/migrating.py has it


def _quoted(name: str) -> str:
    return op.get_context().dialect.identifier_preparer.quote(name)
