"""Indexes for projects, subtasks, the order by hand and the trash.

Revises: 20261122_0006
"""

import sqlalchemy as sa

from backend import ddl

revision = "20261122_0007"
down_revision = "20261122_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    place = sa.text('place_of("position", created_at)')
    living = sa.text("deleted_at IS NULL")
    ddl.build_index("tasks_position", "tasks", ["user_id", place, "id"], postgresql_where=living)
    ddl.build_index(
        "tasks_project",
        "tasks",
        ["user_id", "project_id", "id"],
        postgresql_include=["completed", "deleted_at"],
        postgresql_where=sa.text("project_id IS NOT NULL"),
    )
    nested = sa.text("parent_id IS NOT NULL")
    ddl.build_index("tasks_parent", "tasks", ["user_id", "parent_id"], postgresql_where=nested)
    trashed = sa.text("deleted_at IS NOT NULL AND scrubbed_at IS NULL")
    ddl.build_index("tasks_trash", "tasks", ["user_id", "deleted_at", "id"], postgresql_where=trashed)


def downgrade() -> None:
    for name in ("tasks_position", "tasks_project", "tasks_parent", "tasks_trash"):
        ddl.remove_index(name, "tasks")
