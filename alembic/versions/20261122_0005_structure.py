"""Projects, subtasks, an order by hand, and what the trash knows of what is in it.

Revises: 20261122_0004
"""

import sqlalchemy as sa
from alembic import op

revision = "20261122_0005"
down_revision = "20261122_0004"
branch_labels = None
depends_on = None

COLOR = "color ~ '^#[0-9a-f]{6}$'"
PLACE = "position ~ '^[A-Za-z][0-9A-Za-z]{1,249}$'"
TRASH = "deleted_at IS NOT NULL OR num_nonnulls(deleted_with, scrubbed_at) = 0"
DEPTH_FOLLOWS = (
    "CASE WHEN deleted_at IS NULL THEN (parent_id IS NULL) = (parent_depth IS NULL) "
    "AND depth = coalesce(parent_depth + 1, 0) ELSE parent_depth IS NULL END"
)
SORTS = "'created', 'updated', 'title', 'priority', 'due_date'"
PLACE_OF = """
CREATE FUNCTION place_of("position" text, created_at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce("position", 'm' || lpad(to_hex(greatest(0,
    (extract(epoch FROM created_at - timestamptz '1970-01-01 00:00:00+00') * 1000000)::bigint)), 13, '0'))
"""


def instant(name: str, *, nullable: bool = True) -> sa.Column:
    now = None if nullable else sa.text("clock_timestamp()")
    return sa.Column(name, sa.DateTime(timezone=True), server_default=now, nullable=nullable)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    op.execute(PLACE_OF)
    no = sa.text("false")
    op.create_table(
        "projects",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.String(collation="C"), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("color", sa.Text(), nullable=True),
        sa.Column("favorite", sa.Boolean(), server_default=no, nullable=False),
        sa.Column("archived", sa.Boolean(), server_default=no, nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("parent_depth", sa.SmallInteger(), nullable=True),
        sa.Column("depth", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("position", sa.String(collation="C"), nullable=False),
        instant("created_at", nullable=False),
        instant("updated_at", nullable=False),
        instant("deleted_at"),
        sa.Column("deleted_with", sa.Uuid(), nullable=True),
        instant("scrubbed_at"),
        sa.CheckConstraint("version > 0", name=op.f("projects_version_positive")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 100", name=op.f("projects_name_length")),
        sa.CheckConstraint("char_length(name_key) <= 200", name=op.f("projects_name_key_length")),
        sa.CheckConstraint("char_length(description) <= 10000", name=op.f("projects_description_length")),
        sa.CheckConstraint(COLOR, name=op.f("projects_color_sound")),
        sa.CheckConstraint(PLACE, name=op.f("projects_position_sound")),
        sa.CheckConstraint("depth BETWEEN 0 AND 4", name=op.f("projects_depth_limit")),
        sa.CheckConstraint(DEPTH_FOLLOWS, name=op.f("projects_depth_follows")),
        sa.CheckConstraint(TRASH, name=op.f("projects_trash_sound")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("projects_user_id_fkey"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["user_id", "parent_id", "parent_depth"],
            ["projects.user_id", "projects.id", "projects.depth"],
            name="projects_depth_fkey",
            ondelete="NO ACTION",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "parent_id"],
            ["projects.user_id", "projects.id"],
            name="projects_parent_fkey",
            ondelete="NO ACTION",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("projects_pkey")),
        sa.UniqueConstraint("user_id", "version", name=op.f("projects_user_id_version_key")),
        sa.UniqueConstraint("user_id", "id", "depth", name="projects_depth"),
    )
    living = sa.text("deleted_at IS NULL")
    op.create_index("projects_name", "projects", ["user_id", "name"], unique=True, postgresql_where=living)
    op.create_index("projects_position", "projects", ["user_id", "position", "id"], postgresql_where=living)
    op.create_index("projects_named", "projects", ["user_id", "name_key", "id"], postgresql_where=living)
    nested = sa.text("parent_id IS NOT NULL")
    op.create_index("projects_parent", "projects", ["user_id", "parent_id"], postgresql_where=nested)
    trashed = sa.text("deleted_at IS NOT NULL AND scrubbed_at IS NULL")
    op.create_index("projects_trash", "projects", ["user_id", "deleted_at", "id"], postgresql_where=trashed)
    op.execute(
        "CREATE TRIGGER projects_version_grows AFTER UPDATE ON projects FOR EACH ROW "
        "WHEN (new.version <= old.version) EXECUTE FUNCTION version_must_grow()"
    )

    for name in ("project_id", "parent_id", "deleted_with"):
        op.add_column("tasks", sa.Column(name, sa.Uuid(), nullable=True))
    op.add_column("tasks", sa.Column("position", sa.String(collation="C"), nullable=True))
    op.add_column("tasks", instant("scrubbed_at"))
    for name, condition in (
        ("position_sound", PLACE),
        ("parent_is_another", "parent_id <> id"),
        ("trash_sound", TRASH),
    ):
        op.create_check_constraint(op.f(f"tasks_{name}"), "tasks", condition, postgresql_not_valid=True)
    for name, to in (("project", "projects"), ("parent", "tasks")):
        op.create_foreign_key(
            f"tasks_{name}_fkey",
            "tasks",
            to,
            ["user_id", f"{name}_id"],
            ["user_id", "id"],
            ondelete="NO ACTION",
            postgresql_not_valid=True,
        )
    op.add_column("filters", instant("scrubbed_at"))
    _sorts_of_filters(f"{SORTS}, 'position'")


def _sorts_of_filters(sorts: str) -> None:
    op.drop_constraint(op.f("filters_sort_known"), "filters")
    condition = f"sort IN ({sorts})"
    op.create_check_constraint(op.f("filters_sort_known"), "filters", condition, postgresql_not_valid=True)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    _sorts_of_filters(SORTS)
    op.drop_column("filters", "scrubbed_at")
    for name in ("project_id", "parent_id", "deleted_with", "position", "scrubbed_at"):
        op.drop_column("tasks", name)
    op.drop_table("projects")
    op.execute("DROP FUNCTION place_of(text, timestamptz)")
