"""The write door: every change is numbered in commit order, whatever happens at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import IntegrityError
from psycopg.errors import RaiseException, SerializationFailure
from sqlalchemy import Table, bindparam, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend import door
from backend.errors import NotFound, PreconditionFailed, Unavailable
from backend.models import SyncState, Task, table
from backend.schemas.tasks import TaskCreate, TaskPatch
from backend.scope import Changing, Scope
from backend.services import tasks
from backend.services.task_wire import shown
from backend.wall import OWNER
from tests.client import Client

T, COUNTER = table(Task), table(SyncState)


@asynccontextmanager
async def rival(mine: Scope) -> AsyncIterator[AsyncConnection]:
    """Somebody who holds the door open until the block ends, and has changed the counter."""
    engine = mine.database.engine.execution_options(isolation_level="READ COMMITTED")
    async with engine.begin() as connection:
        await connection.execute(door.reserve(), {"changes": 1, "owner": mine.user_id})
        yield connection


async def versions(mine: Scope) -> list[int]:
    rows = await mine.read(select(T.c.version).where(T.c.user_id == OWNER).order_by(T.c.version), {})
    return [row.version for row in rows]


async def counter(mine: Scope) -> int:
    rows = await mine.read(select(COUNTER.c.seq).where(COUNTER.c.user_id == OWNER), {})
    return int(rows[0].seq)


async def rivals_change(
    connection: AsyncConnection, mine: Scope, row_id: UUID, target: Table = T, **values: Any
) -> None:
    this = update(target).where(target.c.user_id == mine.user_id, target.c.id == row_id)
    change = this.values(version=await _next(connection, mine), **values)
    await connection.execute(change.execution_options(crosses_users="a rival, by its own id"))


async def _next(connection: AsyncConnection, mine: Scope) -> int:
    this = select(COUNTER.c.seq).where(COUNTER.c.user_id == OWNER)
    return int((await connection.execute(this, {"owner": mine.user_id})).scalar_one())


async def test_a_change_that_waited_keeps_the_rival_s_fields_and_comes_after(mine: Scope) -> None:
    task_id, _ = await tasks.create(mine, TaskCreate(title="First", description="old"))
    async with rival(mine) as connection:
        await rivals_change(connection, mine, task_id, description="the rival's")
        waiting = asyncio.create_task(tasks.edit(mine, task_id, TaskPatch(title="Second"), None))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    stored = await waiting

    assert '"title":"Second"' in stored.body
    assert '"description":"the rival\'s"' in stored.body
    assert await versions(mine) == [stored.version] == [await counter(mine)]


async def test_a_change_with_a_version_that_the_rival_took_is_refused(mine: Scope) -> None:
    task_id, first = await tasks.create(mine, TaskCreate(title="First"))
    async with rival(mine) as connection:
        await rivals_change(connection, mine, task_id, title="The rival's")
        waiting = asyncio.create_task(tasks.edit(mine, task_id, TaskPatch(title="Second"), [first.version]))
        await asyncio.sleep(0.2)

    with pytest.raises(PreconditionFailed):
        await waiting
    assert '"title":"The rival\'s"' in (await tasks.read(mine, task_id)).body


async def test_a_change_of_what_the_rival_deleted_is_not_found(mine: Scope) -> None:
    task_id, _ = await tasks.create(mine, TaskCreate(title="First"))
    async with rival(mine) as connection:
        await rivals_change(connection, mine, task_id, deleted_at=text("now()"))
        waiting = asyncio.create_task(tasks.edit(mine, task_id, TaskPatch(title="Second"), None))
        await asyncio.sleep(0.2)

    with pytest.raises(NotFound):
        await waiting


async def test_two_deletes_at_once_delete_once(alice: Client) -> None:
    for _ in range(20):
        task = await alice.add("Old")
        answers = await asyncio.gather(*(alice.delete(f"/v1/tasks/{task['id']}") for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]


async def test_of_many_changes_with_the_same_version_one_wins(alice: Client) -> None:
    task = await alice.add("First")
    path, same = f"/v1/tasks/{task['id']}", {"If-Match": f'"{task["version"]}"'}

    answers = await asyncio.gather(*(alice.patch(path, {"title": f"By {n}"}, headers=same) for n in range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    winner = next(answer for answer in answers if answer.status_code == 200)
    assert (await alice.get(path)).json() == winner.json()


async def test_of_many_creates_with_the_same_id_one_wins(alice: Client) -> None:
    own = str(uuid4())

    answers = await asyncio.gather(*(alice.post("/v1/tasks", {"title": f"By {n}", "id": own}) for n in range(8)))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert (await alice.page())["total"] == 1


async def test_a_reader_who_pages_by_version_misses_nothing_while_all_forms_write(mine: Scope) -> None:
    """The promise of the counter: what is at or below a version that was seen will not change any more."""
    made = [(await tasks.create(mine, TaskCreate(title=f"Task {n}")))[0] for n in range(10)]
    copy: dict[UUID, tuple[int, str]] = {}
    feed = (
        select(T.c.id, T.c.version, T.c.title)
        .where(T.c.user_id == OWNER, T.c.version > bindparam("after"))
        .order_by(T.c.version)
        .limit(7)
    )
    done = False

    async def write(seed: int) -> None:
        chance = random.Random(seed)
        for n in range(25):
            form = chance.randrange(5)
            if form == 0:
                await tasks.create(mine, TaskCreate(title=f"New {seed} {n}"))
            elif form == 1:
                await tasks.edit(mine, chance.choice(made), TaskPatch(title=f"Edited {seed} {n}"), None)
            elif form == 2:
                await tasks.create_many(mine, [TaskCreate(title=f"Many {seed} {n} {m}") for m in range(3)])
            elif form == 3:
                await tasks.edit_many(mine, chance.sample(made, 3), TaskPatch(title=f"Same {seed} {n}"))
            else:
                with pytest.raises(NotFound):
                    await tasks.edit_many(mine, [chance.choice(made), uuid4()], TaskPatch(title="Rolled back"))

    async def read() -> None:
        after = 0
        while True:
            finished = done
            rows = await mine.read(feed, {"after": after})
            for row in rows:
                copy[row.id] = (row.version, row.title)
                after = row.version
            if finished and not rows:
                return
            await asyncio.sleep(0)

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write(seed) for seed in range(6)))
    done = True
    await reader

    everything = await mine.read(select(T.c.id, T.c.version, T.c.title).where(T.c.user_id == OWNER), {})
    assert {row.id: (row.version, row.title) for row in everything} == copy
    assert not any(title == "Rolled back" for _, title in copy.values())


async def test_the_database_refuses_a_version_that_does_not_grow(mine: Scope) -> None:
    task_id, stored = await tasks.create(mine, TaskCreate(title="First"))
    same = update(T).where(T.c.user_id == OWNER, T.c.id == task_id).values(title="x", version=stored.version)

    with pytest.raises(RaiseException, match="does not follow"):
        await mine.write(same, {})


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"title": ""}, "tasks_title_length"),
        ({"title": "x" * 201}, "tasks_title_length"),
        ({"description": "x" * 10_001}, "tasks_description_length"),
        ({"title_key": "x" * 201}, "tasks_title_key_length"),
        ({"tags": {"a": 1}}, "tasks_tags_sound"),
        ({"tags": [""]}, "tasks_tags_sound"),
        ({"tags": ["x" * 51]}, "tasks_tags_sound"),
        ({"tags": [1]}, "tasks_tags_sound"),
        ({"tags": [["a"]]}, "tasks_tags_sound"),
        ({"tags": [str(n) for n in range(21)]}, "tasks_tags_sound"),
        ({"completed": True}, "tasks_completed_with_time"),
        ({"due_date": text("'infinity'")}, "tasks_due_date_range"),
    ],
)
async def test_the_database_itself_refuses_what_no_task_may_be(
    mine: Scope, values: dict[str, Any], constraint: str
) -> None:
    task_id, stored = await tasks.create(mine, TaskCreate(title="First"))
    this = update(T).where(T.c.user_id == mine.user_id, T.c.id == task_id)
    wrong = this.values(version=stored.version + 1, **values).execution_options(crosses_users="by its own id")

    with pytest.raises(IntegrityError, match=constraint):
        await mine.write(wrong, {})


async def test_work_that_the_database_broke_off_runs_again_and_is_there_once(mine: Scope) -> None:
    tries = 0

    async def work(changing: Changing) -> int:
        nonlocal tries
        tries += 1
        values = {"rows": door.rows_of([tasks.jsonable(tasks.row_of(mine, TaskCreate(title=f"Try {tries}")))])}
        await changing.run(door.create_many(T, tasks.GIVEN, shown), values)
        if tries < 3:
            raise SerializationFailure
        return tries

    assert await mine.change(work, at_most=1) == 3
    rows = await mine.read(select(T.c.title).where(T.c.user_id == OWNER), {})
    assert [row.title for row in rows] == ["Try 3"]


async def test_work_that_is_broken_off_for_ever_is_unavailable(mine: Scope) -> None:
    async def work(_changing: Changing) -> None:
        raise SerializationFailure

    with pytest.raises(Unavailable):
        await mine.change(work, at_most=1)


async def test_the_transaction_form_gives_its_numbers_away_in_order(mine: Scope) -> None:
    async def work(changing: Changing) -> int:
        return changing.first

    first, second = await mine.change(work, at_most=3), await mine.change(work, at_most=5)

    assert (first, second) == (1, 4)
    assert await counter(mine) == 8  # more than needed does no harm
