"""What several do to one structure at once, over connections of their own: one wins, and nothing is lost or doubled."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from backend.services import housekeeping, trash
from backend.state import State
from tests.client import Client, Json
from tests.conftest import settings_for, worker
from tests.test_positions import in_order
from tests.test_trash import no_living_row_refers_to_a_tombstone

pytestmark = pytest.mark.long

ROUNDS = 100


async def at_once(number: int, *asked: Awaitable[Any]) -> list[Any]:
    """Each in its turn begins."""
    turned = list(asked[number % len(asked) :] + asked[: number % len(asked)])
    answers = await asyncio.gather(*turned)
    first = -number % len(asked)
    return [*answers[first:], *answers[:first]]


async def rows_of(state: State, client: Client, table: str) -> dict[str, Any]:
    query = text(f"SELECT * FROM {table} WHERE user_id = :owner")
    async with state.database.engine.connect() as connection:
        return {str(row.id): row for row in await connection.execute(query, {"owner": client.user_id})}


async def trees(client: Client) -> list[tuple[Json, Json, Json]]:
    """A hundred tasks, each with a part and a comment on that, and all in the trash."""
    ids = [(str(uuid4()), str(uuid4())) for _ in range(ROUNDS)]
    await client.add_many(
        [
            each
            for top, part in ids
            for each in ({"id": top, "title": "Top"}, {"id": part, "title": "Part", "parent_id": top})
        ]
    )
    made = []
    for top, part in ids:
        comment = (await client.post(f"/v1/tasks/{part}/comments", {"body": "Comment"})).json()
        made.append(({"id": top}, {"id": part}, comment))
    assert (await client.post("/v1/tasks/batch/delete", {"ids": [top for top, _ in ids]})).status_code == 200
    return made


async def assert_whole(state: State, client: Client, made: list[tuple[Json, Json, Json]], restored: list[bool]) -> None:
    """Either all three are back, or what all three said is gone."""
    tasks, comments = await rows_of(state, client, "tasks"), await rows_of(state, client, "comments")
    for (top, part, comment), back in zip(made, restored, strict=True):
        rows = [tasks[top["id"]], tasks[part["id"]], comments[comment["id"]]]
        assert [row.deleted_at is None for row in rows] == [back] * 3
        assert [row.scrubbed_at is None for row in rows] == [back] * 3
        assert [rows[0].title, rows[1].title, rows[2].body] == (["Top", "Part", "Comment"] if back else ["-"] * 3)
        assert not back or rows[1].parent_id == rows[0].id
    await no_living_row_refers_to_a_tombstone(state)


async def test_two_moves_to_one_place_both_happen_and_the_later_is_nearer(alice: Client) -> None:
    titles = {each["id"]: each["title"] for each in await alice.add_many([{"title": title} for title in "abcd"])}
    ids = {title: row_id for row_id, title in titles.items()}
    for number in range(ROUNDS):
        answers = await at_once(
            number, *(alice.post(f"/v1/tasks/{ids[title]}/move", {"after": ids["a"]}) for title in "bc")
        )

        assert [answer.status_code for answer in answers] == [200, 200]
        later, earlier = sorted((answer.json() for answer in answers), key=lambda task: -task["version"])
        assert later["version"] != earlier["version"]
        assert await in_order(alice) == ["a", later["title"], earlier["title"], "d"]
        positions = [task["position"] for task in (await alice.page(sort="position"))["items"]]
        assert sorted(set(positions)) == positions


async def test_a_restore_and_a_deletion_for_good_one_wins_with_the_whole_tree(alice: Client, state: State) -> None:
    made, restored = await trees(alice), []
    for number, (top, _, _) in enumerate(made):
        path = f"/v1/trash/tasks/{top['id']}"

        answers = await at_once(number, alice.post(f"{path}/restore"), alice.delete(path))

        statuses = [answer.status_code for answer in answers]
        assert statuses in ([200, 404], [404, 204])
        restored.append(statuses[0] == 200)
    await assert_whole(state, alice, made, restored)


async def test_a_restore_and_the_server_s_purge_one_wins_with_the_whole_tree(alice: Client, state: State) -> None:
    made, restored = await trees(alice), []
    async with state.database.engine.connect() as connection:
        await connection.execute(text("UPDATE sync_state SET seq = 1000000"))
    for number, (top, part, comment) in enumerate(made):
        await aged(state, alice, [top["id"], part["id"], comment["id"]])

        answer, _ = await at_once(
            number, alice.post(f"/v1/trash/tasks/{top['id']}/restore"), trash.empty_old(state.database)
        )

        assert answer.status_code in {200, 404}
        restored.append(answer.status_code == 200)
    await assert_whole(state, alice, made, restored)


async def aged(state: State, client: Client, ids: list[str]) -> None:
    """These alone are in the trash for 31 days."""
    async with state.database.engine.connect() as connection:
        for table in ("tasks", "comments"):
            await connection.execute(
                text(
                    f"UPDATE {table} SET deleted_at = deleted_at - interval '31 days', version = version + 100000 "
                    "WHERE user_id = :owner AND id = ANY (CAST(:ids AS uuid[]))"
                ),
                {"owner": client.user_id, "ids": ids},
            )


@pytest.mark.parametrize("becomes", ["trash", "inbox"])
async def test_nothing_lives_in_a_project_that_is_deleted_while_tasks_come_into_it(
    alice: Client, state: State, becomes: str
) -> None:
    tasks = await alice.add_many([{"title": "Moved"} for _ in range(ROUNDS)])
    seen = []
    for number, task in enumerate(tasks):
        project, new = await alice.project(f"Project {number}"), str(uuid4())

        deleted, moved, created = await at_once(
            number,
            alice.delete(f"/v1/projects/{project['id']}?tasks={becomes}"),
            alice.patch(f"/v1/tasks/{task['id']}", {"project_id": project["id"]}),
            alice.post("/v1/tasks", {"id": new, "title": "New", "project_id": project["id"]}),
        )

        assert deleted.status_code == 204
        assert moved.status_code in {200, 422}
        assert created.status_code in {201, 422}
        seen.append((project["id"], (task["id"], moved.status_code == 200), (new, created.status_code == 201)))
    rows = await rows_of(state, alice, "tasks")
    for project_id, (task_id, came), (new, made) in seen:
        assert (new in rows) == made
        for row, was_inside in ((rows[task_id], came), *([(rows[new], True)] if made else [])):
            if was_inside and becomes == "trash":
                assert (str(row.project_id), str(row.deleted_with)) == (project_id, project_id)
            else:
                assert (row.project_id, row.deleted_at) == (None, None)
    await no_living_row_refers_to_a_tombstone(state)


async def test_a_part_that_is_made_while_its_parent_is_deleted_goes_with_it_or_is_refused(
    alice: Client, state: State
) -> None:
    parents = await alice.add_many([{"title": "Parent"} for _ in range(ROUNDS)])
    made: dict[str, tuple[str, int]] = {}
    for number, parent in enumerate(parents):
        part = str(uuid4())

        created, deleted = await at_once(
            number,
            alice.post("/v1/tasks", {"id": part, "title": "Part", "parent_id": parent["id"]}),
            alice.delete(f"/v1/tasks/{parent['id']}"),
        )

        assert deleted.status_code == 204
        made[part] = parent["id"], created.status_code
    rows = await rows_of(state, alice, "tasks")
    for part, (parent_id, status) in made.items():
        assert status == (201 if part in rows else 422)
        assert part not in rows or str(rows[part].deleted_with) == parent_id
    await no_living_row_refers_to_a_tombstone(state)


async def test_of_two_that_would_be_parts_of_one_another_one_becomes_one(alice: Client) -> None:
    tasks = await alice.add_many([{"title": "Task"} for _ in range(2 * ROUNDS)])
    for number, (one, other) in enumerate(zip(tasks[::2], tasks[1::2], strict=True)):
        answers = await at_once(
            number,
            alice.patch(f"/v1/tasks/{one['id']}", {"parent_id": other["id"]}),
            alice.patch(f"/v1/tasks/{other['id']}", {"parent_id": one["id"]}),
        )

        assert sorted(answer.status_code for answer in answers) == [200, 409]
        parents = [(await alice.get(f"/v1/tasks/{each['id']}")).json()["parent_id"] for each in (one, other)]
        assert parents == ([other["id"], None] if answers[0].status_code == 200 else [None, one["id"]])


async def test_two_workers_that_empty_the_trash_at_once_scrub_each_row_once(
    alice: Client, state: State, database_url: str, tmp_path: Path
) -> None:
    scrubbed: Counter[UUID] = Counter()

    def note(sql: str, values: Any) -> None:
        if "scrubbed_at=" in sql:
            [ids] = [each for each in values if isinstance(each, list)]
            scrubbed.update(ids)

    made = await trees(alice)
    async with worker(settings_for(database_url, tmp_path)) as (app, _), state.database.engine.connect() as connection:
        other: State = app.state["tend"]
        await connection.execute(text("UPDATE sync_state SET seq = 1000000"))
        both = [state.database, other.database]
        for database in both:
            database.watchers.append(note)
        try:
            for number, (top, part, comment) in enumerate(made):
                await aged(state, alice, [top["id"], part["id"], comment["id"]])
                empty = housekeeping.clean if number % 20 == 0 else trash.empty_old

                await at_once(number, *(empty(database) for database in both))
        finally:
            for database in both:
                database.watchers.remove(note)
    assert scrubbed == Counter(UUID(each["id"]) for tree in made for each in tree)
    await assert_whole(state, alice, made, [False] * ROUNDS)
