"""Sync: devices, receipts of their operations, and when each field group was changed.

Revises: 20261122_0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261123_0013"
down_revision = "20261122_0012"
branch_labels = None
depends_on = None

EDITED = ("tasks", "projects", "comments", "filters", "tags")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    op.create_table(
        "sync_clients",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("last_n", sa.BigInteger(), nullable=False),
        sa.Column(
            "last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("last_n > 0", name=op.f("sync_clients_last_n_positive")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("sync_clients_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "client_id", name=op.f("sync_clients_pkey")),
    )
    op.create_table(
        "sync_receipts",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("result", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("sync_receipts_digest_length")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("sync_receipts_user_id_fkey"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["user_id", "client_id"],
            ["sync_clients.user_id", "sync_clients.client_id"],
            name="sync_receipts_client_fkey",
            ondelete="NO ACTION",
        ),
        sa.PrimaryKeyConstraint("user_id", "client_id", "n", name=op.f("sync_receipts_pkey")),
    )
    for table in EDITED:
        op.add_column(table, sa.Column("clocks", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    for table in EDITED:
        op.drop_column(table, "clocks")
    op.drop_table("sync_receipts")
    op.drop_table("sync_clients")
