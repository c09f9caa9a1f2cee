"""Saved filters.

Revises: 20261122_0002
"""

import sqlalchemy as sa
from alembic import op

revision = "20261122_0003"
down_revision = "20261122_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    now = sa.text("clock_timestamp()")
    op.create_table(
        "filters",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.String(collation="C"), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("sort", sa.Text(), nullable=True),
        sa.Column("order", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("version > 0", name=op.f("filters_version_positive")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 100", name=op.f("filters_name_length")),
        sa.CheckConstraint("char_length(name_key) <= 200", name=op.f("filters_name_key_length")),
        sa.CheckConstraint("char_length(filter) BETWEEN 1 AND 1000", name=op.f("filters_filter_length")),
        sa.CheckConstraint(
            "sort IN ('created', 'updated', 'title', 'priority', 'due_date')", name=op.f("filters_sort_known")
        ),
        sa.CheckConstraint("\"order\" IN ('asc', 'desc')", name=op.f("filters_order_known")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("filters_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("filters_pkey")),
        sa.UniqueConstraint("user_id", "version", name=op.f("filters_user_id_version_key")),
    )
    living = sa.text("deleted_at IS NULL")
    op.create_index("filters_name", "filters", ["user_id", "name"], unique=True, postgresql_where=living)
    op.create_index("filters_listed", "filters", ["user_id", "name_key", "id"], postgresql_where=living)
    op.execute(
        "CREATE TRIGGER filters_version_grows AFTER UPDATE ON filters FOR EACH ROW "
        "WHEN (new.version <= old.version) EXECUTE FUNCTION version_must_grow()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("filters")
