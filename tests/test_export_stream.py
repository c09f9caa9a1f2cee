"""The export as a stream: early, flat, for one at a time, and cut off where it cannot go on."""

import asyncio
import socket
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, make_url, text

from backend.models import Task, table
from backend.scope import Scope
from backend.services import export
from backend.state import State
from tests import servers
from tests.client import Client, Statements, fresh_account
from tests.download import FILL, download, end_account, fill
from tests.served import serving
from tests.test_export import PATH, exported
from tests.test_input import assert_problem


async def test_head_says_the_same_and_reads_no_more_than_a_page(
    alice: Client, state: State, statements: Statements, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(state, alice.user_id, 5_000, 32)
    named = {"X-Request-ID": "the-same-one"}
    got = await alice.get(PATH, headers=named)
    statements.clear()

    head = await alice.call("HEAD", PATH, headers=named)

    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers} == {**got.headers}
    assert len(statements) <= len(export.tables())
    assert caplog.text == ""  # no connection was cut off in a statement, and so had to be closed
    assert (await alice.get(PATH)).status_code == 200  # nothing of it is left in the way


async def test_the_first_bytes_leave_before_the_last_row_is_read(
    app: FastAPI, alice: Client, state: State, statements: Statements
) -> None:
    await fill(state, alice.user_id, 5_000, 32)

    async with download(app, alice, PATH) as taken:
        first = await taken.piece()
        assert first
        assert first.startswith(b"PK\3\4")
        assert not any("FROM filters" in sql or "FROM tasks" in sql for sql in statements)
        size, left = 0, {}
        async for piece in taken.rest():
            size += len(piece)
            left[sum("FROM tasks" in sql for sql in statements)] = size

        assert taken.complete
    assert list(left) == [0, 1, 2, 3, 4, 5, 6]  # the last is empty
    assert size / 3 < left[3] < size


@pytest.mark.long
async def test_memory_stays_flat_however_many_tasks_there_are(app: FastAPI, alice: Client, state: State) -> None:
    assert (await alice.get(PATH)).status_code == 200  # what is made once, as the statements for each table, is made
    await fill(state, alice.user_id, 20_000, 320)

    async with download(app, alice, PATH) as taken:
        tracemalloc.start()
        size = await taken.size()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert taken.complete

    assert size > 4_000_000
    assert peak < 3_000_000  # a page has 0.7 million characters


async def test_of_all_who_export_at_once_one_page_is_in_memory(
    alice: Client, bob: Client, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = most = 0
    read = Scope.read

    async def counted(mine: Scope, statement: Any, values: Any) -> Any:
        nonlocal running, most
        page = statement in {export._page(table(Task), False), export._page(table(Task), True)}
        running += page
        most = max(most, running)
        try:
            return await read(mine, statement, values)
        finally:
            running -= page

    monkeypatch.setattr(Scope, "read", counted)
    for client in (alice, bob):
        await fill(state, client.user_id, 3_000, 32)

    for answer in await asyncio.gather(alice.get(PATH), bob.get(PATH)):
        assert answer.status_code == 200
    assert most == 1


async def test_whoever_downloads_slowly_holds_no_connection(
    app: FastAPI, http: httpx.AsyncClient, state: State, alice: Client
) -> None:
    slow = [await fresh_account(http, state, f"slow{n}") for n in range(state.settings.pool_size)]
    async with AsyncExitStack() as all_of_them:
        for client in slow:
            taken = await all_of_them.enter_async_context(download(app, client, PATH))
            assert await taken.piece()
            assert await taken.piece() is not None

        assert await alice.titles() == []


async def test_an_account_that_ends_meanwhile_leaves_half_a_download_that_says_so(
    app: FastAPI, alice: Client, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(state, alice.user_id, 3_000, 32)
    async with download(app, alice, PATH) as taken:
        await taken.piece()
        await end_account(state, alice.user_id)

        pieces = b"".join([piece async for piece in taken.rest()])

        assert not taken.complete
    assert b"PK\5\6" not in pieces  # the end of a ZIP
    assert "An export was broken off: The account is gone." in caplog.text


@pytest.mark.long
def test_a_database_that_goes_away_meanwhile_cuts_the_connection(
    empty_database: str, server: str, tmp_path: Path
) -> None:
    """Over a real one: the client is told by a body without its end."""
    small = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)])
    with (
        serving(tmp_path / "data", DATABASE_URL=empty_database, DATABASE_TIMEOUT_SECONDS="1") as served,
        httpx.Client(base_url=served.url, transport=small, timeout=60) as client,
    ):
        account = {"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}
        user_id = client.post("/v1/auth/register", json=account).json()["id"]
        form = {"username": account["email"], "password": account["password"]}
        token = client.post("/v1/auth/token", data=form).json()["access_token"]
        engine = create_engine(empty_database, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:  # 15 MB: more than the sockets on the way can hold
            connection.execute(text(FILL), {"owner": user_id, "tasks": 3_000, "parts": 280})
        engine.dispose()

        with client.stream("GET", PATH, headers={"Authorization": f"Bearer {token}"}) as answer:
            pieces = answer.iter_bytes()
            assert next(pieces).startswith(b"PK")
            servers.drop(server, make_url(empty_database).database or "")
            with pytest.raises(httpx.RemoteProtocolError):
                for _ in pieces:
                    pass

        assert client.get("/health/live").status_code == 200
        served.stop()
        assert "An export was broken off: The database cannot be reached." in served.printed
        assert "Traceback" not in served.printed


async def test_a_client_that_goes_away_stops_the_reading(
    app: FastAPI, alice: Client, state: State, statements: Statements
) -> None:
    await fill(state, alice.user_id, 8_000, 32)
    async with download(app, alice, PATH) as taken:
        for _ in range(4):
            assert await taken.piece() is not None

    assert sum("FROM tasks" in sql for sql in statements) <= 5
    assert len((await exported(alice))["tasks.json"]) == 8_000  # and the next need not wait


async def test_a_user_s_second_export_waits_for_the_first_and_another_user_s_does_not(
    app: FastAPI, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with download(app, alice, PATH) as first:
        assert await first.piece()
        second = asyncio.ensure_future(alice.get(PATH))
        assert (await bob.get(PATH)).status_code == 200
        assert not second.done()
        await first.size()
        assert (await second).status_code == 200

    monkeypatch.setattr(export, "WAIT_SECONDS", 0)
    async with download(app, alice, PATH) as first:
        assert await first.piece()
        refused = await alice.get(PATH)

    assert_problem(refused, 503)
    assert "Another export" in refused.json()["detail"]
    assert (await alice.get(PATH)).status_code == 200
