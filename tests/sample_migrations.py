"""Migrations that come after the newest landed one, for tests: in a folder of their own."""

import os
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config

from backend.models import SCHEMA_VERSION
from tests.servers import ROOT

TIMEOUTS = """op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    """

# What a release may bring that adds a bounded field and a sort: three migrations, as docs/migrations.md has them.
COLUMN = (
    TIMEOUTS
    + """op.add_column("tasks", sa.Column("color", sa.Text()))
    op.create_check_constraint(
        op.f("tasks_color_length"), "tasks", "char_length(color) <= 20", postgresql_not_valid=True
    )""",
    TIMEOUTS + """op.drop_column("tasks", "color")""",
)
VALIDATION = ("""ddl.validate("tasks", "tasks_color_length")""", "pass")
INDEX = (
    """ddl.build_index(
        "tasks_color", "tasks", ["user_id", "color", "id"], postgresql_where=sa.text("deleted_at IS NULL")
    )""",
    """ddl.remove_index("tasks_color", "tasks")""",
)
RELEASE = (COLUMN, VALIDATION, INDEX)


class Samples:
    """The landed migrations and, after them, one for each pair of bodies. `say` and `patience` are env.py's."""

    def __init__(self, folder: Path, url: str, *bodies: tuple[str, str], **attributes: Any) -> None:
        self.revisions = [f"sample_{number}" for number in range(len(bodies))]
        before = SCHEMA_VERSION
        for revision, (up, down) in zip(self.revisions, bodies, strict=True):
            (folder / f"{revision}.py").write_text(_text(revision, before, up, down))
            before = revision
        attributes = {"configure_logging": False, "url": url, **attributes}
        self.config = Config(ROOT / "alembic.ini", attributes=attributes)
        landed = ROOT / "alembic" / "versions"
        self.config.set_main_option("version_locations", f"{landed}{os.pathsep}{folder}")

    def up(self) -> None:
        command.upgrade(self.config, "head")

    def down(self) -> None:
        """To the newest landed one."""
        command.downgrade(self.config, SCHEMA_VERSION)


def _text(revision: str, before: str, up: str, down: str) -> str:
    return f'''"""A sample.

Revises: {before}
"""

import sqlalchemy as sa
from alembic import op

from backend import ddl

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    {up}


def downgrade() -> None:
    {down}
'''
