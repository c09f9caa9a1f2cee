"""Indexes for tombstones, to find those that go away.

Revises: 20261123_0013
"""

import sqlalchemy as sa

from backend import ddl

revision = "20261123_0014"
down_revision = "20261123_0013"
branch_labels = None
depends_on = None

SCRUBBED = ("tasks", "projects", "comments", "filters", "tags")


def upgrade() -> None:
    gone = dict.fromkeys(SCRUBBED, "scrubbed_at IS NOT NULL") | {"dependencies": "deleted_at IS NOT NULL"}
    for table, where in gone.items():
        columns = ["user_id", "deleted_at"]
        ddl.build_index(f"{table}_tombstones", table, columns, postgresql_where=sa.text(where))


def downgrade() -> None:
    for table in (*SCRUBBED, "dependencies"):
        ddl.remove_index(f"{table}_tombstones", table)
