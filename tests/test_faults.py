"""What is left of a worker after storms of failures, and what a database that answers "not now" is to a client.

`make faults` breaks the same for real, under load; docs/reliability.md has what came out.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import func, select

from backend.config import Settings
from backend.connection import is_away
from backend.db import Database
from backend.errors import Unavailable
from backend.main import create_app
from backend.scope import Changing, Scope
from backend.state import State
from tests import servers
from tests.client import Client, fresh_account
from tests.conftest import settings_for, worker
from tests.faults.check import compare
from tests.faults.load import Hand
from tests.faults.people import Kept, Person, Saw
from tests.pooler import direct_only
from tests.test_input import assert_problem
from tests.wire import wire_to

PLACES = 4


def places_are_free(database: Database) -> bool:
    """All of them, and no connection is remembered that nobody holds."""
    return (
        database._turns._gate._value == PLACES and len(database._pool._born) == len(database._pool._resting) <= PLACES
    )


@pytest.fixture
async def read_only(empty_database: str, tmp_path: Path) -> AsyncIterator[tuple[Client, str, str]]:
    """A client, and two statements: its database turns read-only, and back."""
    name = empty_database.rpartition("/")[2].split("?")[0]
    change = f"ALTER DATABASE {name} SET default_transaction_read_only"
    async with worker(settings_for(empty_database, tmp_path, pool_size=2)) as (app, http):
        yield await fresh_account(http, app.state.tend, "ada"), f"{change} = on", f"{change} = off"


@direct_only
async def test_a_database_that_is_read_only_for_a_moment_is_503_for_changes_and_nothing_for_reads(
    read_only: tuple[Client, str, str], server: str, caplog: pytest.LogCaptureFixture
) -> None:
    ada, off_with_it, and_back = read_only
    task = await ada.add("Water the figs")
    servers.administer(server, off_with_it)
    database = ada.http._transport.app.state.tend.database  # type: ignore[attr-defined]
    await database.close()  # the same connections after a restart

    for _ in range(3):
        refusals = [
            await ada.post("/v1/tasks", {"title": "Not now"}),
            await ada.patch(f"/v1/tasks/{task['id']}", {"completed": True}),
            await ada.patch("/v1/tasks/batch", {"ids": [task["id"]], "set": {"completed": True}}),
        ]
        for refused in refusals:
            assert "did not say" not in assert_problem(refused, 503)["detail"]  # it did
            assert refused.headers["Retry-After"]
    assert await ada.titles() == ["Water the figs"]
    told = [record for record in caplog.records if "25006" in record.getMessage()]
    assert [(record.levelno, record.exc_info) for record in told] == [(logging.WARNING, None)]  # one line for nine

    servers.administer(server, and_back)

    changed = await ada.patch(f"/v1/tasks/{task['id']}", {"completed": True})  # on another connection
    assert changed.json()["version"] == 2


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (psycopg.errors.DiskFull(), True),
        (psycopg.errors.IoError(), True),
        (psycopg.errors.ReadOnlySqlTransaction(), True),
        (psycopg.errors.IdleInTransactionSessionTimeout(), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.OperationalError("the connection is lost"), True),
        (psycopg.InternalError("received 2 results from command 'BEGIN'"), True),
        (psycopg.errors.LockNotAvailable(), False),
        (psycopg.errors.UndefinedTable(), False),
        (psycopg.errors.InFailedSqlTransaction(), False),
        (psycopg.ProgrammingError("cannot adapt"), False),
    ],
)
def test_what_is_the_database_s_trouble_is_told_from_what_is_a_bug(error: psycopg.Error, away: bool) -> None:
    assert is_away(error) is away


async def test_a_storm_of_cuts_and_deadlines_leaves_every_place_and_no_connection_behind(
    alice: Client, settings: Settings, state: State, tmp_path: Path
) -> None:
    assert settings.database_url
    async with wire_to(settings.database_url) as wire:
        through = settings_for(wire.url, tmp_path, pool_size=PLACES, database_timeout_seconds=0.3)
        app = create_app(through)
        database: Database = app.state.tend.database
        mine = Scope(alice.user_id, database)

        async def wait(changing: Changing) -> None:
            await changing.run(select(func.pg_sleep(0.01)), {})

        async def storm() -> None:
            for _ in range(20):
                wire.cut()
                await asyncio.sleep(0.03)
            wire.strike("swallow", b"pg_sleep", times=10)
            await asyncio.sleep(0.4)
            await wire.refuse()
            await asyncio.sleep(0.4)
            wire.strike("pass", b"")
            await wire.listen()

        async def ask(n: int, storming: asyncio.Task[None]) -> None:
            while not storming.done():
                try:
                    if n % 3:
                        await mine.read(select(func.pg_sleep(0.01)), {})
                    else:
                        await mine.change(wait, at_most=1)
                except Unavailable:
                    pass

        storming = asyncio.create_task(storm())
        await asyncio.gather(*(ask(n, storming) for n in range(12)))

        await mine.read(select(func.pg_sleep(0)), {})
        assert places_are_free(database)
        await database.close()


async def test_hundreds_of_failures_are_a_line_in_the_log_and_nothing_in_the_memory(
    alice: Client, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.database_url
    monkeypatch.setattr("backend.pool.PATIENCE_SECONDS", 0)
    async with wire_to(settings.database_url) as wire:
        database: Database = create_app(settings_for(wire.url, tmp_path, pool_size=PLACES)).state.tend.database
        mine = Scope(alice.user_id, database)
        await mine.read(select(func.pg_sleep(0)), {})
        await wire.refuse()

        for _ in range(20):
            failures = await asyncio.gather(
                *(mine.read(select(func.pg_sleep(0)), {}) for _ in range(10)), return_exceptions=True
            )
            assert {type(failure) for failure in failures} == {Unavailable}

        assert places_are_free(database)
        assert not database._pool._born
        assert len(caplog.records) <= 3
        assert not any(record.exc_info for record in caplog.records)
        await database.close()


FULL = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$;
    CREATE CONSTRAINT TRIGGER full_disk AFTER UPDATE ON tasks DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION full_disk();
"""


async def test_a_change_that_is_refused_at_its_commit_is_no_open_question(empty_database: str, tmp_path: Path) -> None:
    """The database answered, and its connection lives: nothing of it was done."""
    async with worker(settings_for(empty_database, tmp_path)) as (app, http):
        ada = await fresh_account(http, app.state.tend, "ada")
        task = await ada.add("Water the figs")
        servers.administer(empty_database, FULL)

        alone = await ada.patch(f"/v1/tasks/{task['id']}", {"completed": True})
        batch = await ada.patch("/v1/tasks/batch", {"ids": [task["id"]], "set": {"completed": True}})

        for refused in (alone, batch):
            assert "did not say" not in assert_problem(refused, 503)["detail"]
        assert (await ada.page())["items"][0]["version"] == 1


async def test_the_ledger_sees_what_is_lost_and_what_is_doubled(empty_database: str, tmp_path: Path) -> None:
    async with worker(settings_for(empty_database, tmp_path)) as (app, http):
        ada = await fresh_account(http, app.state.tend, "ada")
        kept, lost, twice, changed, deleted = await ada.add_many([{"title": f"Fig {n}"} for n in range(5)])
        await ada.add_many([{"title": twice["title"]}, {"title": "Half"}, {"title": "Nobody's"}])
        await ada.patch(f"/v1/tasks/{changed['id']}", {"priority": "high"})
        person, hand = Person("http://tend", Saw()), Hand(Person("http://tend", Saw()), Saw(), 1)
        person.id = str(ada.user_id)
        for task in (kept, twice, changed, {**lost, "id": str(uuid4()), "title": "Lost"}):
            hand.tasks[task["id"]] = Kept(task["id"], task["title"], task["description"], task["version"])
        hand.tasks[deleted["id"]] = Kept(deleted["id"], deleted["title"], deleted["description"], None, 2, deleted=True)

        compared = compare(empty_database, [person], [hand], [["Half", "The other half"], [lost["title"]]])

        await hand.http.aclose()
    assert compared.acknowledged == 6
    assert compared.lost == 1 + 2  # "Lost", and the deletion of what is alive
    assert compared.doubled == 1 + 1 + 1 + 1  # a title twice, a change once more, half a request, nobody's
