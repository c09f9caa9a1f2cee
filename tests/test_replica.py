"""Reads on a replica: never older than what the client has seen, whatever the replica has come to."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from backend.state import State
from tests import servers
from tests.client import Client, Statements, fresh_account
from tests.conftest import settings_for, worker
from tests.replicas import Streaming, streaming
from tests.test_input import assert_problem

NAMED = "Tend-Change"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streaming]:
    with streaming(tmp_path_factory.mktemp("pair")) as pair:
        servers.migrate(pair.primary)
        pair.catch_up()
        yield pair


@pytest.fixture
async def app(pair: Streaming, tmp_path: Path) -> AsyncIterator[FastAPI]:
    settings = settings_for(pair.primary, tmp_path, database_replica_url=pair.replica)
    async with worker(settings) as (app, _):
        yield app


@pytest.fixture
async def state(app: FastAPI) -> State:
    state: State = app.state.tend
    return state


@pytest.fixture
async def ada(http: httpx.AsyncClient, state: State) -> Client:
    return await fresh_account(http, state, f"ada{next(_numbers)}")


_numbers = itertools.count()


@pytest.fixture
def asked(state: State) -> Iterator[tuple[Statements, Statements]]:
    """What the primary and the replica were asked."""
    assert state.replica
    both = Statements(), Statements()
    for counted, database in zip(both, (state.database, state.replica.database), strict=True):
        database.watchers.append(counted.note)
    yield both
    for counted, database in zip(both, (state.database, state.replica.database), strict=True):
        database.watchers.remove(counted.note)


async def listed(client: Client, seen: str | None, path: str = "/v1/tasks", **parameters: Any) -> httpx.Response:
    headers = {NAMED: seen} if seen is not None else {}
    answer = await client.get(path, params=parameters, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


async def test_every_answer_about_a_user_s_data_names_how_far_their_changes_have_come(ada: Client) -> None:
    created = await ada.post("/v1/tasks", {"title": "First", "tags": ["a"]})
    task = f"/v1/tasks/{created.json()['id']}"
    answers = [
        created,
        await ada.get("/v1/tasks"),
        await ada.get(task),
        await ada.get("/v1/tags"),
        await ada.get("/v1/tasks", headers={"If-None-Match": (await ada.get("/v1/tasks")).headers["ETag"]}),
        await ada.patch(task, {"completed": True}),
        await ada.patch("/v1/tasks/batch", {"ids": [created.json()["id"]], "set": {"priority": "low"}}),
        await ada.post("/v1/tasks/batch", {"tasks": [{"title": "Second"}, {"title": "Third"}]}),
        await ada.post("/v1/filters", {"name": "Open", "filter": "tag:a"}),
        await ada.delete(task),
        await ada.get("/v1/tasks"),
    ]

    assert [int(answer.headers[NAMED]) for answer in answers] == [1, 1, 1, 1, 1, 2, 3, 5, 6, 8, 8]


async def test_listings_and_searches_that_name_what_was_seen_go_to_the_replica(
    pair: Streaming, ada: Client, asked: tuple[Statements, Statements]
) -> None:
    primary, replica = asked
    written = await ada.post("/v1/tasks", {"title": "Water the figs", "tags": ["garden"]})
    saved = await ada.post("/v1/filters", {"name": "Garden", "filter": "tag:garden"})
    pair.catch_up()
    seen = saved.headers[NAMED]
    assert int(seen) > int(written.headers[NAMED])
    primary.clear()

    for parameters in ({}, {"search": "fig"}, {"search": "fgi"}, {"saved": saved.json()["id"]}, {"tags": "garden"}):
        answer = await listed(ada, seen, **parameters)
        assert answer.headers[NAMED] == seen
    assert (await listed(ada, seen, "/v1/tags")).json() == {"items": [{"tag": "garden", "count": 1}]}
    unchanged = await ada.get("/v1/tasks", headers={NAMED: seen, "If-None-Match": "*"})
    assert unchanged.status_code == 304

    assert primary == []
    assert len(replica) == 9  # a search without a find asks for a suggestion, a saved filter is looked up


async def test_a_replica_that_is_behind_is_not_believed(
    pair: Streaming, ada: Client, asked: tuple[Statements, Statements]
) -> None:
    _, replica = asked
    pair.catch_up()
    pair.pause()
    try:
        answer = await ada.post("/v1/tasks", {"title": "Just written", "tags": ["new"]})
        seen = answer.headers[NAMED]

        assert (await listed(ada, seen)).json()["total"] == 1
        assert (await listed(ada, seen, search="written")).json()["total"] == 1
        assert (await listed(ada, seen, "/v1/tags")).json()["items"] == [{"tag": "new", "count": 1}]
        assert (await listed(ada, "0")).json()["total"] == 0  # whoever has seen nothing may see what was
        assert len(replica) == 4
    finally:
        pair.resume()


async def test_what_the_replica_was_asked_is_counted(pair: Streaming, ada: Client, http: httpx.AsyncClient) -> None:
    pair.catch_up()
    pair.pause()
    seen = (await ada.post("/v1/tasks", {"title": "Just written"})).headers[NAMED]
    await listed(ada, seen)
    pair.resume()
    pair.catch_up()
    await listed(ada, seen)

    told = (await http.get("/metrics")).text

    for outcome in ("served", "behind"):
        assert f'tend_replica_requests_total{{outcome="{outcome}"}} 1.0' in told


async def test_a_request_that_names_nothing_is_answered_by_the_primary(
    ada: Client, asked: tuple[Statements, Statements]
) -> None:
    _, replica = asked
    await ada.add("Just written")

    assert (await listed(ada, None)).json()["total"] == 1
    assert replica == []


async def test_writes_and_single_reads_never_go_to_the_replica(
    pair: Streaming, ada: Client, asked: tuple[Statements, Statements]
) -> None:
    _, replica = asked
    headers = {NAMED: "0"}
    task = (await ada.post("/v1/tasks", {"title": "Here"}, headers=headers)).json()

    assert (await ada.get(f"/v1/tasks/{task['id']}", headers=headers)).status_code == 200
    assert (await ada.patch(f"/v1/tasks/{task['id']}", {"completed": True}, headers=headers)).status_code == 200
    assert replica == []


async def test_a_replica_that_is_away_is_left_alone_for_a_while(pair: Streaming, tmp_path: Path) -> None:
    nowhere = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    settings = settings_for(pair.primary, tmp_path, database_replica_url=nowhere)
    async with worker(settings) as (app, http):
        client = await fresh_account(http, app.state.tend, "grace")

        assert (await listed(client, "0")).json()["total"] == 0
        assert not app.state.tend.replica.is_up
        assert (await listed(client, "0")).json()["total"] == 0


@pytest.mark.parametrize("wrong", ["", "-1", "1.0", "x", "٣", "9" * 30])
async def test_what_is_no_number_is_refused(ada: Client, wrong: str) -> None:
    answer = await ada.get("/v1/tasks", headers={NAMED: wrong.encode()})

    problem = assert_problem(answer, 422)
    assert problem["errors"][0]["loc"] == ["header", NAMED]
