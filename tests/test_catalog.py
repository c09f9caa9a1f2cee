"""The promises that the database keeps, read from its own catalog, so that a new table keeps them too."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlmodel import SQLModel

from backend import wall
from backend.rules.languages import LANGUAGES

IDENTITY = {
    "access_tokens",
    "confirmations",
    "outside_identities",
    "recovery_codes",
    "refresh_tokens",
    "second_factors",
    "sessions",
    "users",
}
"""Tables that say who somebody is: asked before there is a user."""
OPERATION = {"alembic_version", "signing_keys", "throttles"}
"""Tables of the service itself, in which nobody has a row. Any other table of the schema holds a user's data."""
USERS_OWN = {
    "activity",
    "audit_events",
    "comments",
    "dependencies",
    "filters",
    "idempotency_keys",
    "projects",
    "sync_clients",
    "sync_receipts",
    "sync_state",
    "tags",
    "tasks",
    "webhook_deliveries",
    "webhooks",
}
NEVER_CHANGED = {"activity"}
"""Tables whose rows stay as they were written."""
BY_AGE = {"idempotency_keys_created", "webhook_deliveries_delivered"}
"""Indexes for what goes away for everybody at once: the one way to ask for rows whoever's they are."""

CONSTRAINTS = text(
    """
    SELECT c.conname AS name, c.contype::text AS kind, c.confdeltype::text AS on_delete,
           t.relname AS of, f.relname AS to,
           (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY k(c, n)
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.c) AS columns
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid LEFT JOIN pg_class f ON f.oid = c.confrelid
    WHERE c.connamespace = 'public'::regnamespace
    """
)
UNIQUE_INDEXES = text(
    """
    SELECT t.relname AS of, i.relname AS name, pg_get_indexdef(x.indexrelid, 1, true) AS first
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    WHERE t.relnamespace = 'public'::regnamespace AND t.relkind IN ('r', 'p')
    """
)
FOREIGN_KEYS = text(
    """
    SELECT c.conname AS name, t.relname AS of, f.relname AS to,
           (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY k(c, n)
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.c) AS columns,
           (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.confkey) WITH ORDINALITY k(c, n)
            JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.c) AS referred
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class f ON f.oid = c.confrelid
    WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace
    """
)
UNIQUE_KEYS = text(
    """
    SELECT t.relname AS of, i.relname AS name,
           ARRAY(SELECT a.attname::text FROM pg_attribute a
                 WHERE a.attrelid = t.oid AND a.attnum = ANY (x.indkey::int2[])) AS columns
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    WHERE t.relnamespace = 'public'::regnamespace AND (x.indisunique OR x.indisexclusion)
    """
)
TRIGGERS = text("SELECT tgrelid::regclass::text AS of, tgname::text AS name FROM pg_trigger WHERE NOT tgisinternal")
NUMBERED = text(
    "SELECT attrelid::regclass::text FROM pg_attribute WHERE attname = 'version' AND attnum > 0 AND NOT attisdropped"
)
SEQUENCES = text("SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'")
TABLES = text(
    "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
)


@pytest.fixture(scope="module")
def catalog(database_url: str) -> Iterator[Connection]:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def tables_of_users(catalog: Connection) -> set[str]:
    return set(catalog.execute(TABLES).scalars()) - IDENTITY - OPERATION


def test_every_table_of_users_data_is_known_to_the_wall(catalog: Connection) -> None:
    known = {name for name, table in SQLModel.metadata.tables.items() if wall.is_owned(table)}

    assert tables_of_users(catalog) == known == USERS_OWN


def test_every_key_and_every_index_of_a_user_s_table_begins_with_the_user(catalog: Connection) -> None:
    wrong = [
        row.name
        for row in catalog.execute(CONSTRAINTS)
        if row.of in tables_of_users(catalog) and row.kind in "pu" and row.columns[0] != "user_id"
    ]
    wrong += [
        row.name
        for row in catalog.execute(UNIQUE_INDEXES)
        if row.of in tables_of_users(catalog) and "user_id" not in row.first and row.name not in BY_AGE
    ]

    assert wrong == []


def test_a_row_of_a_user_can_only_refer_to_rows_of_the_same_user(catalog: Connection) -> None:
    foreign = [row for row in catalog.execute(CONSTRAINTS) if row.kind == "f"]

    assert foreign
    for row in foreign:
        if row.of in tables_of_users(catalog):
            if row.to == "users":
                assert (row.columns, row.on_delete) == (["user_id"], "c"), row.name  # the account's own end
            else:
                assert (row.columns[0], row.on_delete) == ("user_id", "a"), row.name  # the door detaches


def test_every_constraint_has_a_name_of_ours(catalog: Connection) -> None:
    """PostgreSQL's own names end in _check, and may change with the columns."""
    unnamed = [row.name for row in catalog.execute(CONSTRAINTS) if row.kind == "c" and row.name.endswith("_check")]

    assert unnamed == []


def test_every_language_has_a_configuration_that_folds_accents(catalog: Connection) -> None:
    for language in [*LANGUAGES, "xx", ""]:
        folded, plain = catalog.execute(
            text("SELECT to_tsvector(search_config(:l), 'Crème')::text, to_tsvector(search_config(:l), 'Creme')::text"),
            {"l": language},
        ).one()
        assert folded == plain, language


# What Citus asks of tables that are distributed by user (docs/scale.md).


def test_every_unique_key_of_a_user_s_table_has_the_user_in_it(catalog: Connection) -> None:
    wrong = [
        row.name
        for row in catalog.execute(UNIQUE_KEYS)
        if row.of in tables_of_users(catalog) and "user_id" not in row.columns
    ]

    assert wrong == []


def test_foreign_keys_of_users_tables_lead_to_the_same_user_or_to_the_account(catalog: Connection) -> None:
    theirs = tables_of_users(catalog)
    for key in catalog.execute(FOREIGN_KEYS):
        if key.of in theirs and key.to in theirs:
            assert "user_id" in key.columns, key.name
            assert key.columns.index("user_id") == key.referred.index("user_id"), key.name
        elif key.of in theirs:
            assert key.to == "users", key.name
        else:
            assert key.to not in theirs, key.name  # from the coordinator into a shard


def test_no_trigger_stands_on_a_user_s_table_but_the_one_that_asserts_versions(catalog: Connection) -> None:
    theirs = tables_of_users(catalog)
    found = {(row.of, row.name) for row in catalog.execute(TRIGGERS) if row.of in theirs}

    assert found
    assert found <= {(each, f"{each}_version_grows") for each in theirs}


def test_every_row_that_is_numbered_takes_a_number_of_its_own_that_only_grows(catalog: Connection) -> None:
    numbered = tables_of_users(catalog) & set(catalog.execute(NUMBERED).scalars())
    own = {row.of for row in catalog.execute(CONSTRAINTS) if row.columns == ["user_id", "version"] and row.kind in "pu"}
    growing = {row.of for row in catalog.execute(TRIGGERS) if row.name == f"{row.of}_version_grows"}

    assert numbered
    assert numbered - own == set()
    assert numbered - growing - NEVER_CHANGED == set()


def test_nothing_is_numbered_by_a_sequence(catalog: Connection) -> None:
    assert catalog.execute(SEQUENCES).scalars().all() == []
