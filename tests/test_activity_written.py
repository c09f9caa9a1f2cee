"""Activity is written with the change or not at all, tells what the change found, and goes when it is time."""

import asyncio
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text, update

from backend import door
from backend.errors import NotFound, PreconditionFailed
from backend.schemas.tasks import TaskCreate, TaskPatch
from backend.scope import Changing, Scope
from backend.services import activity, housekeeping, tasks, trash
from backend.state import State
from tests.client import Client
from tests.download import end_account
from tests.test_activity import A, edited, said, stored, told
from tests.test_door import rival, rivals_change
from tests.test_input import assert_problem


async def test_what_is_refused_is_not_told(alice: Client, mine: Scope) -> None:
    task = await alice.add("First")
    path, stale = f"/v1/tasks/{task['id']}", {"If-Match": '"999"'}
    changes = {"ids": [task["id"], str(uuid4())], "set": {"title": "x"}}

    for status, answer in (
        (409, await alice.post("/v1/tasks", {"title": "Again", "id": task["id"]})),
        (409, await alice.post("/v1/tasks/batch", {"tasks": [{"title": "x"}, {"title": "y", "id": task["id"]}]})),
        (412, await alice.patch(path, {"title": "x"}, headers=stale)),
        (412, await alice.delete(path, headers=stale)),
        (404, await alice.patch(f"/v1/tasks/{uuid4()}", {"title": "x"})),
        (404, await alice.patch("/v1/tasks/batch", changes)),
        (404, await alice.post("/v1/tasks/batch/delete", {"ids": changes["ids"]})),
    ):
        assert_problem(answer, status)

    assert [row.kind for row in await stored(mine)] == ["created"]


async def test_a_change_that_waited_tells_what_the_rival_left_there(alice: Client, mine: Scope) -> None:
    """The statement saw the task before the wait; what it changed is what it found afterwards."""
    task_id, _ = await tasks.create(mine, TaskCreate(title="First", description="old"))
    async with rival(mine) as connection:
        await rivals_change(connection, mine, task_id, title="The rival's", description="the rival's")
        waiting = [
            asyncio.create_task(tasks.edit(mine, task_id, TaskPatch(title="Second"), None)),
            asyncio.create_task(tasks.edit_many(mine, [task_id], TaskPatch(description="new"))),
        ]
        await asyncio.sleep(0.2)
        assert not any(each.done() for each in waiting)
    await asyncio.gather(*waiting)

    changes = [changes for _, changes in await said(alice, {"id": task_id})]
    assert {"title": ["The rival's", "Second"]} in changes
    assert {"description": ["the rival's", "new"]} in changes


async def test_a_change_to_what_the_rival_made_it_meanwhile_is_not_told(alice: Client, mine: Scope) -> None:
    task_id, _ = await tasks.create(mine, TaskCreate(title="First"))
    async with rival(mine) as connection:
        await rivals_change(connection, mine, task_id, title="Same")
        waiting = asyncio.create_task(tasks.edit(mine, task_id, TaskPatch(title="Same"), None))
        await asyncio.sleep(0.2)
    await waiting

    assert await said(alice, {"id": task_id}) == [("created", {})]


async def test_a_change_that_came_too_late_is_refused_and_not_told(mine: Scope) -> None:
    task_id, first = await tasks.create(mine, TaskCreate(title="First"))
    gone_id, _ = await tasks.create(mine, TaskCreate(title="Gone"))
    async with rival(mine) as connection:
        await rivals_change(connection, mine, task_id, title="The rival's")
        await connection.execute(door.reserve(), {"changes": 1, "owner": mine.user_id})
        await rivals_change(connection, mine, gone_id, deleted_at=text("now()"))
        stale = asyncio.create_task(tasks.edit(mine, task_id, TaskPatch(title="Second"), [first.version]))
        removal = asyncio.create_task(trash.remove_task(mine, task_id, [first.version]))
        gone = asyncio.create_task(tasks.edit(mine, gone_id, TaskPatch(title="Second"), None))
        await asyncio.sleep(0.2)

    for refused in (stale, removal):
        with pytest.raises(PreconditionFailed):
            await refused
    with pytest.raises(NotFound):
        await gone
    assert [row.kind for row in await stored(mine)] == ["created", "created"]


async def test_of_many_changes_at_once_each_begins_where_the_one_before_ended(alice: Client) -> None:
    task = await alice.add("0")

    await asyncio.gather(*(edited(alice, task, title=f"By {n}") for n in range(12)))

    titles = [item["changes"].get("title") for item in (await told(alice, task))[::-1]]
    assert titles[0] is None
    assert titles[1][0] == "0"
    assert all(before[1] == after[0] for before, after in pairwise(titles[1:]))
    assert len(titles) == 13


async def test_what_is_a_year_old_goes_for_everybody_and_nothing_else(
    alice: Client, bob: Client, mine: Scope, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number in (("USERS_AT_ONCE", 1), ("OF_A_USER", 3)):
        monkeypatch.setattr(activity, name, number)
    activity._purge.cache_clear()  # type: ignore[attr-defined]
    for client in (alice, bob):
        task = await client.add("0")
        for n in range(4):
            await edited(client, task, title=str(n + 1))
    newest = {client: (await told(client))[0] for client in (alice, bob)}
    async with state.database.engine.connect() as connection:
        old = update(A).where(A.c.version < 5).values(at=text("now() - interval '367 days'"))
        await connection.execute(old.execution_options(crosses_users="makes it old"))

    await housekeeping.clean(state.database)

    activity._purge.cache_clear()  # type: ignore[attr-defined]
    for client in (alice, bob):
        assert await told(client) == [newest[client]]


async def test_what_was_in_a_task_can_be_taken_out_of_its_activity_too(alice: Client, mine: Scope) -> None:
    task, other = await alice.add("Secret"), await alice.add("Other")
    await edited(alice, task, title="Changed")
    await alice.delete(f"/v1/tasks/{task['id']}")

    async def scrub(changing: Changing) -> None:
        await changing.run(activity.forget(), {"ids": [UUID(task["id"])]})

    await mine.change(scrub, at_most=1)

    assert [item["task_id"] for item in await told(alice)] == [other["id"]]
    assert not any("Secret" in str(row) for row in await stored(mine))


async def test_it_ends_with_the_account(alice: Client, mine: Scope, state: State) -> None:
    await alice.add("First")

    await end_account(state, alice.user_id)

    assert await stored(mine) == []
    assert_problem(await alice.get("/v1/activity"), 401)
