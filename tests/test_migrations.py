"""Migrations go up and down on a filled database, agree with the models, and keep nobody waiting."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from backend import migrating, pooler
from backend.config import SettingsError
from backend.models import SCHEMA_VERSION
from tests import servers
from tests.client import fresh_account
from tests.conftest import settings_for, worker
from tests.migrations_agree import differences, dump
from tests.migrations_linted import faults, found_in
from tests.pooler import PROGRAM, needs_pgbouncer, pgbouncer
from tests.sample_migrations import COLUMN, INDEX, RELEASE, TIMEOUTS, VALIDATION, Samples
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

INDEX_OF_TITLES = ("""ddl.build_index("tasks_color", "tasks", ["title_key"])""", "pass")


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def fill(url: str) -> None:
    with connected(url) as connection:
        connection.execute(text(FILL))
        connection.commit()


def indexes(url: str) -> dict[str, bool]:
    """Those of tasks, and whether they are valid."""
    with connected(url) as connection:
        of = "SELECT indexrelid::regclass::text AS name, indisvalid FROM pg_index WHERE indrelid = 'tasks'::regclass"
        return {row.name: row.indisvalid for row in connection.execute(text(of))}


def at(url: str) -> str:
    with connected(url) as connection:
        revision: str = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        return revision


def test_models_and_migrations_agree(server: str) -> None:
    assert differences(server) == []


def test_a_column_that_is_about_to_go_is_no_difference_and_one_that_models_have_is(server: str) -> None:
    found = differences(server, ["audit_events.device"])

    assert found
    assert all("device" in line for line in found)


def test_every_migration_goes_up_and_down_on_a_filled_database(empty_database: str) -> None:
    before = dump(empty_database)
    fill(empty_database)

    servers.migrate(empty_database, "base")
    left = [line for line in dump(empty_database) if line.startswith("CREATE") and "EXTENSION" not in line]
    servers.migrate(empty_database)

    assert left == []
    assert dump(empty_database) == before


def test_the_code_is_written_for_the_newest_migration() -> None:
    scripts = ScriptDirectory.from_config(Config(ROOT / "alembic.ini"))

    assert scripts.get_heads() == [SCHEMA_VERSION]


def test_the_sql_of_the_migrations_stops_nobody(tmp_path: Path) -> None:
    assert list(faults(Samples(tmp_path, "", *RELEASE).config)) == []


BAD = {
    "require-concurrent-index-creation": 'op.create_index("tasks_color", "tasks", ["color"])',
    "adding-not-nullable-field": 'op.alter_column("tasks", "description", nullable=False)',
    "adding-field-with-default": 'op.add_column("tasks", sa.Column("x", sa.Uuid(), server_default=sa.func.random()))',
    "constraint-missing-not-valid": 'op.create_check_constraint("x", "tasks", "length(title) > 1")',
    "changing-column-type": 'op.alter_column("tasks", "version", type_=sa.Numeric())',
    "renaming-column": 'op.alter_column("tasks", "title", new_column_name="name")',
    "ban-drop-column": 'op.drop_column("tasks", "title")',
    "no-data": """op.execute("UPDATE tasks SET title = 'x'")""",
    "concurrent-alone": COLUMN[0].removeprefix(TIMEOUTS) + "\n    " + INDEX[0],
}


def test_a_migration_that_would_stop_somebody_is_refused(tmp_path: Path) -> None:
    unbounded = COLUMN[0].removeprefix(TIMEOUTS)
    bad = [(TIMEOUTS + body, "pass") for body in BAD.values()]

    found = set(faults(Samples(tmp_path, "", *bad, (unbounded, "pass")).config))

    expected = [*BAD, "require-lock-timeout"]
    by_revision = {(fault.revision, fault.rule) for fault in found}
    assert {(f"sample_{number}", rule) for number, rule in enumerate(expected)} <= by_revision
    assert SCHEMA_VERSION not in {fault.revision for fault in found}


def test_adding_and_validating_in_one_transaction_is_refused() -> None:
    sql = "BEGIN; SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '5s'; {} COMMIT;"
    added = "ALTER TABLE tasks ADD CONSTRAINT x CHECK (version > 1) NOT VALID;"

    assert not found_in(sql.format(added))
    assert found_in(sql.format(added + "ALTER TABLE tasks VALIDATE CONSTRAINT x;"))


@pytest.mark.long
async def test_a_release_migrates_up_and_down_while_tasks_are_read_and_written(
    empty_database: str, tmp_path: Path
) -> None:
    """The load is this code's at the newest landed migration: what the release before does meanwhile."""
    samples = Samples(tmp_path, empty_database, *RELEASE)
    acknowledged: set[str] = set()
    refused: list[str] = []
    going = True

    async with worker(settings_for(empty_database, tmp_path)) as (app, http):
        client = await fresh_account(http, app.state.tend, "alice")

        async def load() -> None:
            while going:
                made = await client.post("/v1/tasks", {"title": "Water the figs"})
                if made.status_code == 201:
                    acknowledged.add(made.json()["id"])
                answers = (made, await client.get("/v1/tasks"))
                refused.extend(answer.text for answer in answers if answer.status_code not in {200, 201})

        working = [asyncio.create_task(load()) for _ in range(3)]
        for step in (samples.up, samples.down, samples.up):
            await asyncio.to_thread(step)
        going = False
        await asyncio.gather(*working)
        kept = {task["id"] for task in await client.walk(limit=200)}

    assert refused == []
    assert acknowledged == kept
    assert indexes(empty_database)["tasks_color"]


def test_a_second_deployment_waits_for_the_first_and_is_told(empty_database: str, tmp_path: Path) -> None:
    with connected(empty_database) as other:
        other.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": migrating.LOCK})
        other.commit()
        told: list[str] = []

        def hear(message: str) -> None:
            told.append(message)
            other.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": migrating.LOCK})
            other.commit()

        Samples(tmp_path, empty_database, COLUMN, say=hear).up()

    assert at(empty_database) == "sample_0"
    assert [message for message in told if "Another deployment" in message] == told != []


def test_a_deployment_waits_for_another_no_longer_than_it_may(empty_database: str, tmp_path: Path) -> None:
    with connected(empty_database) as other:
        other.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": migrating.LOCK})
        other.commit()

        with pytest.raises(SystemExit, match="Another deployment"):
            Samples(tmp_path, empty_database, COLUMN, patience=0.1).up()

    assert at(empty_database) == SCHEMA_VERSION


def test_an_index_is_built_while_another_deployment_waits(empty_database: str, tmp_path: Path) -> None:
    """A statement that waits for the lock would be a transaction, for whose end the build would wait."""
    told = threading.Event()
    samples = Samples(tmp_path, empty_database, COLUMN, say=lambda _message: told.set())
    with connected(empty_database) as first, ThreadPoolExecutor(1) as thread:
        first.execution_options(isolation_level="AUTOCOMMIT")
        first.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": migrating.LOCK})
        second = thread.submit(samples.up)
        assert told.wait(20)

        first.execute(text("SET statement_timeout = '5s'"))
        first.execute(text("CREATE INDEX CONCURRENTLY tasks_color ON tasks (title_key)"))
        first.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": migrating.LOCK})
        second.result(20)

    assert at(empty_database) == "sample_0"


def test_no_other_deployment_begins_while_an_index_is_built(empty_database: str, tmp_path: Path) -> None:
    """The build ends the transaction, and would end a lock that was the transaction's."""
    held = """with ddl._no_transaction():
        here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        locks = f"(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND {here})"
        op.execute(f"DO $$ BEGIN ASSERT {locks} = 1; END $$")"""
    samples = Samples(tmp_path, empty_database, (held, "pass"))

    samples.up()

    assert at(empty_database) == "sample_0"


def test_a_busy_table_is_left_to_others_and_tried_again(empty_database: str, tmp_path: Path) -> None:
    quickly = (COLUMN[0].replace("'1s'", "'100ms'"), "pass")
    with connected(empty_database) as reader:
        reader.execute(text("SELECT count(*) FROM tasks"))  # and its transaction stays open
        told: list[str] = []

        def hear(message: str) -> None:
            told.append(message)
            with connected(empty_database) as another:  # who would wait behind the migration, if it waited still
                another.execute(text("SET statement_timeout = '2s'"))
                another.execute(text("SELECT count(*) FROM tasks"))
            reader.rollback()

        Samples(tmp_path, empty_database, quickly, say=hear).up()

    (message,) = told
    assert "busy" in message
    assert "process" in message
    assert at(empty_database) == "sample_0"


def test_a_table_that_stays_busy_is_given_up_and_those_before_stay_done(empty_database: str, tmp_path: Path) -> None:
    others = TIMEOUTS + 'op.add_column("users", sa.Column("color", sa.Text()))'
    quickly = COLUMN[0].replace("'1s'", "'100ms'")
    samples = Samples(tmp_path, empty_database, (others, "pass"), (quickly, "pass"), patience=0.5)
    with connected(empty_database) as reader:
        reader.execute(text("SELECT count(*) FROM tasks"))

        with pytest.raises(SystemExit, match="did not get its lock"):
            samples.up()
        assert at(empty_database) == "sample_0"

    samples.up()
    assert at(empty_database) == "sample_1"


def test_a_migration_that_fails_leaves_those_before_it_done_and_the_next_run_goes_on(
    empty_database: str, tmp_path: Path
) -> None:
    samples = Samples(tmp_path, empty_database, COLUMN, ('op.execute("SELECT 1 / 0")', "pass"))

    with pytest.raises(DBAPIError, match="division by zero"):
        samples.up()
    assert at(empty_database) == "sample_0"

    Samples(tmp_path, empty_database, COLUMN, VALIDATION).up()
    assert at(empty_database) == "sample_1"


def test_a_database_of_a_newer_release_is_left_as_it_is(empty_database: str, tmp_path: Path) -> None:
    Samples(tmp_path, empty_database, COLUMN).up()
    told: list[str] = []
    (tmp_path / "none").mkdir()

    Samples(tmp_path / "none", empty_database, say=told.append, leave_newer=True).up()

    assert at(empty_database) == "sample_0"
    assert ["sample_0" in line and "left as it is" in line for line in told] == [True]
    with pytest.raises(CommandError):  # alembic's own commands say so
        Samples(tmp_path / "none", empty_database).up()


def test_a_database_of_which_nobody_knows_is_refused(empty_database: str, tmp_path: Path) -> None:
    with connected(empty_database) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '2020_other'"))
        connection.commit()

    with pytest.raises(CommandError, match="2020_other"):
        Samples(tmp_path, empty_database).up()


def test_an_index_that_was_left_unfinished_is_built_anew(empty_database: str, tmp_path: Path) -> None:
    fill(empty_database)
    unique = ("""ddl.build_index("tasks_color", "tasks", ["title_key"], unique=True)""", "pass")
    samples = Samples(tmp_path, empty_database, unique)
    with pytest.raises(DBAPIError, match="could not create unique index"):
        samples.up()
    assert indexes(empty_database)["tasks_color"] is False
    with connected(empty_database) as connection:
        connection.execute(text("DELETE FROM tasks"))
        connection.commit()

    samples.up()

    assert indexes(empty_database)["tasks_color"] is True


def test_a_deployment_that_is_cut_off_lets_go_of_everything(empty_database: str, tmp_path: Path) -> None:
    cut = "SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(DBAPIError):
        Samples(
            tmp_path,
            empty_database,
            (
                f"""with ddl._no_transaction():
        op.execute("{cut}")""",
                "pass",
            ),
        ).up()

    Samples(tmp_path, empty_database, INDEX_OF_TITLES, patience=0).up()

    assert indexes(empty_database)["tasks_color"]


def test_a_pooler_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"DIRECT_DATABASE_URL.*ep-cool-pooler.example.com is a pooler"):
        Samples(tmp_path, "postgresql+psycopg://u:hidden@ep-cool-pooler.example.com/tend").up()


@needs_pgbouncer
@pytest.mark.parametrize("settings", [{}, {"ignore_startup_parameters": "options"}], ids=["refuses", "drops"])
def test_a_pooler_is_refused_by_how_it_answers(empty_database: str, settings: dict[str, Any]) -> None:
    with pgbouncer(PROGRAM, empty_database, **settings) as there:
        url = there.url(empty_database)
        with connected(url) as through:
            assert through.execute(text("SELECT count(*) FROM tasks")).scalar_one() == 0
        with pytest.raises(SettingsError, match=r"127\.0\.0\.1 is a pooler"):
            pooler.refuse(url, "Backups")


def test_a_direct_address_is_none_whatever_options_it_has(database_url: str) -> None:
    given = "&" if "?" in database_url else "?"

    assert not pooler.is_pooled(database_url)
    assert not pooler.is_pooled(f"{database_url}{given}options=-c%20statement_timeout%3D5s")
