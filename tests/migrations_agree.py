"""Models and migrations make the same database: `python -m tests.migrations_agree`.

`alembic check` misses dropped CHECKs and changed generated columns, so two databases are dumped and
compared as well: one migrated, one made from the models.
"""

import difflib
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import create_engine
from sqlmodel import SQLModel

import backend.models  # noqa: F401 - fills the metadata
from backend import embedded
from tests import servers

# Columns that no code here knows any more, and that a release to come drops: `table.column`, nullable or with a
# default. They cannot go at once, since the release before names them in its statements.
LEAVING: Sequence[str] = ()


def differences(server: str, leaving: Sequence[str] = LEAVING) -> list[str]:
    """The lines in which the two differ, with a + for what only the models have."""
    migrated, modelled = servers.create(server, "tend_migrated", "template1"), ""
    try:
        servers.migrate(migrated)
        for table, column in (name.split(".") for name in leaving):
            servers.administer(migrated, f"ALTER TABLE {table} DROP COLUMN {column}")
        modelled = servers.create(server, "tend_modelled", "template1")
        engine = create_engine(modelled)
        SQLModel.metadata.create_all(engine)
        engine.dispose()
        return list(_compared(dump(migrated), dump(modelled))) + _alembic(migrated)
    finally:
        servers.drop(server, "tend_migrated")
        servers.drop(server, "tend_modelled")


def dump(url: str) -> list[str]:
    """The schema, its columns in the order of their names: a migration appends, a model inserts."""
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    command_line = [
        str(embedded.programs() / "pg_dump"),
        "--schema-only",
        "--no-owner",
        "--exclude-table=alembic_version",
    ]
    done = subprocess.run([*command_line, plain], capture_output=True, text=True, check=True, env={**os.environ})
    lines = [line for line in done.stdout.splitlines() if line and not re.match(r"--|\\(un)?restrict", line)]
    return sorted(line.rstrip(",") for line in lines)


def _compared(migrated: list[str], modelled: list[str]) -> Iterable[str]:
    for line in difflib.unified_diff(migrated, modelled, "migrated", "models", n=0, lineterm=""):
        if line[:1] in "+-" and line[:3] not in {"+++", "---"}:
            yield line


def _alembic(url: str) -> list[str]:
    config = Config(
        servers.ROOT / "alembic.ini", attributes={"configure_logging": False, "url": url}, stdout=sys.stderr
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it cannot compare generated columns, and says so; the dumps do
            command.check(config)
    except CommandError as error:
        return [str(error)]
    return []


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, embedded.server(Path(folder), {"fsync": "off"}) as address:
        found = differences(address)
    print(*found or ["Models and migrations agree."], sep="\n")  # noqa: T201
    sys.exit(bool(found))
