"""The order by hand, of tasks and of projects."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from backend.rules import order
from backend.state import State
from tests.client import Client, Json, Statements
from tests.test_input import assert_problem


async def in_order(client: Client, **parameters: Any) -> list[str]:
    return await client.titles(sort="position", limit=200, **parameters)


async def move(client: Client, task: Json, **to: str) -> Json:
    answer = await client.post(f"/v1/tasks/{task['id']}/move", to)
    assert answer.status_code == 200, answer.text
    moved: Json = answer.json()
    return moved


async def some(client: Client, titles: str) -> dict[str, Json]:
    return {title: await client.add(title) for title in titles}


async def test_tasks_are_in_the_order_in_which_they_were_made(alice: Client) -> None:
    await some(alice, "abc")
    await alice.add_many([{"title": title} for title in "def"])

    assert await in_order(alice) == list("abcdef")
    assert await in_order(alice, order="desc") == list("fedcba")
    assert [task["title"] for task in await alice.walk(sort="position", limit=2)] == list("abcdef")


async def test_a_task_is_moved_behind_another_or_before_it(alice: Client) -> None:
    made = await some(alice, "abcd")

    moved = await move(alice, made["a"], after=made["c"]["id"])
    assert await in_order(alice) == list("bcad")
    assert moved["version"] > made["d"]["version"]
    assert (await alice.get(f"/v1/tasks/{moved['id']}")).json() == moved
    await move(alice, made["d"], before=made["b"]["id"])
    assert await in_order(alice) == list("dbca")
    await move(alice, made["b"], after=made["a"]["id"])
    assert await in_order(alice) == list("dcab")
    await move(alice, made["c"], after=made["d"]["id"])
    assert await in_order(alice) == list("dcab")
    await alice.add("e")
    assert await in_order(alice) == list("dcabe")


async def test_only_the_task_that_is_moved_changes(alice: Client, statements: Statements) -> None:
    made = await some(alice, "abc")
    statements.clear()

    await move(alice, made["c"], before=made["b"]["id"])

    assert len(statements) == 3  # the numbers, the two that it comes between, and the change
    for title in "ab":
        assert (await alice.get(f"/v1/tasks/{made[title]['id']}")).json() == made[title]


async def test_a_place_is_beside_another_living_task_of_ones_own(alice: Client, bob: Client) -> None:
    made, foreign = await some(alice, "abc"), await bob.add("Bob's")
    await alice.delete(f"/v1/tasks/{made['b']['id']}")
    path = f"/v1/tasks/{made['a']['id']}/move"

    answers = [await alice.post(path, {"after": task}) for task in (foreign["id"], made["b"]["id"], str(uuid4()))]
    for answer in answers:
        assert_problem(answer, 422)
    assert len({answer.text for answer in answers}) == 1
    assert_problem(await alice.post(path, {"before": made["a"]["id"]}), 422)
    for wrong in ({}, {"after": made["c"]["id"], "before": made["c"]["id"]}, {"after": None}, {"first": True}):
        assert_problem(await alice.post(path, wrong), 422)
    for missing in (foreign["id"], made["b"]["id"], str(uuid4())):
        assert_problem(await alice.post(f"/v1/tasks/{missing}/move", {"after": made["c"]["id"]}), 404)
    assert (await alice.get(f"/v1/tasks/{made['a']['id']}")).json() == made["a"]


@pytest.mark.parametrize(
    ("side", "moves"),
    [
        ("after", 200),
        ("before", 420),
        *(pytest.param(side, 1_000, marks=pytest.mark.long) for side in ("after", "before")),
    ],
)
async def test_many_moves_to_one_place_keep_the_order_and_short_keys(alice: Client, side: str, moves: int) -> None:
    made = [await alice.add(f"{n}") for n in range(6)]
    expected = [task["title"] for task in made]
    for n in range(moves):
        task, anchor = made[1 + n % 5], made[0]
        moved = await move(alice, task, **{side: anchor["id"]})
        assert len(moved["position"]) <= 64
        expected.remove(task["title"])
        expected.insert(expected.index("0") + (side == "after"), task["title"])

    assert await in_order(alice) == expected
    assert len({task["position"] for task in (await alice.page())["items"]}) == 6


async def test_between_equal_keys_room_is_made(alice: Client) -> None:
    made = await alice.add_many([{"title": title, "position": "a0"} for title in "abc"])
    await alice.add("d", position="a1")
    ties = {task["title"]: task for task in made}

    await move(alice, ties["c"], after=ties["a"]["id"])

    assert await in_order(alice) == list("acbd")
    assert len({task["position"] for task in (await alice.page())["items"]}) == 4


async def test_a_client_may_say_the_key_itself(alice: Client) -> None:
    made = await some(alice, "ab")
    key = order.between(made["a"]["position"], made["b"]["position"])

    await alice.add("c", position=key)
    await alice.patch(f"/v1/tasks/{made['b']['id']}", {"position": order.between(None, made["a"]["position"])})

    assert await in_order(alice) == list("bac")
    for wrong in ("", "a", "a00", "zz", "n0 ", None, 5):
        assert_problem(await alice.patch(f"/v1/tasks/{made['a']['id']}", {"position": wrong}), 422)


async def test_tasks_of_a_release_that_knew_no_order_come_first_as_they_were_made(alice: Client, state: State) -> None:
    made = await some(alice, "ab")
    rows = "INSERT INTO tasks (user_id, id, version, title, title_key, created_at) SELECT :owner, gen_random_uuid(), "
    async with state.database.engine.connect() as connection:
        for n, (title, at) in enumerate({"y": "2024-05-05", "x": "2023-05-05", "w": "1960-05-05"}.items()):
            values = text(f"{rows} 1000 + :n, cast(:title AS text), cast(:title AS text), cast(:at AS timestamptz)")
            await connection.execute(values, {"owner": alice.user_id, "n": n, "title": title, "at": f"{at}Z"})
        await connection.execute(
            text("UPDATE sync_state SET seq = 2000 WHERE user_id = :owner"), {"owner": alice.user_id}
        )
    items = {task["title"]: task for task in (await alice.page())["items"]}

    assert await in_order(alice) == list("wxyab")
    assert all(order.check(task["position"]) for task in items.values())
    await move(alice, made["b"], after=items["x"]["id"])
    await move(alice, items["w"], after=made["a"]["id"])
    assert await in_order(alice) == list("xbyaw")


async def test_projects_are_moved_as_tasks_are(alice: Client) -> None:
    made = [await alice.project(name) for name in "abc"]

    answer = await alice.post(f"/v1/projects/{made[2]['id']}/move", {"before": made[0]["id"]})

    assert answer.status_code == 200
    listed = (await alice.get("/v1/projects")).json()["items"]
    assert [project["name"] for project in listed] == list("cab")
    assert_problem(await alice.post(f"/v1/projects/{made[0]['id']}/move", {"after": str(uuid4())}), 422)
    assert_problem(await alice.post(f"/v1/projects/{uuid4()}/move", {"after": made[0]["id"]}), 404)


async def test_a_move_may_name_the_version_that_it_is_for(alice: Client) -> None:
    made = await some(alice, "abc")
    path, to = f"/v1/tasks/{made['a']['id']}/move", {"after": made["c"]["id"]}

    assert_problem(await alice.post(path, to, headers={"If-Match": '"0"'}), 412)
    assert await in_order(alice) == list("abc")
    assert (await alice.post(path, to, headers={"If-Match": f'"{made["a"]["version"]}"'})).status_code == 200
    assert await in_order(alice) == list("bca")
