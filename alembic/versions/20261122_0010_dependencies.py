"""Dependencies between tasks.

Revises: 20261122_0009
"""

import sqlalchemy as sa
from alembic import op

revision = "20261122_0010"
down_revision = "20261122_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    now = sa.text("clock_timestamp()")
    op.create_table(
        "dependencies",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("depends_on_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_with", sa.Uuid(), nullable=True),
        sa.CheckConstraint("version > 0", name=op.f("dependencies_version_positive")),
        sa.CheckConstraint("task_id <> depends_on_id", name=op.f("dependencies_of_two_tasks")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("dependencies_user_id_fkey"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["user_id", "task_id"],
            ["tasks.user_id", "tasks.id"],
            name=op.f("dependencies_user_id_task_id_fkey"),
            ondelete="NO ACTION",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "depends_on_id"],
            ["tasks.user_id", "tasks.id"],
            name=op.f("dependencies_user_id_depends_on_id_fkey"),
            ondelete="NO ACTION",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("dependencies_pkey")),
        sa.UniqueConstraint("user_id", "version", name=op.f("dependencies_user_id_version_key")),
    )
    edge = ["user_id", "task_id", "depends_on_id"]
    living = sa.text("deleted_at IS NULL")
    op.create_index("dependencies_once", "dependencies", edge, unique=True, postgresql_where=living)
    op.create_index("dependencies_turned", "dependencies", ["user_id", "depends_on_id", "task_id"])
    op.create_index("dependencies_task", "dependencies", ["user_id", "task_id"])
    op.execute(
        "CREATE TRIGGER dependencies_version_grows AFTER UPDATE ON dependencies FOR EACH ROW "
        "WHEN (new.version <= old.version) EXECUTE FUNCTION version_must_grow()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    op.drop_table("dependencies")
