"""Whether it lives, and whether it can be used."""

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from backend.errors import Unavailable
from backend.main import create_app
from backend.state import State
from tests import servers
from tests.client import Client, Statements
from tests.conftest import settings_for
from tests.test_input import assert_problem


def speaking_to(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://tend")


async def test_living_asks_no_database(http: httpx.AsyncClient, statements: Statements) -> None:
    assert (await http.get("/health/live")).status_code == 200
    assert statements == []


async def test_ready_when_the_database_is_at_this_code_s_migration(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health/ready")).status_code == 200


async def test_not_ready_before_the_migrations(empty_database: str, tmp_path: Path) -> None:
    servers.migrate(empty_database, "base")
    app = create_app(settings_for(empty_database, tmp_path))
    async with app.router.lifespan_context(app), speaking_to(app) as http:
        problem = assert_problem(await http.get("/health/ready"), 503)

    assert "tend migrate" in problem["detail"]


@pytest.mark.parametrize("path", ["/health/ready", "/v1/auth/token"])
async def test_a_database_that_is_away_is_503_and_says_when_to_try_again(tmp_path: Path, path: str) -> None:
    settings = settings_for("postgresql+psycopg://nobody@127.0.0.1:1/none", tmp_path, database_timeout_seconds=0.3)
    app = create_app(settings)
    async with app.router.lifespan_context(app), speaking_to(app) as http:
        form = {"username": "a@b.co", "password": "x"}
        answer = await (http.post(path, data=form) if path.startswith("/v1") else http.get(path))

    assert_problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert "127.0.0.1" not in answer.text


async def test_after_a_restart_of_postgres_a_read_asks_again_by_itself(state: State, alice: Client) -> None:
    """The pool's connections are dead, and nobody has told it."""
    await asyncio.gather(*(alice.get("/v1/tasks") for _ in range(8)))
    async with state.database.engine.connect() as connection:
        await connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    answers = await asyncio.gather(*(alice.get("/v1/tasks") for _ in range(8)))

    assert {answer.status_code for answer in answers} == {200}


async def test_a_deadline_that_comes_while_a_connection_is_pinged_leaves_none_behind(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slowly(_connection: object) -> bool:
        await asyncio.sleep(5)
        return True

    pool = state.database._pool
    await pool.close()
    await pool.give_back(await pool.take())
    monkeypatch.setattr("backend.pool._answers", slowly)
    monkeypatch.setattr("backend.pool.IDLE_SECONDS", -1)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pool.take()

    assert not pool._born


async def test_a_statement_that_takes_too_long_is_503_and_frees_its_connection(
    database_url: str, tmp_path: Path
) -> None:
    app = create_app(settings_for(database_url, tmp_path, database_timeout_seconds=0.3, pool_size=1))
    state: State = app.state.tend
    async with app.router.lifespan_context(app), speaking_to(app) as http:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await state.database.read(select(func.pg_sleep(5)), {})
        assert (await http.get("/health/ready")).status_code == 200
