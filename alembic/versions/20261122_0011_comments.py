"""Comments on tasks.

Revises: 20261122_0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261122_0011"
down_revision = "20261122_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    now = sa.text("clock_timestamp()")
    op.create_table(
        "comments",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), server_default="en", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_with", sa.Uuid(), nullable=True),
        sa.Column("scrubbed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed("setweight(to_tsvector(search_config(language), search_text(body)), 'D')", persisted=True),
            nullable=True,
        ),
        sa.CheckConstraint("version > 0", name=op.f("comments_version_positive")),
        sa.CheckConstraint("char_length(body) BETWEEN 1 AND 10000", name=op.f("comments_body_length")),
        sa.CheckConstraint(
            "deleted_at IS NOT NULL OR num_nonnulls(deleted_with, scrubbed_at) = 0", name=op.f("comments_trash_sound")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("comments_user_id_fkey"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["user_id", "task_id"],
            ["tasks.user_id", "tasks.id"],
            name=op.f("comments_user_id_task_id_fkey"),
            ondelete="NO ACTION",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("comments_pkey")),
        sa.UniqueConstraint("user_id", "version", name=op.f("comments_user_id_version_key")),
    )
    op.create_index("comments_task", "comments", ["user_id", "task_id", "created_at", "id"])
    trashed = sa.text("deleted_at IS NOT NULL AND scrubbed_at IS NULL")
    op.create_index("comments_trash", "comments", ["user_id", "deleted_at", "id"], postgresql_where=trashed)
    op.create_index(
        "comments_search",
        "comments",
        [sa.text("(user_id::text)"), "search"],
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.execute(
        "CREATE TRIGGER comments_version_grows AFTER UPDATE ON comments FOR EACH ROW "
        "WHEN (new.version <= old.version) EXECUTE FUNCTION version_must_grow()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    op.drop_table("comments")
