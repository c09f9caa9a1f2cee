"""Subtasks: parts of tasks, and what the listing says of those that it does not find."""

from typing import Any
from uuid import uuid4

import pytest

from tests.client import Client, Json, Statements
from tests.test_input import assert_problem


async def tree(client: Client) -> dict[str, Json]:
    """a (b (c d) e) f."""
    made: dict[str, Json] = {}
    for name, parent in (("a", None), ("b", "a"), ("c", "b"), ("d", "b"), ("e", "a"), ("f", None)):
        made[name] = await client.add(name, parent_id=made[parent]["id"] if parent else None)
    return made


async def parts(client: Client, task_id: str, **parameters: Any) -> list[tuple[str, int]]:
    answer = await client.get(f"/v1/tasks/{task_id}/subtasks", params=parameters)
    assert answer.status_code == 200, answer.text
    return [(task["title"], task["depth"]) for task in answer.json()["items"]]


async def test_the_tree_is_listed_in_its_order_by_one_statement(alice: Client, statements: Statements) -> None:
    made = await tree(alice)
    statements.clear()

    assert await parts(alice, made["a"]["id"]) == [("b", 1), ("c", 2), ("d", 2), ("e", 1)]
    assert len(statements) == 1
    assert await parts(alice, made["f"]["id"]) == []
    await alice.post(f"/v1/tasks/{made['e']['id']}/move", {"before": made["b"]["id"]})
    await alice.post(f"/v1/tasks/{made['c']['id']}/move", {"after": made["d"]["id"]})
    assert await parts(alice, made["a"]["id"]) == [("e", 1), ("b", 1), ("d", 2), ("c", 2)]
    assert_problem(await alice.get(f"/v1/tasks/{uuid4()}/subtasks"), 404)


async def test_the_tree_is_walked_by_cursor(alice: Client) -> None:
    made = await tree(alice)
    path = f"/v1/tasks/{made['a']['id']}/subtasks"
    walked, cursor = [], None
    while True:
        page = (await alice.get(path, params={"limit": 1, **({"cursor": cursor} if cursor else {})})).json()
        walked += [task["title"] for task in page["items"]]
        assert page["total"] == 4
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert_problem(await alice.get(f"/v1/tasks/{made['b']['id']}/subtasks", params={"cursor": cursor}), 422)

    assert walked == ["b", "c", "d", "e"]


async def test_five_levels_are_the_limit_whichever_way_they_are_reached(alice: Client) -> None:
    chain = [await alice.add("0")]
    for n in range(1, 5):
        chain.append(await alice.add(str(n), parent_id=chain[-1]["id"]))
    other = await alice.add("other")
    await alice.add("part", parent_id=other["id"])

    assert_problem(await alice.post("/v1/tasks", {"title": "x", "parent_id": chain[4]["id"]}), 422)
    assert_problem(await alice.patch(f"/v1/tasks/{other['id']}", {"parent_id": chain[3]["id"]}), 422)
    assert (await alice.patch(f"/v1/tasks/{other['id']}", {"parent_id": chain[2]["id"]})).status_code == 200


async def test_a_task_below_itself_is_a_conflict(alice: Client) -> None:
    made = await tree(alice)

    for target in "abcd":
        answer = await alice.patch(f"/v1/tasks/{made['a']['id']}", {"parent_id": made[target]["id"]})
        assert_problem(answer, 409)
    assert_problem(
        await alice.patch(
            "/v1/tasks/batch", {"ids": [made["f"]["id"], made["a"]["id"]], "set": {"parent_id": made["c"]["id"]}}
        ),
        409,
    )
    assert (await alice.get(f"/v1/tasks/{made['f']['id']}")).json() == made["f"]


async def test_a_parent_is_a_living_task_of_ones_own(alice: Client, bob: Client) -> None:
    foreign, gone, task = await bob.add("Bob's"), await alice.add("Gone"), await alice.add("Figs")
    await alice.delete(f"/v1/tasks/{gone['id']}")
    bodies = set()
    for parent_id in (foreign["id"], gone["id"], str(uuid4())):
        for answer in (
            await alice.post("/v1/tasks", {"title": "x", "parent_id": parent_id}),
            await alice.patch(f"/v1/tasks/{task['id']}", {"parent_id": parent_id}),
        ):
            assert_problem(answer, 422)
            bodies.add(str(answer.json()).replace(task["id"], ""))
    assert len(bodies) == 2


async def test_a_batch_may_bring_a_tree_each_part_after_what_it_is_a_part_of(alice: Client) -> None:
    top, middle = str(uuid4()), str(uuid4())
    tasks: list[Json] = [
        {"id": top, "title": "top"},
        {"id": middle, "title": "middle", "parent_id": top},
        {"title": "leaf", "parent_id": middle},
    ]

    made = await alice.add_many(tasks)

    assert [task["parent_id"] for task in made] == [None, top, middle]
    backwards: list[Json] = [{"title": "leaf", "parent_id": (late := str(uuid4()))}, {"id": late, "title": "late"}]
    assert_problem(await alice.post("/v1/tasks/batch", {"tasks": backwards}), 422)
    assert (await alice.page())["total"] == 3


async def test_a_part_is_in_its_parents_project_and_moves_with_it(alice: Client) -> None:
    home, work = await alice.project("Home"), await alice.project("Work")
    task = await alice.add("Task", project_id=home["id"])
    part = await alice.add("Part", parent_id=task["id"])
    below = await alice.add("Below", parent_id=part["id"])
    path = f"/v1/tasks/{part['id']}"

    assert part["project_id"] == below["project_id"] == home["id"]
    for body in ({"project_id": work["id"]}, {"project_id": None}):
        assert_problem(await alice.patch(path, body), 422)
    assert_problem(
        await alice.post("/v1/tasks", {"title": "x", "parent_id": task["id"], "project_id": work["id"]}), 422
    )
    await alice.patch(f"/v1/tasks/{task['id']}", {"project_id": work["id"]})
    assert {item["project_id"] for item in (await alice.page())["items"]} == {work["id"]}
    out = (await alice.patch(path, {"parent_id": None, "project_id": home["id"]})).json()
    assert (out["parent_id"], out["project_id"]) == (None, home["id"])
    assert (await alice.get(f"/v1/tasks/{below['id']}")).json()["project_id"] == home["id"]
    other = await alice.add("Other")
    inside = (await alice.patch(path, {"parent_id": other["id"]})).json()
    assert inside["project_id"] is None
    assert (await alice.get(f"/v1/tasks/{below['id']}")).json()["project_id"] is None


async def test_many_are_moved_at_once_with_their_parts(alice: Client) -> None:
    made, home = await tree(alice), await alice.project("Home")
    ids = [made[name]["id"] for name in ("a", "f")]

    answer = await alice.patch("/v1/tasks/batch", {"ids": ids, "set": {"project_id": home["id"]}})

    assert answer.json() == {"updated": 2}
    items = (await alice.page(project_id=home["id"]))["items"]
    assert len(items) == 6
    assert len({item["version"] for item in items}) == 6
    assert_problem(await alice.patch("/v1/tasks/batch", {"ids": [made["c"]["id"]], "set": {"project_id": None}}), 422)


async def test_completing_a_task_completes_its_open_parts_when_that_is_asked_for(alice: Client) -> None:
    made = await tree(alice)
    await alice.patch(f"/v1/tasks/{made['c']['id']}", {"completed": True})
    before = (await alice.get(f"/v1/tasks/{made['c']['id']}")).json()
    path = f"/v1/tasks/{made['a']['id']}"

    await alice.patch(path, {"completed": True})
    assert await alice.titles(status="pending", sort="title") == ["b", "d", "e", "f"]
    await alice.patch(path, {"completed": False})
    done = await alice.patch(f"{path}?subtasks=complete", {"completed": True})

    assert done.status_code == 200
    assert await alice.titles(status="pending") == ["f"]
    assert (await alice.get(f"/v1/tasks/{made['c']['id']}")).json() == before
    for body, query in (({"completed": False}, "complete"), ({"title": "x"}, "complete"), ({"completed": True}, "all")):
        assert_problem(await alice.patch(f"{path}?subtasks={query}", body), 422)


@pytest.mark.parametrize(
    ("parameters", "found", "included"),
    [
        ({"filter": "tag:hit", "include": "parents"}, ["d"], ["a", "b"]),
        ({"filter": "b", "include": "subtasks"}, ["b"], ["c", "d"]),
        ({"filter": "b", "include": "parents,subtasks"}, ["b"], ["a", "c", "d"]),
        ({"filter": "e or c", "include": "parents"}, ["e", "c"], ["a", "b"]),
        ({"filter": "f", "include": "subtasks,parents"}, ["f"], []),
        ({"sort": "title", "limit": 1, "include": "subtasks"}, ["a"], ["b", "c", "d", "e"]),
        ({"search": "nothing", "include": "subtasks"}, [], []),
    ],
)
async def test_a_filter_shows_what_is_around_the_tasks_that_it_finds(
    alice: Client, statements: Statements, parameters: dict[str, Any], found: list[str], included: list[str]
) -> None:
    made = await tree(alice)
    await alice.patch(f"/v1/tasks/{made['d']['id']}", {"tags": ["hit"]})
    statements.clear()

    page = await alice.page(**parameters)

    assert [task["title"] for task in page["items"]] == found
    assert [task["title"] for task in page["included"]] == included
    assert page["included_all"] is True
    assert set(page["included"][0] if included else made["a"]) == set(made["a"])
    assert len(statements) == (1 if found else 2)  # a search that finds nothing looks for another spelling


async def test_what_would_be_too_much_beside_a_page_is_cut_and_said_so(alice: Client) -> None:
    top = await alice.add("top")
    await alice.add_many([{"title": f"{n}", "parent_id": top["id"]} for n in range(1_000)])

    assert (await alice.page(filter="top", include="subtasks"))["included_all"] is True
    await alice.add("one more", parent_id=top["id"])
    page = await alice.page(filter="top", include="subtasks")

    assert (len(page["included"]), page["included_all"]) == (1_000, False)


async def test_a_listing_without_include_says_nothing_of_it(alice: Client) -> None:
    await tree(alice)

    assert "included" not in await alice.page()
    for wrong in ("", "children", "parents,parents"):
        assert_problem(await alice.get("/v1/tasks", params={"include": wrong}), 422)


async def test_subtasks_are_told_from_other_tasks(alice: Client) -> None:
    made = await tree(alice)

    assert await alice.titles(parent_id=made["a"]["id"], sort="title") == ["b", "e"]
    assert await alice.titles(is_subtask="false", sort="title") == ["a", "f"]
    assert await alice.titles(is_subtask="true", sort="title") == ["b", "c", "d", "e"]
    for said, found in {
        "is:subtask": ["b", "c", "d", "e"],
        "has:subtasks": ["a", "b"],
        "-has:subtasks is:subtask": ["c", "d", "e"],
    }.items():
        assert await alice.titles(filter=said, sort="title") == found, said


async def test_an_inbox_that_is_named_is_not_the_parents_project(alice: Client) -> None:
    home, task = await alice.project("Home"), await alice.add("Task")
    parent = await alice.add("Parent", project_id=home["id"])
    path = f"/v1/tasks/{task['id']}"

    assert_problem(await alice.patch(path, {"parent_id": parent["id"], "project_id": None}), 422)
    assert (await alice.patch(path, {"parent_id": parent["id"]})).json()["project_id"] == home["id"]


async def test_a_task_and_its_part_may_be_put_side_by_side_as_deep_as_either_may(alice: Client) -> None:
    chain = [await alice.add("0")]
    for n in range(1, 4):
        chain.append(await alice.add(str(n), parent_id=chain[-1]["id"]))
    task = await alice.add("task")
    part = await alice.add("part", parent_id=task["id"])
    body = {"ids": [task["id"], part["id"]], "set": {"parent_id": chain[3]["id"]}}

    assert (await alice.patch("/v1/tasks/batch", body)).json() == {"updated": 2}
    assert await parts(alice, chain[3]["id"]) == [("task", 1), ("part", 1)]


async def test_a_stale_version_is_told_before_what_else_is_wrong(alice: Client) -> None:
    task = await alice.add("task")
    stale = {"If-Match": '"0"'}

    answer = await alice.patch(f"/v1/tasks/{task['id']}", {"parent_id": str(uuid4())}, headers=stale)

    assert_problem(answer, 412)
