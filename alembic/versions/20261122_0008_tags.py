"""Colours of tags.

Revises: 20261122_0007
"""

import sqlalchemy as sa
from alembic import op

revision = "20261122_0008"
down_revision = "20261122_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    now = sa.text("clock_timestamp()")
    op.create_table(
        "tags",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("color", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scrubbed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("version > 0", name=op.f("tags_version_positive")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 50", name=op.f("tags_name_length")),
        sa.CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name=op.f("tags_color_sound")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("tags_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("tags_pkey")),
        sa.UniqueConstraint("user_id", "version", name=op.f("tags_user_id_version_key")),
    )
    living = sa.text("deleted_at IS NULL")
    op.create_index("tags_name", "tags", ["user_id", "name"], unique=True, postgresql_where=living)
    op.execute(
        "CREATE TRIGGER tags_version_grows AFTER UPDATE ON tags FOR EACH ROW "
        "WHEN (new.version <= old.version) EXECUTE FUNCTION version_must_grow()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    op.drop_table("tags")
