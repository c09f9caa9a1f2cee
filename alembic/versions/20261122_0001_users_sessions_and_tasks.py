"""Users, sessions and tasks, with the search configurations that tasks are indexed by.

Revises: nothing; this is the first.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261122_0001"
down_revision = None
branch_labels = None
depends_on = None

STEMMERS = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}

VERSION_GROWS = """
CREATE FUNCTION version_must_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'version % of % does not follow %', new.version, tg_table_name, old.version;
END $$
"""


def instant(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column:
    default = sa.text("clock_timestamp()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gin")
    op.execute("CREATE EXTENSION IF NOT EXISTS unaccent")
    for name in (*STEMMERS.values(), "simple"):
        stemmer = "simple" if name == "simple" else f"{name}_stem"
        op.execute(f"CREATE TEXT SEARCH CONFIGURATION tend_{name} (COPY = pg_catalog.{name})")
        op.execute(
            f"ALTER TEXT SEARCH CONFIGURATION tend_{name} "
            f"ALTER MAPPING FOR hword, hword_part, word WITH unaccent, {stemmer}"
        )
        op.execute(
            f"ALTER TEXT SEARCH CONFIGURATION tend_{name} "
            "ALTER MAPPING FOR numhword, hword_numpart, numword WITH unaccent, simple"
        )
    cases = "\n".join(f"WHEN '{code}' THEN 'tend_{name}'::regconfig" for code, name in STEMMERS.items())
    op.execute(
        sa.text(
            "CREATE FUNCTION search_config(language text) RETURNS regconfig LANGUAGE sql IMMUTABLE PARALLEL SAFE "
            f"RETURN CASE language\n{cases}\nELSE 'tend_simple'::regconfig END"
        )
    )
    # Or `home/plants` would be a path and `<figs>` a tag of HTML, of which no word is found.
    op.execute(
        "CREATE FUNCTION search_text(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE "
        "RETURN translate($1, '/<>', '   ')"
    )
    op.execute(VERSION_GROWS)

    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("language", sa.Text(), server_default="en", nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("is_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        instant("created_at", now=True),
        instant("updated_at", now=True),
        sa.CheckConstraint("char_length(email) <= 254", name=op.f("users_email_length")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 100", name=op.f("users_name_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
        sa.UniqueConstraint("email_key", name=op.f("users_email_key_key")),
    )

    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        instant("created_at", now=True),
        instant("last_used_at", now=True),
        instant("expires_at"),
        instant("ended_at", nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("sessions_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("sessions_pkey")),
    )
    op.create_index(op.f("sessions_user_id"), "sessions", ["user_id"])

    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        instant("created_at", now=True),
        instant("used_at", nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("refresh_tokens_session_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("refresh_tokens_pkey")),
    )
    op.create_index(op.f("refresh_tokens_session_id"), "refresh_tokens", ["session_id"])

    op.create_table(
        "sync_state",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("floor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("epoch", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.CheckConstraint("floor <= seq", name=op.f("sync_state_floor_below_seq")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("sync_state_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("sync_state_pkey")),
    )

    op.create_table(
        "tasks",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("title_key", sa.String(collation="C"), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "priority",
            sa.Enum("low", "medium", "high", name="priority"),
            server_default="medium",
            nullable=False,
        ),
        instant("due_date", nullable=True),
        sa.Column("tags", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("completed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        instant("completed_at", nullable=True),
        sa.Column("language", sa.Text(), server_default="en", nullable=False),
        instant("created_at", now=True),
        instant("updated_at", now=True),
        instant("deleted_at", nullable=True),
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            # '.' matches no query: 99 positions keep a phrase from reaching from one part into the next.
            sa.Computed(
                "setweight(to_tsvector(search_config(language), search_text(title)), 'A') || '''.''\\:99'::tsvector || "
                "setweight(to_tsvector(search_config(language), search_text(tags::text)::jsonb), 'B') || "
                "'''.''\\:99'::tsvector || "
                "setweight(to_tsvector(search_config(language), search_text(coalesce(description, ''))), 'C')",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.CheckConstraint("version > 0", name=op.f("tasks_version_positive")),
        sa.CheckConstraint("char_length(title) BETWEEN 1 AND 200", name=op.f("tasks_title_length")),
        sa.CheckConstraint("char_length(title_key) <= 200", name=op.f("tasks_title_key_length")),
        sa.CheckConstraint("char_length(description) <= 10000", name=op.f("tasks_description_length")),
        sa.CheckConstraint("completed = (completed_at IS NOT NULL)", name=op.f("tasks_completed_with_time")),
        sa.CheckConstraint(
            "due_date BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'",
            name=op.f("tasks_due_date_range"),
        ),
        sa.CheckConstraint(
            "jsonb_typeof(tags) = 'array' AND jsonb_array_length(tags) <= 20 AND NOT jsonb_path_exists(tags,\n"
            ' \'strict $[*] ? (@.type() != "string" || !(@ like_regex "^.{1,50}$" flag "s"))\')',
            name=op.f("tasks_tags_sound"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("tasks_user_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("tasks_pkey")),
        sa.UniqueConstraint("user_id", "version", name=op.f("tasks_user_id_version_key")),
    )
    living = sa.text("deleted_at IS NULL")
    op.create_index(
        "tasks_created",
        "tasks",
        ["user_id", "created_at", "id"],
        postgresql_include=["completed", "priority", "due_date"],
        postgresql_where=living,
    )
    op.create_index("tasks_title", "tasks", ["user_id", "title_key", "id"], postgresql_where=living)
    op.create_index("tasks_priority", "tasks", ["user_id", "priority", "id"], postgresql_where=living)
    for name, never in (("tasks_due", "infinity"), ("tasks_due_falling", "-infinity")):
        key = sa.text(f"coalesce(due_date, '{never}')")
        op.create_index(name, "tasks", ["user_id", key, "id"], postgresql_where=living)
    for key, operators in (("tags", {"tags": "jsonb_path_ops"}), ("search", {})):
        op.create_index(
            f"tasks_{key}",
            "tasks",
            ["user_id", key],
            postgresql_using="gin",
            postgresql_ops=operators,
            postgresql_with={"fastupdate": "off"},
        )
    # AFTER: a BEFORE trigger would make Postgres compute the search vector anew at every tick of a box.
    op.execute(
        "CREATE TRIGGER tasks_version_grows AFTER UPDATE ON tasks FOR EACH ROW "
        "WHEN (new.version <= old.version) EXECUTE FUNCTION version_must_grow()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("tasks", "sync_state", "refresh_tokens", "sessions", "users"):
        op.drop_table(table)
    op.execute("DROP TYPE priority")
    op.execute("DROP FUNCTION version_must_grow()")
    op.execute("DROP FUNCTION search_config(text)")
    op.execute("DROP FUNCTION search_text(text)")
    for name in (*STEMMERS.values(), "simple"):
        op.execute(f"DROP TEXT SEARCH CONFIGURATION tend_{name}")
    # The extensions stay: somebody else in the database may use them.
