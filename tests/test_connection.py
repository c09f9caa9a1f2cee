"""What a way to the database that breaks does to requests: on a real one, through a proxy that breaks it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from backend.config import Settings
from backend.errors import Unavailable, Unsettled
from backend.main import create_app
from backend.scope import Scope
from backend.state import State
from tests.client import Client, another_session
from tests.conftest import settings_for, worker
from tests.pooler import direct_only
from tests.test_input import assert_problem
from tests.wire import Fate, Wire, wire_to

CREATE = b"INSERT INTO tasks"
CHANGE = b"UPDATE tasks SET"
LIST = b"AS known"


@pytest.fixture
async def wire(settings: Settings) -> AsyncIterator[Wire]:
    assert settings.database_url
    async with wire_to(settings.database_url) as wire:
        yield wire


@pytest.fixture
def through(wire: Wire, tmp_path: Path) -> Settings:
    return settings_for(wire.url, tmp_path, pool_size=2, database_timeout_seconds=3)


@pytest.fixture
async def afar(alice: Client, through: Settings, state: State) -> AsyncIterator[Client]:
    """Alice, by an application at the other end of the wire."""
    async with worker(through) as (_, http):
        client = await another_session(http, state, alice.user_id, alice.email)
        assert (await client.get("/v1/tasks")).status_code == 200
        yield client


@pytest.mark.parametrize("fate", ["cut before", "cut within", "cut after"])
async def test_a_read_whose_connection_breaks_is_asked_again(afar: Client, wire: Wire, fate: Fate) -> None:
    await afar.add("Kept")
    wire.strike(fate, LIST, times=2)

    assert await afar.titles() == ["Kept"]
    assert wire.struck == 2


@pytest.mark.parametrize("fate", ["cut before", "cut within", "cut after"])
async def test_a_task_is_made_once_however_its_connection_breaks(afar: Client, wire: Wire, fate: Fate) -> None:
    wire.strike(fate, CREATE)

    made = await afar.add("Once")

    assert wire.struck == 1
    assert [task["id"] for task in (await afar.page())["items"]] == [made["id"]]


@pytest.mark.parametrize("fate", ["cut before", "cut within", "cut after"])
async def test_a_batch_is_made_once_however_its_connection_breaks(afar: Client, wire: Wire, fate: Fate) -> None:
    wire.strike(fate, CREATE)

    made = await afar.add_many([{"title": f"Once {n}"} for n in range(3)])

    assert wire.struck == 1
    assert [task["title"] for task in made] == ["Once 0", "Once 1", "Once 2"]
    assert (await afar.page())["total"] == 3


@direct_only
async def test_a_second_try_that_is_refused_does_not_settle_the_first(afar: Client, wire: Wire, state: State) -> None:
    """As in a failover: the first was made and its answer lost, the second finds a server that only reads."""
    wire.strike("cut after", CREATE)
    async with state.database.engine.connect() as every:
        name = (await every.exec_driver_sql("SELECT current_database()")).scalar_one()
        await every.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        answer = await afar.post("/v1/tasks", {"title": "Once"})
    finally:
        async with state.database.engine.connect() as every:
            await every.exec_driver_sql("SET default_transaction_read_only = off")
            await every.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    assert wire.struck == 1
    assert assert_problem(answer, 503)["type"] == "urn:tend:problem:unsettled"
    await state.database.close()


async def test_a_task_that_is_known_to_be_there_and_cannot_be_read_is_no_call_to_try_again(
    afar: Client, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire.strike("cut after", CREATE)

    async def away(_mine: Scope, _statement: object, _values: object) -> None:
        raise Unavailable("The database cannot be reached. Try again.")

    with monkeypatch.context() as patched:
        patched.setattr(Scope, "read", away)
        answer = await afar.post("/v1/tasks", {"title": "Once"})

    assert assert_problem(answer, 503)["type"] == "urn:tend:problem:unsettled"
    assert (await afar.page())["total"] == 1


async def test_a_task_with_its_client_s_id_is_there_once_and_the_client_hears_so(afar: Client, wire: Wire) -> None:
    wire.strike("cut after", CREATE)
    task_id = str(uuid4())

    answer = await afar.post("/v1/tasks", {"title": "Once", "id": task_id})

    assert_problem(answer, 409)
    assert [task["id"] for task in (await afar.page())["items"]] == [task_id]


@pytest.mark.parametrize(("fate", "versions"), [("cut before", 1), ("cut after", 2)])
async def test_a_change_is_never_sent_twice_and_the_answer_says_that_it_is_not_known(
    afar: Client, wire: Wire, fate: Fate, versions: int
) -> None:
    task = await afar.add("Water the figs")
    wire.strike(fate, CHANGE, times=5)

    answer = await afar.patch(f"/v1/tasks/{task['id']}", {"completed": True})

    problem = assert_problem(answer, 503)
    assert answer.headers["Retry-After"]
    assert "did not say whether" in problem["detail"]
    assert wire.struck == 1
    wire.strike("pass", b"")
    found = (await afar.get(f"/v1/tasks/{task['id']}")).json()
    assert found["version"] == versions


async def test_what_decides_by_reading_runs_again_when_its_connection_breaks_before_the_commit(
    afar: Client, wire: Wire
) -> None:
    task = await afar.add("Water the figs")
    wire.strike("cut after", CHANGE)

    answer = await afar.patch("/v1/tasks/batch", {"ids": [task["id"]], "set": {"completed": True}})

    assert answer.json() == {"updated": 1}
    assert wire.struck == 1


async def test_a_commit_without_an_answer_is_told_and_not_repeated(afar: Client, wire: Wire) -> None:
    task = await afar.add("Water the figs")
    wire.strike("cut after", b"COMMIT\0")  # not that of READ COMMITTED

    answer = await afar.patch("/v1/tasks/batch", {"ids": [task["id"]], "set": {"completed": True}})

    assert "did not say whether" in assert_problem(answer, 503)["detail"]
    assert (await afar.get(f"/v1/tasks/{task['id']}")).json()["completed"] is True


async def test_connections_that_were_closed_at_rest_cost_no_write(afar: Client, wire: Wire) -> None:
    """A compute that fell asleep, a pooler that restarted."""
    for n in range(5):
        await asyncio.gather(afar.get("/v1/tasks"), afar.get("/v1/tags"))
        wire.cut()
        await asyncio.sleep(0.05)

        answer = await afar.post("/v1/tasks", {"title": f"{n}", "id": str(uuid4())})

        assert answer.status_code == 201


async def test_a_database_that_is_away_for_a_moment_is_waited_for(afar: Client, wire: Wire) -> None:
    await wire.refuse()
    waiting = [asyncio.create_task(afar.post("/v1/tasks", {"title": "Patience"})) for _ in range(4)]
    await asyncio.sleep(0.3)

    await wire.listen()

    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {201}
    assert (await afar.page())["total"] == 4


async def test_a_database_that_stays_away_is_told_at_once_and_forgiven_at_once(
    afar: Client, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.pool.PATIENCE_SECONDS", 0.2)
    await wire.refuse()
    await afar.get("/v1/tasks")

    answer = await asyncio.wait_for(afar.get("/v1/tasks"), timeout=0.15)

    assert_problem(answer, 503)
    assert answer.headers["Retry-After"]
    await wire.listen()
    assert (await afar.get("/v1/tasks")).status_code == 200


async def test_an_answer_that_never_comes_is_503_at_the_deadline(
    wire: Wire, alice: Client, tmp_path: Path, state: State
) -> None:
    wire_settings = settings_for(wire.url, tmp_path, pool_size=1, database_timeout_seconds=0.5)
    database = create_app(wire_settings).state.tend.database
    mine = Scope(alice.user_id, database)
    await mine.read(select(func.pg_sleep(0)), {})
    wire.strike("swallow", b"pg_sleep", times=100)

    with pytest.raises(Unavailable) as late:
        async with asyncio.timeout(3):  # psycopg alone would hold on for ten seconds more
            await mine.read(select(func.pg_sleep(0)), {})

    assert not isinstance(late.value, Unsettled)  # a read
    await database.close()
