"""Projects: one by one, listed, nested and deleted."""

from typing import Any
from uuid import uuid4

import pytest

from tests.client import Client, Json, Statements
from tests.test_input import assert_problem

FULL: Json = {"name": "Balcony", "description": "South.", "color": "#2e7d32", "favorite": True, "archived": False}


async def listed(client: Client, **parameters: Any) -> list[Json]:
    answer = await client.get("/v1/projects", params=parameters)
    assert answer.status_code == 200, answer.text
    items: list[Json] = answer.json()["items"]
    return items


async def names(client: Client, **parameters: Any) -> list[str]:
    return [project["name"] for project in await listed(client, **parameters)]


async def chain(client: Client, count: int) -> list[Json]:
    made: list[Json] = []
    for n in range(count):
        made.append(await client.project(f"Level {n}", parent_id=made[-1]["id"] if made else None))
    return made


async def test_a_project_comes_back_as_it_was_sent(alice: Client) -> None:
    answer = await alice.post("/v1/projects", FULL)
    project = answer.json()

    assert answer.status_code == 201
    assert {name: project[name] for name in FULL} == FULL
    assert (project["parent_id"], project["depth"]) == (None, 0)
    assert answer.headers["Location"] == f"/v1/projects/{project['id']}"
    assert answer.headers["ETag"] == f'"{project["version"]}"'
    assert (await alice.get(answer.headers["Location"])).json() == project


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("name", value) for value in ("", "  ", "x" * 101, None, 5, "a\0b")),
        *(("description", value) for value in ("x" * 10_001, 5)),
        *(("color", value) for value in ("red", "#2e7d3", "2e7d32", 5)),
        *(("position", value) for value in ("", "a", "a00", "n1", "ä0", 5)),
        *((name, value) for name in ("favorite", "archived") for value in (None, 1, "true")),
        *(("parent_id", value) for value in ("x", 5, "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a00")),
        ("depth", 1),
        ("version", 7),
    ],
)
async def test_what_is_wrong_is_refused_and_nothing_is_made(alice: Client, field: str, value: Any) -> None:
    answer = await alice.post("/v1/projects", {"name": "x", field: value})

    assert_problem(answer, 422)
    assert answer.json()["errors"][0]["loc"][:2] == ["body", field]
    assert await listed(alice) == []


async def test_a_name_is_there_once_per_user_and_free_again_when_its_project_is_deleted(
    alice: Client, bob: Client
) -> None:
    first = await alice.project("Balcony")
    other = await alice.project("Other")
    await bob.project("Balcony")

    assert_problem(await alice.post("/v1/projects", {"name": " Balcony "}), 409)
    assert_problem(await alice.patch(f"/v1/projects/{other['id']}", {"name": "Balcony"}), 409)
    await alice.project("balcony")
    assert (await alice.delete(f"/v1/projects/{first['id']}")).status_code == 204
    await alice.project("Balcony")


async def test_a_change_needs_the_version_that_it_was_made_for(alice: Client) -> None:
    project = await alice.project("Balcony")
    path, stale = f"/v1/projects/{project['id']}", {"If-Match": '"0"'}
    parent = await alice.project("House")

    assert_problem(await alice.patch(path, {"name": "x"}, headers=stale), 412)
    assert_problem(await alice.patch(path, {"parent_id": parent["id"]}, headers=stale), 412)
    assert_problem(await alice.delete(path, headers=stale), 412)
    assert (await alice.get(path)).json() == project
    fits = {"If-Match": f'"{project["version"]}"'}
    changed = await alice.patch(path, {"name": "x", "parent_id": parent["id"]}, headers=fits)
    assert changed.status_code == 200
    assert (changed.json()["name"], changed.json()["depth"]) == ("x", 1)
    assert (await alice.get(path)).json() == changed.json()


async def test_projects_are_listed_in_the_order_by_hand_or_by_name(alice: Client) -> None:
    made = [await alice.project(name) for name in ("b", "Ä", "c")]
    await alice.post(f"/v1/projects/{made[2]['id']}/move", {"before": made[0]["id"]})

    assert await names(alice) == ["c", "b", "Ä"]
    assert await names(alice, sort="name") == ["Ä", "b", "c"]


async def test_the_listing_is_walked_by_cursor(alice: Client) -> None:
    for n in range(5):
        await alice.project(f"{n}", favorite=n % 2 == 0)

    for parameters in ({}, {"sort": "name"}, {"favorite": "true"}):
        walked, cursor = [], None
        while True:
            page = (await alice.get("/v1/projects", params={**parameters, "limit": 2, **(cursor or {})})).json()
            walked += [project["name"] for project in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert walked == await names(alice, **parameters)
    assert cursor
    assert_problem(await alice.get("/v1/projects", params=cursor), 422)


async def test_archived_projects_and_favourites_are_told_apart(alice: Client) -> None:
    await alice.project("old", archived=True)
    await alice.project("new", favorite=True)

    assert await names(alice) == ["old", "new"]
    assert await names(alice, archived="true") == ["old"]
    assert await names(alice, archived="false", favorite="true") == ["new"]
    assert await names(alice, archived="true", favorite="true") == []


async def test_the_listing_counts_open_tasks_in_its_one_statement(alice: Client, statements: Statements) -> None:
    full, empty = await alice.project("full"), await alice.project("empty")
    tasks = [await alice.add(f"Task {n}", project_id=full["id"]) for n in range(4)]
    await alice.add("Part", parent_id=tasks[0]["id"])
    await alice.patch(f"/v1/tasks/{tasks[1]['id']}", {"completed": True})
    await alice.delete(f"/v1/tasks/{tasks[2]['id']}")
    await alice.add("In the inbox")
    statements.clear()

    counts = {project["id"]: project["open_tasks"] for project in await listed(alice)}

    assert counts == {full["id"]: 3, empty["id"]: 0}
    assert len(statements) == 1


async def test_projects_are_nested_five_deep_and_no_deeper(alice: Client) -> None:
    made = await chain(alice, 5)

    assert [project["depth"] for project in made] == [0, 1, 2, 3, 4]
    answer = await alice.post("/v1/projects", {"name": "Too deep", "parent_id": made[-1]["id"]})
    assert_problem(answer, 422)
    other = await chain_named(alice, "other", 2)
    assert_problem(await alice.patch(f"/v1/projects/{other[0]['id']}", {"parent_id": made[3]["id"]}), 422)
    assert (await alice.patch(f"/v1/projects/{other[0]['id']}", {"parent_id": made[2]["id"]})).json()["depth"] == 3


async def chain_named(client: Client, name: str, count: int) -> list[Json]:
    made: list[Json] = []
    for n in range(count):
        made.append(await client.project(f"{name} {n}", parent_id=made[-1]["id"] if made else None))
    return made


async def test_a_project_takes_those_in_it_along_and_each_gets_a_number(alice: Client) -> None:
    made = await chain(alice, 3)
    house = await alice.project("House")

    moved = (await alice.patch(f"/v1/projects/{made[0]['id']}", {"parent_id": house["id"]})).json()

    now = {project["id"]: project for project in await listed(alice)}
    assert [now[project["id"]]["depth"] for project in made] == [1, 2, 3]
    assert all(now[project["id"]]["version"] > house["version"] for project in made)
    assert {name: now[moved["id"]][name] for name in moved} == moved
    back = (await alice.patch(f"/v1/projects/{made[0]['id']}", {"parent_id": None})).json()
    assert (back["parent_id"], back["depth"]) == (None, 0)
    assert [project["depth"] for project in await listed(alice, sort="name")] == [0, 0, 1, 2]


async def test_a_project_is_moved_though_one_that_was_in_it_is_in_the_trash_or_gone_for_good(alice: Client) -> None:
    outer, middle = await alice.project("Outer"), await alice.project("Middle")
    made = [await alice.project(name, parent_id=middle["id"]) for name in ("Kept", "Gone", "Deep")]
    below = await alice.project("Below", parent_id=made[2]["id"])
    for each in (below, *made):
        assert (await alice.delete(f"/v1/projects/{each['id']}")).status_code == 204
    assert (await alice.delete(f"/v1/trash/projects/{made[1]['id']}")).status_code == 204

    moved = await alice.patch(f"/v1/projects/{middle['id']}", {"parent_id": outer["id"]})

    assert moved.status_code == 200, moved.text
    for each, depth in ((made[0], 2), (made[2], 2), (below, 3)):
        restored = await alice.post(f"/v1/trash/projects/{each['id']}/restore")
        assert (restored.status_code, restored.json()["depth"]) == (200, depth)


async def test_what_would_be_too_deep_in_the_trash_is_in_none_when_its_project_is_moved(alice: Client) -> None:
    made, other = await chain(alice, 4), await chain_named(alice, "other", 2)
    await alice.delete(f"/v1/projects/{made[3]['id']}")
    await alice.delete(f"/v1/projects/{made[2]['id']}")

    moved = await alice.patch(f"/v1/projects/{made[0]['id']}", {"parent_id": other[1]["id"]})

    assert moved.status_code == 200, moved.text
    back = [(await alice.post(f"/v1/trash/projects/{each['id']}/restore")).json() for each in made[2:]]
    assert [(each["parent_id"], each["depth"]) for each in back] == [(made[1]["id"], 4), (None, 0)]


async def test_a_project_in_itself_or_in_one_that_is_in_it_is_a_conflict(alice: Client) -> None:
    made = await chain(alice, 3)

    for target in made:
        assert_problem(await alice.patch(f"/v1/projects/{made[0]['id']}", {"parent_id": target["id"]}), 409)
    assert {project["id"]: project["version"] for project in await listed(alice)} == {
        project["id"]: project["version"] for project in made
    }


async def test_a_project_with_tasks_asks_what_becomes_of_them(alice: Client) -> None:
    outer, inner = await chain(alice, 2)
    await alice.add("Inside", project_id=inner["id"])
    path = f"/v1/projects/{outer['id']}"

    refused = await alice.delete(path)

    assert_problem(refused, 409)
    assert "?tasks=trash" in refused.json()["detail"]
    assert len(await listed(alice)) == 2
    assert_problem(await alice.delete(f"{path}?tasks=burn"), 422)
    assert_problem(await alice.delete(f"{path}?task=trash"), 422)


async def test_its_tasks_go_to_the_trash_with_it_and_come_back_with_it(alice: Client) -> None:
    outer, inner = await chain(alice, 2)
    task = await alice.add("Inside", project_id=inner["id"])
    part = await alice.add("Part", parent_id=task["id"])
    alone = await alice.add("Deleted before", project_id=inner["id"])
    await alice.delete(f"/v1/tasks/{alone['id']}")

    assert (await alice.delete(f"/v1/projects/{outer['id']}?tasks=trash")).status_code == 204

    assert (await alice.page())["total"] == 0
    assert await listed(alice) == []
    for path in (f"/v1/projects/{inner['id']}", f"/v1/tasks/{part['id']}"):
        assert_problem(await alice.get(path), 404)
    restored = await alice.post(f"/v1/trash/projects/{outer['id']}/restore")
    assert restored.status_code == 200, restored.text
    assert (await alice.get(f"/v1/projects/{outer['id']}")).json() == restored.json()
    now = {item["id"]: item for item in (await alice.page())["items"]}
    assert set(now) == {task["id"], part["id"]}
    assert now[part["id"]]["parent_id"] == task["id"]
    assert now[part["id"]]["project_id"] == inner["id"]
    assert await names(alice) == ["Level 0", "Level 1"]


async def test_its_tasks_go_to_the_inbox_when_that_is_wanted(alice: Client) -> None:
    outer, inner = await chain(alice, 2)
    task = await alice.add("Inside", project_id=inner["id"])
    part = await alice.add("Part", parent_id=task["id"])

    assert (await alice.delete(f"/v1/projects/{outer['id']}?tasks=inbox")).status_code == 204

    now = {item["id"]: item for item in (await alice.page(inbox="true"))["items"]}
    assert set(now) == {task["id"], part["id"]}
    assert now[part["id"]]["parent_id"] == task["id"]
    assert min(item["version"] for item in now.values()) > part["version"]
    await alice.post(f"/v1/trash/projects/{outer['id']}/restore")
    assert (await alice.page(inbox="true"))["total"] == 2


async def test_a_task_is_in_a_project_of_its_owner_that_is_not_in_the_trash(alice: Client, bob: Client) -> None:
    foreign, gone = await bob.project("Bob's"), await alice.project("Gone")
    await alice.delete(f"/v1/projects/{gone['id']}")
    task = await alice.add("Figs")
    bodies = []
    for project_id in (foreign["id"], gone["id"], str(uuid4())):
        for answer in (
            await alice.post("/v1/tasks", {"title": "x", "project_id": project_id}),
            await alice.post("/v1/tasks/batch", {"tasks": [{"title": "x", "project_id": project_id}]}),
            await alice.patch(f"/v1/tasks/{task['id']}", {"project_id": project_id}),
            await alice.patch("/v1/tasks/batch", {"ids": [task["id"]], "set": {"project_id": project_id}}),
        ):
            assert_problem(answer, 422)
            bodies.append(str(answer.json()).replace(task["id"], ""))
    assert len(set(bodies)) == 4
    assert (await alice.page())["total"] == 1


async def test_tasks_are_found_by_project(alice: Client) -> None:
    home, work = await alice.project("Höme"), await alice.project("Deep work")
    await alice.add("a", project_id=home["id"])
    await alice.add("b", project_id=work["id"])
    await alice.add("c")
    await alice.patch(f"/v1/projects/{work['id']}", {"archived": True})

    assert await alice.titles(project_id=home["id"]) == ["a"]
    assert await alice.titles(project_id=[home["id"], work["id"]]) == ["b", "a"]
    assert await alice.titles(inbox="true") == ["c"]
    assert await alice.titles(inbox="false") == ["b", "a"]
    for said, found in {
        "project:home": ["a"],
        'project:"deep work"': ["b"],
        "-project:home": ["c", "b"],
        "project:none": ["c"],
        "has:project": ["b", "a"],
        "is:archived": ["b"],
        "-is:archived": ["c", "a"],
        "project:nowhere": [],
    }.items():
        assert await alice.titles(filter=said) == found, said


async def test_a_project_in_the_trash_keeps_nobody_from_moving(alice: Client) -> None:
    outer, inner = await chain(alice, 2)
    house = await alice.project("House")
    assert (await alice.delete(f"/v1/projects/{inner['id']}")).status_code == 204

    moved = await alice.patch(f"/v1/projects/{outer['id']}", {"parent_id": house["id"]})
    assert (moved.status_code, moved.json()["depth"]) == (200, 1)
    restored = await alice.post(f"/v1/trash/projects/{inner['id']}/restore")
    assert (restored.status_code, restored.json()["depth"]) == (200, 2)
    await alice.delete(f"/v1/projects/{inner['id']}")
    await alice.delete(f"/v1/trash/projects/{inner['id']}")
    out = await alice.patch(f"/v1/projects/{outer['id']}", {"parent_id": None})
    assert (out.status_code, out.json()["depth"]) == (200, 0)


async def test_a_project_comes_back_whatever_became_of_those_around_it(alice: Client) -> None:
    outer, middle, inner = await chain(alice, 3)
    await alice.delete(f"/v1/projects/{inner['id']}")
    await alice.delete(f"/v1/projects/{outer['id']}")

    lone = await alice.post(f"/v1/trash/projects/{middle['id']}/restore")
    assert (lone.status_code, lone.json()["depth"], lone.json()["parent_id"]) == (200, 0, None)
    last = await alice.post(f"/v1/trash/projects/{inner['id']}/restore")
    assert (last.status_code, last.json()["depth"], last.json()["parent_id"]) == (200, 1, middle["id"])
