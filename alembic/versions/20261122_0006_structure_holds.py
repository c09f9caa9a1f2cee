"""What is promised of tasks and filters since the migration before holds for those that were there.

Revises: 20261122_0005
"""

from backend import ddl

revision = "20261122_0006"
down_revision = "20261122_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("position_sound", "parent_is_another", "trash_sound", "project_fkey", "parent_fkey"):
        ddl.validate("tasks", f"tasks_{name}")
    ddl.validate("filters", "filters_sort_known")


def downgrade() -> None:
    """A constraint that was validated stays so."""
