"""Devices of sessions, personal access tokens, confirmations by mail, identities elsewhere, second factors,
the audit trail, throttles and signing keys.

Revises: 20261122_0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261122_0004"
down_revision = "20261122_0003"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")


def instant(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=NOW if now else None, nullable=nullable)


def owner(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f(f"{table}_user_id_fkey"), ondelete="CASCADE")


def text(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column:
    return sa.Column(name, sa.Text(), server_default=default, nullable=nullable)


def at_most(table: str, column: str, characters: int) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"char_length({column}) <= {characters}", name=op.f(f"{table}_{column}_length"))


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("users", instant("disabled_at", nullable=True))
    op.add_column("users", instant("ends_at", nullable=True))
    op.create_index("users_ends_at", "users", ["ends_at"], postgresql_where=sa.text("ends_at IS NOT NULL"))
    op.add_column("sessions", text("device", default=""))
    op.add_column("sessions", text("address", default=""))
    op.create_check_constraint(op.f("sessions_device_length"), "sessions", "char_length(device) <= 200")
    op.create_check_constraint(op.f("sessions_address_length"), "sessions", "char_length(address) <= 64")

    op.create_table(
        "access_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        text("name"),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        text("hint"),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        instant("created_at", now=True),
        instant("last_used_at", nullable=True),
        instant("expires_at"),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 100", name=op.f("access_tokens_name_length")),
        sa.CheckConstraint(
            "cardinality(scopes) > 0 AND scopes <@ ARRAY['tasks:read', 'tasks:write', 'account']",
            name=op.f("access_tokens_scopes_known"),
        ),
        owner("access_tokens"),
        sa.PrimaryKeyConstraint("id", name=op.f("access_tokens_pkey")),
        sa.UniqueConstraint("digest", name=op.f("access_tokens_digest_key")),
    )
    op.create_table(
        "confirmations",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        text("purpose"),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        text("email"),
        instant("created_at", now=True),
        instant("expires_at"),
        sa.CheckConstraint("purpose IN ('verify', 'change', 'reset')", name=op.f("confirmations_purpose_known")),
        at_most("confirmations", "email", 254),
        owner("confirmations"),
        sa.PrimaryKeyConstraint("user_id", "purpose", name=op.f("confirmations_pkey")),
        sa.UniqueConstraint("digest", name=op.f("confirmations_digest_key")),
    )
    op.create_table(
        "outside_identities",
        text("issuer"),
        text("subject"),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        text("provider"),
        text("email", nullable=True),
        instant("created_at", now=True),
        at_most("outside_identities", "issuer", 500),
        sa.CheckConstraint("char_length(subject) BETWEEN 1 AND 255", name=op.f("outside_identities_subject_length")),
        owner("outside_identities"),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("outside_identities_pkey")),
        sa.UniqueConstraint("id", name=op.f("outside_identities_id_key")),
    )
    for table in ("access_tokens", "outside_identities"):
        op.create_index(op.f(f"{table}_user_id"), table, ["user_id"])
    op.create_table(
        "second_factors",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        text("secret"),
        sa.Column("last_step", sa.BigInteger(), server_default="0", nullable=False),
        instant("created_at", now=True),
        instant("confirmed_at", nullable=True),
        owner("second_factors"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("second_factors_pkey")),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        instant("created_at", now=True),
        owner("recovery_codes"),
        sa.PrimaryKeyConstraint("user_id", "digest", name=op.f("recovery_codes_pkey")),
    )
    op.create_table(
        "audit_events",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        instant("at", now=True),
        text("kind"),
        text("address"),
        text("device"),
        sa.Column("detail", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        at_most("audit_events", "kind", 40),
        at_most("audit_events", "device", 200),
        at_most("audit_events", "address", 64),
        owner("audit_events"),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("audit_events_pkey")),
    )
    op.create_index(
        "refresh_tokens_used_at", "refresh_tokens", ["used_at"], postgresql_where=sa.text("used_at IS NOT NULL")
    )
    op.create_table(
        "throttles",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        instant("until"),
        sa.PrimaryKeyConstraint("key", name=op.f("throttles_pkey")),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "signing_keys",
        text("algorithm"),
        sa.Column("number", sa.Integer(), nullable=False),
        text("kid"),
        text("sealed"),
        instant("created_at", now=True),
        instant("signs_from"),
        instant("former_until"),
        sa.CheckConstraint("algorithm IN ('HS256', 'ES256')", name=op.f("signing_keys_algorithm_known")),
        sa.PrimaryKeyConstraint("algorithm", "number", name=op.f("signing_keys_pkey")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in (
        "signing_keys",
        "throttles",
        "audit_events",
        "recovery_codes",
        "second_factors",
        "outside_identities",
        "confirmations",
        "access_tokens",
    ):
        op.drop_table(table)
    op.drop_index("refresh_tokens_used_at", "refresh_tokens")
    op.drop_column("sessions", "address")
    op.drop_column("sessions", "device")
    op.drop_column("users", "ends_at")
    op.drop_column("users", "disabled_at")
