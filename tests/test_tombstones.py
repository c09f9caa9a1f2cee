"""Tombstones go away after 90 days, and whoever was away for longer begins again."""

from uuid import uuid4

import pytest
from sqlalchemy import text

from backend.scope import Scope
from backend.services import tombstones, trash
from backend.services.synced import ENTITIES
from backend.state import State
from tests.client import Client
from tests.device import Device


async def as_if_days_ago(state: State, days: int) -> None:
    async with state.database.engine.connect() as connection:
        for name in ENTITIES:
            await connection.execute(
                text(
                    f"UPDATE {name} SET deleted_at = deleted_at - :days * interval '1 day', version = version + 1000 "
                    "WHERE deleted_at IS NOT NULL"
                ),
                {"days": days},
            )
        await connection.execute(text("UPDATE sync_state SET seq = seq + 1000"))


async def left(state: State) -> int:
    async with state.database.engine.connect() as connection:
        tables = " UNION ALL ".join(f"SELECT id FROM {name} WHERE deleted_at IS NOT NULL" for name in ENTITIES)
        return int((await connection.execute(text(f"SELECT count(*) FROM ({tables}) AS gone"))).scalar_one())


async def floor(state: State, user: Client) -> int:
    async with state.database.engine.connect() as connection:
        found = await connection.execute(
            text("SELECT floor FROM sync_state WHERE user_id = :user"), {"user": user.user_id}
        )
        return int(found.scalar_one())


@pytest.fixture
async def deleted(alice: Client) -> int:
    """How many rows: one of every kind, below one another."""
    device = Device(alice)
    project, task, part, other, comment, waits, saved, tag = (str(uuid4()) for _ in range(8))
    await device.sync(
        device.create("projects", project, name="Balcony"),
        device.create("tasks", task, title="Figs", project_id=project),
        device.create("tasks", part, title="Part", parent_id=task),
        device.create("tasks", other, title="Soil", project_id=project),
        device.create("comments", comment, task_id=part, body="x"),
        device.create("dependencies", waits, task_id=task, depends_on_id=other),
        device.create("filters", saved, name="x", filter="x"),
        device.create("tags", tag, name="x", color="#000000"),
        device.operation("delete", "filters", saved),
        device.operation("delete", "tags", tag),
        device.operation("delete", "projects", project),
    )
    assert device.rows == {}
    return 8


async def test_after_ninety_days_they_are_gone_and_the_floor_says_up_to_where(
    alice: Client, state: State, deleted: int
) -> None:
    await as_if_days_ago(state, 89)
    await trash.empty_old(state.database)
    await tombstones.purge(state.database)
    assert (await left(state), await floor(state, alice)) == (deleted, 0)

    await as_if_days_ago(state, 2)
    highest = await newest_tombstone(state)
    await tombstones.purge(state.database)

    assert (await left(state), await floor(state, alice)) == (0, highest)


async def newest_tombstone(state: State) -> int:
    async with state.database.engine.connect() as connection:
        tables = " UNION ALL ".join(f"SELECT version FROM {name} WHERE deleted_at IS NOT NULL" for name in ENTITIES)
        return int((await connection.execute(text(f"SELECT max(version) FROM ({tables}) AS gone"))).scalar_one())


async def test_what_was_not_scrubbed_stays(alice: Client, state: State, deleted: int) -> None:
    """It could still be restored; to scrub it first is the trash's part of the same hour."""
    await as_if_days_ago(state, 100)
    await tombstones.purge(state.database)
    assert await left(state) == deleted - 1  # a dependency says nothing that would be scrubbed


async def test_what_others_refer_to_stays_until_they_are_gone(alice: Client, state: State) -> None:
    parent = await alice.add("Parent")
    part = await alice.add("Part", parent_id=parent["id"])
    await alice.delete(f"/v1/tasks/{parent['id']}")
    await as_if_days_ago(state, 100)
    await trash.empty_old(state.database)
    async with state.database.engine.connect() as connection:
        younger = "UPDATE tasks SET deleted_at = now(), version = version + 1000 WHERE id = :id"
        await connection.execute(text(younger), {"id": part["id"]})

    await tombstones.purge(state.database)

    assert await left(state) == 2


async def test_a_device_that_was_away_for_longer_begins_again(alice: Client, state: State) -> None:
    away, there = Device(alice), Device(alice)
    kept, task = await alice.add("Kept"), await alice.add("Figs")
    await away.sync()
    await alice.delete(f"/v1/tasks/{task['id']}")
    await as_if_days_ago(state, 100)
    await there.sync()
    await trash.empty_old(state.database)
    await there.sync()
    await tombstones.purge(state.database)

    said = await away.sync()
    assert (said["reset"], [each["id"] for each in said["changes"]]) == (True, [kept["id"]])
    assert set(away.rows) == {("tasks", kept["id"])}
    assert (await there.sync())["reset"] is False


async def test_a_purge_between_two_pages_does_not_begin_a_beginning_again(alice: Client, state: State) -> None:
    """Else a store that is filled for the first time might never come to its end."""
    tasks = await alice.add_many([{"title": f"Task {n}"} for n in range(6)])
    await alice.delete(f"/v1/tasks/{tasks[5]['id']}")
    await as_if_days_ago(state, 100)
    await trash.empty_old(state.database)
    device = Device(alice)
    assert (await device.sync(limit=2))["reset"]

    await tombstones.purge(state.database)

    assert await floor(state, alice) > tasks[5]["version"]
    said = await device.sync(limit=2)
    assert (said["reset"], len(said["changes"])) == (False, 2)
    await device.catch_up(limit=2)
    assert len(device.rows) == 5


async def test_a_purge_is_one_user_s_and_waits_for_their_writes(alice: Client, bob: Client, state: State) -> None:
    task = await bob.add("Bob's")
    await bob.delete(f"/v1/tasks/{task['id']}")
    await as_if_days_ago(state, 100)
    await trash.empty_old(state.database)

    assert await tombstones.purge_of(Scope(alice.user_id, state.database)) == 0
    assert await left(state) == 1
    assert await tombstones.purge_of(Scope(bob.user_id, state.database)) == 1
    assert (await floor(state, alice), await floor(state, bob) > 0) == (0, True)
