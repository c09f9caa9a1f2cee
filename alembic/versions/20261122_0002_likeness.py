"""How alike two words are: for searches that are nearly right.

Revises: 20261122_0001
"""

from alembic import op

revision = "20261122_0002"
down_revision = "20261122_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # The extension stays: somebody else in the database may use it.
