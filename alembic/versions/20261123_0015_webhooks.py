"""Webhooks: addresses that are told of changes, and what they were told; the version that a row was made with.

Revises: 20261123_0014
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261123_0015"
down_revision = "20261123_0014"
branch_labels = None
depends_on = None


SYNCED = ("tasks", "projects", "comments", "filters", "dependencies", "tags")


def _instant(name: str, *, nullable: bool = False) -> sa.Column[object]:
    default = None if nullable else sa.text("clock_timestamp()")
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    op.create_table(
        "webhooks",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("events", postgresql.JSONB(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("former_secret", sa.Text(), nullable=True),
        _instant("former_until", nullable=True),
        sa.Column("told_version", sa.BigInteger(), nullable=False),
        sa.Column("settled_version", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Uuid(), nullable=False),
        sa.Column("claim", sa.Uuid(), nullable=True),
        _instant("claimed_until"),
        sa.Column("failures", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        _instant("failing_since", nullable=True),
        _instant("next_try_at"),
        _instant("disabled_at", nullable=True),
        sa.Column("disabled_because", sa.Text(), nullable=True),
        _instant("created_at"),
        _instant("updated_at"),
        sa.CheckConstraint("char_length(url) BETWEEN 1 AND 2000", name=op.f("webhooks_url_length")),
        sa.CheckConstraint("char_length(description) BETWEEN 1 AND 100", name=op.f("webhooks_description_length")),
        sa.CheckConstraint("jsonb_typeof(events) = 'array'", name=op.f("webhooks_events_array")),
        sa.CheckConstraint("told_version >= 0", name=op.f("webhooks_told_version_sound")),
        sa.CheckConstraint(
            "(disabled_at IS NULL) = (disabled_because IS NULL)", name=op.f("webhooks_disabled_because_something")
        ),
        sa.CheckConstraint("num_nonnulls(former_secret, former_until) <> 1", name=op.f("webhooks_former_secret_ends")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("webhooks_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("webhooks_pkey")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("tries", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        _instant("created_at"),
        _instant("delivered_at", nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("webhook_deliveries_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "webhook_id"],
            ["webhooks.user_id", "webhooks.id"],
            name="webhook_deliveries_webhook_fkey",
            ondelete="NO ACTION",
        ),
        sa.PrimaryKeyConstraint("user_id", "webhook_id", "id", name=op.f("webhook_deliveries_pkey")),
    )
    op.create_index(
        "webhook_deliveries_pending",
        "webhook_deliveries",
        ["user_id", "webhook_id", "id"],
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.create_index("webhook_deliveries_delivered", "webhook_deliveries", ["delivered_at"])
    for table in SYNCED:
        op.add_column(table, sa.Column("created_version", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("SET LOCAL statement_timeout = '5s'")
    for table in SYNCED:
        op.drop_column(table, "created_version")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhooks")
