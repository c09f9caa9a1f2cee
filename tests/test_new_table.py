"""A table of a user's data that was added without care is named by what holds all tables to their promises."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Column, Connection, DateTime, Table, Text, Uuid, create_engine, select, text
from sqlmodel import SQLModel

from backend import wall
from backend.services import export
from backend.wall import WallBreached
from tests import test_catalog
from tests.test_statement_counts import unknown_reads
from tests.test_trash import test_every_table_with_a_trash_says_what_its_tombstones_leave_out as scrubs_what_is_written

CARELESS = """
CREATE TABLE jottings (
    id uuid PRIMARY KEY, user_id uuid NOT NULL, version bigint NOT NULL, body text CHECK (body <> ''),
    task_number bigserial UNIQUE, session_id uuid REFERENCES sessions (id), deleted_at timestamptz
)
"""
SOUND = """
CREATE TABLE jottings (
    user_id uuid REFERENCES users ON DELETE CASCADE, id uuid, version bigint NOT NULL,
    body text NOT NULL CONSTRAINT jottings_body_length CHECK (char_length(body) BETWEEN 1 AND 10000),
    task_id uuid, deleted_at timestamptz, deleted_with uuid, scrubbed_at timestamptz,
    PRIMARY KEY (user_id, id), UNIQUE (user_id, version),
    FOREIGN KEY (user_id, task_id) REFERENCES tasks (user_id, id)
);
CREATE INDEX jottings_task ON jottings (user_id, task_id);
CREATE TRIGGER jottings_version_grows AFTER UPDATE ON jottings FOR EACH ROW
WHEN (new.version <= old.version) EXECUTE FUNCTION version_must_grow()
"""
Check = Callable[[Connection], None]
CHECKS: list[Check] = [
    test_catalog.test_every_table_of_users_data_is_known_to_the_wall,
    test_catalog.test_every_key_and_every_index_of_a_user_s_table_begins_with_the_user,
    test_catalog.test_a_row_of_a_user_can_only_refer_to_rows_of_the_same_user,
    test_catalog.test_every_constraint_has_a_name_of_ours,
    test_catalog.test_every_unique_key_of_a_user_s_table_has_the_user_in_it,
    test_catalog.test_foreign_keys_of_users_tables_lead_to_the_same_user_or_to_the_account,
    test_catalog.test_every_row_that_is_numbered_takes_a_number_of_its_own_that_only_grows,
    test_catalog.test_nothing_is_numbered_by_a_sequence,
]


@contextmanager
def made(url: str, statements: str) -> Iterator[Connection]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statements))
        yield connection
    engine.dispose()


@contextmanager
def modelled(*columns: Column[Any]) -> Iterator[Table]:
    """Known to the application as it would be by its class."""
    table = Table("jottings", SQLModel.metadata, *columns)
    try:
        yield table
    finally:
        SQLModel.metadata.remove(table)


def columns(**body: Any) -> list[Column[Any]]:
    keys = [Column(name, Uuid(), primary_key=True) for name in ("user_id", "id")]
    ends = [Column(name, DateTime(timezone=True)) for name in ("deleted_at", "scrubbed_at")]
    return [*keys, Column("body", Text(), **body), *ends]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_each_promise_is_seen_to_be_broken(empty_database: str, check: Check) -> None:
    with made(empty_database, CARELESS) as connection, pytest.raises(AssertionError, match="jottings"):
        check(connection)


def test_a_sound_one_keeps_them_all(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_catalog, "USERS_OWN", {*test_catalog.USERS_OWN, "jottings"})
    with made(empty_database, SOUND) as connection, modelled(*columns(info={"scrubbed": "-"})):
        for check in CHECKS:
            check(connection)
        scrubs_what_is_written()


def test_the_wall_the_export_and_the_trash_know_it_without_being_told() -> None:
    with modelled(*columns()) as jottings:
        assert jottings in export.tables()
        with pytest.raises(WallBreached, match="jottings"):
            wall.check(select(jottings.c.body))
        with pytest.raises(AssertionError, match="jottings"):
            scrubs_what_is_written()


async def test_its_list_is_asked_how_many_statements_it_takes(app: FastAPI) -> None:
    assert unknown_reads(app) == set()
    other = FastAPI(routes=[*app.routes], openapi_url=None)
    other.add_api_route("/v1/jottings", lambda: None, methods=["GET"])
    assert unknown_reads(other) == {"/v1/jottings"}
