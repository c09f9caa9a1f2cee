"""The trash: what was deleted comes back, or is gone for good."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlmodel import SQLModel

from backend.services import housekeeping
from backend.services.recognition import Recognition
from backend.services.trash_query import tables
from backend.state import State
from tests.client import Client, Json, Statements
from tests.test_input import assert_problem
from tests.test_subtasks import tree


async def trash(client: Client, **parameters: Any) -> list[Json]:
    answer = await client.get("/v1/trash", params=parameters)
    assert answer.status_code == 200, answer.text
    items: list[Json] = answer.json()["items"]
    return items


async def delete(client: Client, path: str) -> None:
    answer = await client.delete(path)
    assert answer.status_code == 204, answer.text


async def restore(client: Client, task: Json) -> Json:
    answer = await client.post(f"/v1/trash/tasks/{task['id']}/restore")
    assert answer.status_code == 200, answer.text
    restored: Json = answer.json()
    return restored


async def older(state: State, days: int) -> None:
    """As if all that was deleted had been so, so many days earlier."""
    async with state.database.engine.connect() as connection:
        for table in ("tasks", "projects", "filters", "comments"):
            await connection.execute(
                text(
                    f"UPDATE {table} SET deleted_at = deleted_at - :days * interval '1 day', "
                    "version = version + 100000 WHERE deleted_at IS NOT NULL"
                ),
                {"days": days},
            )
        await connection.execute(text("UPDATE sync_state SET seq = seq + 100000"))


async def test_what_was_deleted_is_listed_with_what_it_took_along(alice: Client, statements: Statements) -> None:
    made, home = await tree(alice), await alice.project("Home")
    await delete(alice, f"/v1/tasks/{made['c']['id']}")
    await delete(alice, f"/v1/tasks/{made['a']['id']}")
    await delete(alice, f"/v1/projects/{home['id']}")
    statements.clear()

    items = await trash(alice)

    assert len(statements) == 1
    assert [(item["kind"], item["title"], item["contains"]) for item in items] == [
        ("project", "Home", 0),
        ("task", "a", 3),
        ("task", "c", 0),
    ]
    assert items[1]["deleted_at"] < items[1]["ends_at"]
    within = {item["title"]: item["contains"] for item in await trash(alice, within=made["a"]["id"])}
    assert within == {"b": 1, "d": 0, "e": 0}
    assert {item["title"] for item in await trash(alice, within=made["b"]["id"])} == {"d"}
    walked = []
    cursor: dict[str, str] = {}
    while True:
        page = (await alice.get("/v1/trash", params={"limit": 1, **cursor})).json()
        walked += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert walked == items
    assert_problem(await alice.get("/v1/trash", params={**cursor, "within": made["a"]["id"]}), 422)


async def test_a_task_and_a_project_of_one_id_each_tell_what_comes_with_them(alice: Client) -> None:
    same = str(uuid4())
    await alice.post("/v1/projects", {"id": same, "name": "Home"})
    await alice.add_many([{"title": "In it", "project_id": same} for _ in range(2)])
    await alice.add_many([{"title": "Top", "id": same}, {"title": "Part", "parent_id": same}])
    await delete(alice, f"/v1/projects/{same}?tasks=trash")
    await delete(alice, f"/v1/tasks/{same}")

    assert [(item["kind"], item["contains"]) for item in await trash(alice)] == [("task", 1), ("project", 2)]


async def test_a_task_comes_back_with_its_parts_and_each_has_a_new_number(alice: Client) -> None:
    made = await tree(alice)
    await delete(alice, f"/v1/tasks/{made['c']['id']}")
    await delete(alice, f"/v1/tasks/{made['a']['id']}")
    assert await alice.titles() == ["f"]

    restored = await restore(alice, made["a"])

    assert (await alice.get(f"/v1/tasks/{made['a']['id']}")).json() == restored
    items = {task["title"]: task for task in (await alice.page())["items"]}
    assert set(items) == {"a", "b", "d", "e", "f"}
    for title in "abde":
        assert items[title]["version"] > made["f"]["version"] + 6
        assert {**items[title], "version": 0, "updated_at": ""} == {**made[title], "version": 0, "updated_at": ""}
    assert [item["title"] for item in await trash(alice)] == ["c"]
    assert (await restore(alice, made["c"]))["parent_id"] == made["b"]["id"]


async def test_a_part_whose_parent_is_not_there_comes_back_as_a_task_of_its_own(alice: Client) -> None:
    made = await tree(alice)
    await delete(alice, f"/v1/tasks/{made['a']['id']}")

    restored = await restore(alice, made["b"])

    assert restored["parent_id"] is None
    assert await alice.titles(sort="title") == ["b", "c", "d", "f"]
    assert {item["title"] for item in await trash(alice, within=made["a"]["id"])} == {"e"}
    await restore(alice, made["a"])
    items = {task["title"]: task for task in (await alice.page())["items"]}
    assert (items["b"]["parent_id"], items["e"]["parent_id"]) == (None, made["a"]["id"])


async def test_what_comes_back_is_where_its_parent_went_meanwhile(alice: Client) -> None:
    made, home = await tree(alice), await alice.project("Home")
    await delete(alice, f"/v1/tasks/{made['b']['id']}")
    await alice.patch(f"/v1/tasks/{made['a']['id']}", {"project_id": home["id"]})

    restored = await restore(alice, made["b"])

    assert restored["project_id"] == home["id"]
    assert (await alice.get(f"/v1/tasks/{made['c']['id']}")).json()["project_id"] == home["id"]


async def test_a_task_that_would_come_back_too_deep_is_a_part_of_none(alice: Client) -> None:
    made = await tree(alice)
    chain = [await alice.add("0")]
    for n in range(1, 3):
        chain.append(await alice.add(str(n), parent_id=chain[-1]["id"]))
    await delete(alice, f"/v1/tasks/{made['b']['id']}")  # two levels
    await alice.patch(f"/v1/tasks/{made['a']['id']}", {"parent_id": chain[2]["id"]})  # its parent is at the third

    restored = await restore(alice, made["b"])

    assert restored["parent_id"] is None
    assert (await alice.get(f"/v1/tasks/{made['c']['id']}")).json()["parent_id"] == made["b"]["id"]


async def test_a_task_of_a_project_in_the_trash_comes_back_into_the_inbox(alice: Client) -> None:
    home = await alice.project("Home")
    task = await alice.add("Figs", project_id=home["id"])
    part = await alice.add("Part", parent_id=task["id"])
    await delete(alice, f"/v1/projects/{home['id']}?tasks=trash")

    assert (await restore(alice, task))["project_id"] is None

    assert (await alice.get(f"/v1/tasks/{part['id']}")).json()["project_id"] is None
    answer = await alice.post(f"/v1/trash/projects/{home['id']}/restore")
    assert answer.status_code == 200
    assert (await alice.page(inbox="true"))["total"] == 2


async def test_a_project_comes_back_unless_another_has_its_name(alice: Client) -> None:
    outer = await alice.project("Home")
    inner = await alice.project("Inner", parent_id=outer["id"])
    await delete(alice, f"/v1/projects/{outer['id']}")
    taken = await alice.project("Home")

    refused = assert_problem(await alice.post(f"/v1/trash/projects/{outer['id']}/restore"), 409)
    assert "names by now: Home." in refused["detail"]
    assert [item["title"] for item in await trash(alice)] == ["Home"]
    lone = (await alice.post(f"/v1/trash/projects/{inner['id']}/restore")).json()
    assert (lone["parent_id"], lone["depth"]) == (None, 0)
    await alice.patch(f"/v1/projects/{taken['id']}", {"name": "Other"})
    assert (await alice.post(f"/v1/trash/projects/{outer['id']}/restore")).status_code == 200


async def comments(client: Client, task: Json) -> list[str]:
    answer = await client.get(f"/v1/tasks/{task['id']}/comments")
    assert answer.status_code == 200, answer.text
    return [comment["body"] for comment in answer.json()["items"]]


async def depend(client: Client, task: Json, on: Json) -> None:
    answer = await client.call("PUT", f"/v1/tasks/{task['id']}/dependencies/{on['id']}")
    assert answer.status_code == 201, answer.text


async def awaited(client: Client, task: Json) -> list[str]:
    answer = await client.get(f"/v1/tasks/{task['id']}/dependencies")
    assert answer.status_code == 200, answer.text
    return [task["title"] for task in answer.json()["items"]]


async def test_comments_and_dependencies_go_with_their_task_and_come_back_with_it(alice: Client, state: State) -> None:
    made = await tree(alice)
    for title, body in (("a", "of a"), ("c", "of c"), ("c", "deleted before")):
        await alice.post(f"/v1/tasks/{made[title]['id']}/comments", {"body": body})
    [_, before] = (await alice.get(f"/v1/tasks/{made['c']['id']}/comments")).json()["items"]
    await delete(alice, f"/v1/tasks/{made['c']['id']}/comments/{before['id']}")
    await depend(alice, made["c"], made["f"])
    await depend(alice, made["d"], made["c"])
    await depend(alice, made["f"], made["e"])
    await delete(alice, f"/v1/tasks/{made['f']['id']}/dependencies/{made['e']['id']}")

    await delete(alice, f"/v1/tasks/{made['a']['id']}")

    await no_living_row_refers_to_a_tombstone(state)
    assert (await alice.page(search="of"))["total"] == 0
    await restore(alice, made["a"])
    assert (await comments(alice, made["a"]), await comments(alice, made["c"])) == (["of a"], ["of c"])
    assert (await awaited(alice, made["c"]), await awaited(alice, made["d"])) == (["f"], ["c"])
    assert await awaited(alice, made["f"]) == []


async def test_they_go_and_come_back_with_a_project_too(alice: Client, state: State) -> None:
    home, outside = await alice.project("Home"), await alice.add("Outside")
    task = await alice.add("Inside", project_id=home["id"])
    await alice.post(f"/v1/tasks/{task['id']}/comments", {"body": "said"})
    await depend(alice, outside, task)
    await delete(alice, f"/v1/projects/{home['id']}?tasks=trash")
    await no_living_row_refers_to_a_tombstone(state)

    assert (await alice.post(f"/v1/trash/projects/{home['id']}/restore")).status_code == 200

    assert await comments(alice, task) == ["said"]
    assert await awaited(alice, outside) == ["Inside"]


async def test_with_a_project_whose_tasks_are_taken_out_these_keep_all_that_is_theirs(alice: Client) -> None:
    home, outside = await alice.project("Home"), await alice.add("Outside")
    task = await alice.add("Inside", project_id=home["id"])
    await alice.post(f"/v1/tasks/{task['id']}/comments", {"body": "said"})
    await depend(alice, outside, task)

    await delete(alice, f"/v1/projects/{home['id']}?tasks=inbox")

    assert await comments(alice, task) == ["said"]
    assert await awaited(alice, outside) == ["Inside"]


async def test_a_dependency_that_would_close_a_circle_by_now_stays_away(alice: Client) -> None:
    made = {title: await alice.add(title) for title in ("first", "middle", "last")}
    await depend(alice, made["last"], made["middle"])
    await depend(alice, made["middle"], made["first"])
    await delete(alice, f"/v1/tasks/{made['middle']['id']}")
    await depend(alice, made["first"], made["last"])

    await restore(alice, made["middle"])

    assert await awaited(alice, made["middle"]) == ["first"]  # the one that was made anew first
    assert await awaited(alice, made["last"]) == []
    assert await awaited(alice, made["first"]) == ["last"]


async def test_a_dependency_between_two_that_were_deleted_comes_back_with_the_second(alice: Client) -> None:
    made = {title: await alice.add(title) for title in ("a", "b")}
    await depend(alice, made["a"], made["b"])
    await alice.post("/v1/tasks/batch/delete", {"ids": [made["a"]["id"], made["b"]["id"]]})

    await restore(alice, made["a"])
    assert await awaited(alice, made["a"]) == []
    await restore(alice, made["b"])
    assert await awaited(alice, made["a"]) == ["b"]


async def test_a_dependency_that_stayed_away_does_not_come_back_another_time(alice: Client) -> None:
    made = {title: await alice.add(title) for title in "abc"}
    await depend(alice, made["a"], made["b"])
    await depend(alice, made["b"], made["c"])
    await delete(alice, f"/v1/tasks/{made['b']['id']}")
    await depend(alice, made["c"], made["a"])
    await restore(alice, made["b"])
    await delete(alice, f"/v1/tasks/{made['c']['id']}/dependencies/{made['a']['id']}")
    before = {title: await awaited(alice, made[title]) for title in "abc"}

    await delete(alice, f"/v1/tasks/{made['a']['id']}")
    await restore(alice, made["a"])

    assert {title: await awaited(alice, made[title]) for title in "abc"} == before


async def test_what_comes_back_is_found_in_the_language_of_now(
    alice: Client, state: State, recognition: Recognition
) -> None:
    task = await alice.add("Häuser")
    await alice.post(f"/v1/tasks/{task['id']}/comments", {"body": "Gärten"})
    await delete(alice, f"/v1/tasks/{task['id']}")
    assert (await alice.patch("/v1/me", {"language": "de"})).status_code == 200
    recognition.forget_all()  # as if ten seconds had passed

    restored = await restore(alice, task)

    assert restored["title"] == "Häuser"
    async with state.database.engine.connect() as connection:
        said = await connection.execute(text("SELECT language FROM tasks UNION SELECT language FROM comments"))
        assert said.scalars().all() == ["de"]


@pytest.mark.parametrize("kind", ["tasks", "projects"])
async def test_what_is_not_in_the_trash_is_not_found_in_it(alice: Client, bob: Client, kind: str) -> None:
    rows = {"tasks": (await alice.add("Living"), await bob.add("Bob's"))}
    rows["projects"] = (await alice.project("Living"), await bob.project("Bob's"))
    living, foreign = rows[kind]
    await bob.delete(f"/v1/{kind}/{foreign['id']}")
    for row_id in (living["id"], foreign["id"], str(uuid4())):
        path = f"/v1/trash/{kind}/{row_id}"
        assert_problem(await alice.post(f"{path}/restore"), 404)
        assert_problem(await alice.delete(path), 404)
    assert len(await trash(bob)) == 1
    assert await trash(alice) == []


async def test_for_good_is_for_good_and_leaves_nothing_that_was_written(alice: Client, state: State) -> None:
    made, home = await tree(alice), await alice.project("Secret", description="secret", color="#123456")
    kept = await alice.add("secret", description="secret", tags=["secret"], due_date="2026-12-24T18:00:00Z")
    await alice.patch(f"/v1/tasks/{kept['id']}", {"parent_id": made["a"]["id"], "completed": True})
    await alice.patch(f"/v1/tasks/{kept['id']}", {"title": "A secret"})
    await alice.post(f"/v1/tasks/{kept['id']}/comments", {"body": "secret"})
    await delete(alice, f"/v1/tasks/{made['a']['id']}")
    await delete(alice, f"/v1/projects/{home['id']}")

    assert (await alice.delete(f"/v1/trash/tasks/{made['a']['id']}")).status_code == 204
    assert (await alice.delete(f"/v1/trash/projects/{home['id']}")).status_code == 204

    assert await trash(alice) == []
    for path in (f"tasks/{made['a']['id']}", f"tasks/{kept['id']}", f"projects/{home['id']}"):
        assert_problem(await alice.post(f"/v1/trash/{path}/restore"), 404)
        assert_problem(await alice.delete(f"/v1/trash/{path}"), 404)
    async with state.database.engine.connect() as connection:
        for table in ("tasks", "projects", "comments", "activity"):
            rows = (await connection.execute(text(f"SELECT to_jsonb(t)::text FROM {table} t"))).scalars().all()
            assert rows or table == "activity"
            assert not any("secret" in row.lower() or "#123456" in row for row in rows)
    assert_problem(await alice.post("/v1/tasks", {"id": kept["id"], "title": "Again"}), 409)


async def test_all_of_it_can_be_emptied(alice: Client, bob: Client) -> None:
    made = await tree(alice)
    await delete(alice, f"/v1/tasks/{made['a']['id']}")
    await delete(alice, f"/v1/projects/{(await alice.project('Home'))['id']}")
    his = await bob.add("Bob's")
    await delete(bob, f"/v1/tasks/{his['id']}")

    assert (await alice.delete("/v1/trash")).json() == {"deleted": 6}

    assert await trash(alice) == []
    assert (await alice.delete("/v1/trash")).json() == {"deleted": 0}
    assert len(await trash(bob)) == 1
    assert await alice.titles() == ["f"]


async def test_after_thirty_days_the_server_empties_it_by_itself(alice: Client, bob: Client, state: State) -> None:
    made, his = await tree(alice), await bob.add("Bob's")
    saved = await alice.save("Secret", "secret")
    await delete(alice, f"/v1/tasks/{made['a']['id']}")
    await delete(alice, f"/v1/filters/{saved['id']}")
    await delete(bob, f"/v1/tasks/{his['id']}")
    await older(state, 29)
    await housekeeping.clean(state.database)
    assert [item["title"] for item in await trash(alice)] == ["a"]
    await older(state, 1)
    late = await bob.add("Late")
    await delete(bob, f"/v1/tasks/{late['id']}")

    await housekeeping.clean(state.database)

    assert await trash(alice) == []
    assert [item["title"] for item in await trash(bob)] == ["Late"]
    async with state.database.engine.connect() as connection:
        left = await connection.execute(text("SELECT count(*), max(filter) FROM filters WHERE scrubbed_at IS NOT NULL"))
        assert left.one() == (1, "-")
        tombs = await connection.execute(text("SELECT count(*) FROM tasks WHERE scrubbed_at IS NOT NULL"))
        assert tombs.scalar() == 6


def test_every_table_with_a_trash_says_what_its_tombstones_leave_out() -> None:
    """Each column is scrubbed, or holds nothing that somebody wrote."""
    told = {
        "id",
        "user_id",
        "version",
        "created_version",
        "language",
        "priority",
        "completed",
        "completed_at",
        "search",
        "position",
    }
    told |= {"favorite", "archived", "depth", "parent_depth", "sort", "order"}
    for table in SQLModel.metadata.tables.values():
        if "deleted_at" in table.c:
            assert (table in tables()) == any("scrubbed" in column.info for column in table.c), table.name
            for column in table.c:
                structural = (
                    column.name in told or column.name.endswith(("_id", "_at")) or column.name == "deleted_with"
                )
                assert structural or "scrubbed" in column.info, f"{table.name}.{column.name}"


async def test_nothing_that_lives_refers_to_what_is_in_the_trash(alice: Client, state: State) -> None:
    made, home = await tree(alice), await alice.project("Home")
    await alice.patch(f"/v1/tasks/{made['a']['id']}", {"project_id": home["id"]})
    await delete(alice, f"/v1/tasks/{made['b']['id']}")
    await alice.post("/v1/tasks/batch/delete", {"ids": [made["e"]["id"], made["f"]["id"]]})
    await delete(alice, f"/v1/projects/{home['id']}?tasks=inbox")

    await no_living_row_refers_to_a_tombstone(state)


async def no_living_row_refers_to_a_tombstone(state: State) -> None:
    """Read from the models' foreign keys, so that a new relation is covered without being told."""
    looked = 0
    async with state.database.engine.connect() as connection:
        for table in SQLModel.metadata.tables.values():
            for key in table.foreign_key_constraints:
                to = key.referred_table
                if "deleted_at" in table.c and "deleted_at" in to.c:
                    looked += 1
                    on = " AND ".join(f"a.{each.parent.name} = b.{each.column.name}" for each in key.elements)
                    wrong = await connection.execute(
                        text(
                            f"SELECT count(*) FROM {table.name} a JOIN {to.name} b ON {on} "
                            "WHERE a.deleted_at IS NULL AND b.deleted_at IS NOT NULL"
                        )
                    )
                    assert wrong.scalar() == 0, key.name
    assert looked >= 3


async def test_what_was_said_of_a_task_is_gone_with_it_whatever_became_of_it(alice: Client, state: State) -> None:
    task, other = await alice.add("Figs"), await alice.add("Other")
    await depend(alice, other, task)
    for body in ("secret, deleted", "secret, living"):
        await alice.post(f"/v1/tasks/{task['id']}/comments", {"body": body})
    [first, _] = (await alice.get(f"/v1/tasks/{task['id']}/comments")).json()["items"]
    await delete(alice, f"/v1/tasks/{task['id']}/comments/{first['id']}")
    async with state.database.engine.connect() as connection:
        # As a release deletes it that knows neither comments nor dependencies.
        gone = text("UPDATE tasks SET deleted_at = now(), version = version + 1000 WHERE id = :id")
        await connection.execute(gone, {"id": task["id"]})
        await connection.execute(text("UPDATE sync_state SET seq = seq + 1000"))

    assert (await alice.delete(f"/v1/trash/tasks/{task['id']}")).status_code == 204

    await no_living_row_refers_to_a_tombstone(state)
    async with state.database.engine.connect() as connection:
        bodies = (await connection.execute(text("SELECT body FROM comments"))).scalars().all()
    assert bodies == ["-", "-"]
