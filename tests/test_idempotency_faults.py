"""A request with an `Idempotency-Key` is done once, whatever breaks while it is done: on a wire that is cut."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from psycopg.errors import SerializationFailure, UniqueViolation
from sqlalchemy import select

from backend import door
from backend.config import Settings
from backend.errors import NotFound, Unavailable
from backend.models import Task, table
from backend.schemas.tasks import TaskCreate, TaskPatch
from backend.scope import Changing, Scope
from backend.services import tasks
from backend.services.task_wire import shown
from backend.state import State
from backend.wall import OWNER
from tests.client import Client, Json, another_session
from tests.conftest import settings_for, worker
from tests.test_input import assert_problem
from tests.wire import Fate, Wire, wire_to

pytestmark = pytest.mark.long

T = table(Task)
FATES: tuple[Fate, ...] = ("cut before", "cut within", "cut after")
STEPS = {
    "begin": b"BEGIN ",
    "claim": b"pg_try_advisory_xact_lock",
    "look": b"LEFT OUTER JOIN idempotency_keys",
    "savepoint": b"SAVEPOINT",
    "work": b"INSERT INTO tasks",
    "release": b"RELEASE",
    "keep": b"INSERT INTO idempotency_keys",
}
COMMIT = b"COMMIT\0"  # not that of READ COMMITTED


@pytest.fixture
async def wire(settings: Settings) -> AsyncIterator[Wire]:
    assert settings.database_url
    async with wire_to(settings.database_url) as wire:
        yield wire


@pytest.fixture
async def afar(alice: Client, wire: Wire, tmp_path: Path, state: State) -> AsyncIterator[Client]:
    """Alice, by an application at the other end of the wire."""
    through = settings_for(wire.url, tmp_path, pool_size=2, database_timeout_seconds=3)
    async with worker(through) as (_, http):
        client = await another_session(http, state, alice.user_id, alice.email)
        assert (await client.get("/v1/tasks")).status_code == 200
        yield client


async def until_answered(client: Client, sent: dict[str, Any]) -> httpx.Response:
    """As a client would that was told to send it again."""
    for _ in range(60):
        answer = await client.post("/v1/tasks", **sent)
        if "Retry-After" not in answer.headers:
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(answer.text)


def once() -> dict[str, Any]:
    return {"json": {"title": "Once"}, "headers": {"Idempotency-Key": f'"{uuid4()}"'}}


@pytest.mark.parametrize("step", STEPS)
async def test_whatever_breaks_before_the_commit_it_runs_again_and_is_done_once(
    afar: Client, wire: Wire, step: str
) -> None:
    for number, fate in enumerate(FATES, start=1):
        wire.strike(fate, STEPS[step])
        sent = once()

        made = await until_answered(afar, sent)
        again = await until_answered(afar, sent)

        assert wire.struck == 1, fate
        assert (made.status_code, made.content) == (again.status_code, again.content) == (201, again.content)
        assert again.headers["Idempotency-Replayed"] == "true"
        listed = await afar.page()
        assert (listed["total"], listed["items"][0]["id"]) == (number, made.json()["id"])


@pytest.mark.parametrize("fate", FATES)
async def test_a_commit_without_an_answer_is_told_and_the_next_one_finds_out(
    afar: Client, wire: Wire, fate: Fate
) -> None:
    wire.strike(fate, COMMIT)
    sent = once()

    lost = await afar.post("/v1/tasks", **sent)
    found = await until_answered(afar, sent)

    assert wire.struck == 1
    problem = assert_problem(lost, 503)
    assert problem["type"] == "urn:tend:problem:unsettled"
    assert "with the same key" in problem["detail"]
    assert "Tend-Change" not in lost.headers
    assert found.status_code == 201
    assert ("Idempotency-Replayed" in found.headers) == (fate == "cut after")
    assert [task["id"] for task in (await afar.page())["items"]] == [found.json()["id"]]
    assert (await until_answered(afar, sent)).content == found.content


async def test_a_batch_that_decides_by_reading_runs_again_within_the_whole(afar: Client, wire: Wire) -> None:
    task = await afar.add("Water the figs")
    sent: Any = {"json": {"ids": [task["id"]], "set": {"completed": True}}, "headers": once()["headers"]}
    wire.strike("cut after", b"UPDATE tasks SET")

    first, second = [await afar.patch("/v1/tasks/batch", sent["json"], headers=sent["headers"]) for _ in range(2)]

    assert wire.struck == 1
    assert first.json() == second.json() == {"updated": 1}
    assert (await afar.get(f"/v1/tasks/{task['id']}")).json()["version"] == 2


async def test_connections_that_are_cut_at_any_time_lose_and_double_nothing(afar: Client, wire: Wire) -> None:
    chance, requests = random.Random(7), list[Json]()

    async def cuts() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.03, 0.2))
            wire.cut()

    cutting = asyncio.create_task(cuts())
    made = []
    while len(requests) < 24 or wire.connections <= 8:  # a fast machine would be done before the first cut
        some = [once() for _ in range(4)]
        requests += some
        made += await asyncio.gather(*(until_answered(afar, sent) for sent in (*some, *some)))
    cutting.cancel()

    assert {answer.status_code for answer in made} == {201}
    assert (await afar.page())["total"] == len({answer.json()["id"] for answer in made}) == len(requests)


# What `Scope.together` promises to whatever runs in it.


async def titles(mine: Scope) -> list[str]:
    rows = await mine.read(select(T.c.title).where(T.c.user_id == OWNER).order_by(T.c.title), {})
    return [row.title for row in rows]


async def test_all_of_it_is_done_or_nothing(mine: Scope) -> None:
    async def work(inner: Scope) -> None:
        await tasks.create(inner, TaskCreate(title="First"))
        assert await titles(inner) == ["First"]
        assert await titles(mine) == []
        await tasks.create(inner, TaskCreate(title="Second"))

    async def fails(inner: Scope) -> None:
        await work_of(inner)
        raise NotFound("in the end")

    async def work_of(inner: Scope) -> None:
        await tasks.create(inner, TaskCreate(title="Undone"))

    await mine.together(work)
    seen = mine.seen.number
    with pytest.raises(NotFound):
        await mine.together(fails)

    assert await titles(mine) == ["First", "Second"]
    assert mine.seen.number == seen


async def test_a_write_that_is_refused_takes_nothing_else_along(mine: Scope) -> None:
    async def work(inner: Scope) -> None:
        task_id, _ = await tasks.create(inner, TaskCreate(title="First"))
        with pytest.raises(UniqueViolation):
            await tasks.create(inner, TaskCreate(title="Again", id=task_id))
        with pytest.raises(NotFound):
            await tasks.edit_many(inner, [task_id, uuid4()], TaskPatch(title="Not all are there"))
        await tasks.create(inner, TaskCreate(title="Second"))

    await mine.together(work)

    assert await titles(mine) == ["First", "Second"]


async def test_it_runs_again_when_the_database_breaks_it_off_whatever_became_of_the_error(mine: Scope) -> None:
    tries = 0

    async def work(inner: Scope) -> int:
        nonlocal tries
        tries += 1

        async def change(changing: Changing) -> None:
            row = tasks.jsonable(tasks.row_of(mine, TaskCreate(title=f"Try {tries}")))
            await changing.run(door.create_many(T, tasks.GIVEN, shown), {"rows": door.rows_of([row])})
            if tries < 3:
                raise SerializationFailure

        try:
            await inner.change(change, at_most=1)
        except Unavailable:
            return -1  # as FastAPI does, which makes an answer of it
        return tries

    assert await mine.together(work) == 3
    assert await titles(mine) == ["Try 3"]
