"""Migrations go up and down on a filled database, and agree with the models."""

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from backend.models import SCHEMA_VERSION
from tests import servers
from tests.migrations_agree import differences, dump
from tests.servers import ROOT

FILL = """
INSERT INTO users (id, email, email_key, name) SELECT gen_random_uuid(), n || '@b.co', n || '@b.co', 'x'
FROM generate_series(1, 20) n;
INSERT INTO sync_state (user_id) SELECT id FROM users;
INSERT INTO sessions (id, user_id, expires_at) SELECT gen_random_uuid(), id, now() FROM users;
INSERT INTO refresh_tokens (digest, session_id) SELECT sha256(id::text::bytea), id FROM sessions;
INSERT INTO tasks (user_id, id, version, title, title_key, tags)
SELECT id, gen_random_uuid(), n, 'Task ' || n, 'task ' || n, '["a"]' FROM users, generate_series(1, 50) n;
INSERT INTO filters (user_id, id, version, name, name_key, filter)
SELECT id, gen_random_uuid(), n, 'Filter ' || n, 'filter ' || n, 'figs' FROM users, generate_series(51, 60) n;
"""


def test_models_and_migrations_agree(server: str) -> None:
    assert differences(server) == []


def test_every_migration_goes_up_and_down_on_a_filled_database(empty_database: str) -> None:
    before = dump(empty_database)
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        connection.execute(text(FILL))
    engine.dispose()

    servers.migrate(empty_database, "base")
    left = [line for line in dump(empty_database) if line.startswith("CREATE") and "EXTENSION" not in line]
    servers.migrate(empty_database)

    assert left == []
    assert dump(empty_database) == before


def test_the_code_is_written_for_the_newest_migration() -> None:
    scripts = ScriptDirectory.from_config(Config(ROOT / "alembic.ini"))

    assert scripts.get_heads() == [SCHEMA_VERSION]


@pytest.mark.parametrize("path", sorted((ROOT / "alembic" / "versions").glob("*.py")), ids=lambda path: path.stem)
def test_a_migration_waits_for_no_lock_for_long(path: Path) -> None:
    assert path.read_text().count("SET LOCAL lock_timeout") == 2, "one in upgrade, one in downgrade"
