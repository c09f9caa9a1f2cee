"""What one client may cost the others."""

import asyncio
import json
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select

from backend import door
from backend.scope import Scope
from tests.client import Client
from tests.test_input import JSON, assert_problem


async def test_one_user_s_slow_requests_leave_room_for_another(mine: Scope, bob: Client) -> None:
    slow = [asyncio.create_task(mine.read(select(func.pg_sleep(3)), {})) for _ in range(8)]
    await asyncio.sleep(0.2)

    answer = await asyncio.wait_for(bob.get("/v1/tasks"), timeout=2)

    assert answer.status_code == 200
    assert not any(task.done() for task in slow)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_unknown_fields_in_thousands_are_told_in_a_few_words(alice: Client) -> None:
    flood = {f"field{n}": 1 for n in range(30_000)}

    for body in ({"title": "x", **flood}, flood):
        problem = assert_problem(await alice.post("/v1/tasks", body), 422)
        assert len(json.dumps(problem)) < 2_000
    many = {"tasks": [{"title": "", "a": 1, "b": 2, "c": 3}] * 1_000}
    problem = assert_problem(await alice.post("/v1/tasks/batch", many), 422)
    assert len(problem["errors"]) == 50
    assert "4,000 things are wrong" in problem["detail"]


async def test_a_search_of_very_many_words_is_refused(alice: Client) -> None:
    assert (await alice.get("/v1/tasks", params={"search": "a " * 32})).status_code == 200
    assert_problem(await alice.get("/v1/tasks", params={"search": "a " * 33}), 422)


async def test_a_refused_body_closes_the_connection_instead_of_being_read(alice: Client) -> None:
    answer = await alice.post("/v1/tasks", content=b"x" * 1_100_000, headers=JSON)

    assert_problem(answer, 413)
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/tasks/batch/delete"])
async def test_a_lock_that_is_not_had_in_time_is_503(alice: Client, mine: Scope, path: str) -> None:
    """The role or the database may set a lock_timeout."""
    engine = mine.database.engine.execution_options(isolation_level="READ COMMITTED")
    async with mine.database.engine.connect() as every:
        name = await every.exec_driver_sql("SELECT current_database()")
        await every.exec_driver_sql(f"ALTER DATABASE {name.scalar_one()} SET lock_timeout = '100ms'")
    await mine.database.close()
    try:
        async with engine.begin() as rival:
            await rival.execute(door.reserve(), {"changes": 1, "owner": mine.user_id})
            body = {"title": "x"} if path == "/v1/tasks" else {"ids": [str(uuid4())]}
            answer = await alice.post(path, body)
    finally:
        async with mine.database.engine.connect() as every:
            name = await every.exec_driver_sql("SELECT current_database()")
            await every.exec_driver_sql(f"ALTER DATABASE {name.scalar_one()} RESET lock_timeout")
        await mine.database.close()

    assert_problem(answer, 503)
    assert answer.headers["Retry-After"]


async def test_a_burst_of_sign_ins_is_turned_away_before_it_takes_the_memory(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.services.sign_in.MOST_WAITING", 2)

    forms = [{"username": f"nobody{n}@example.com", "password": "x"} for n in range(20)]
    answers = await asyncio.gather(*(http.post("/v1/auth/token", data=form) for form in forms))

    statuses = {answer.status_code for answer in answers}
    assert statuses == {401, 503}


async def test_ticking_a_box_leaves_the_search_vector_as_it_was(mine: Scope) -> None:
    """A BEFORE trigger on the table would have it made anew at each update, at 20 times the cost."""
    async with mine.database.engine.connect() as connection:
        found = await connection.exec_driver_sql(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'tasks'::regclass AND tgtype & 2 = 2"
        )
        assert found.scalar_one() == 0
