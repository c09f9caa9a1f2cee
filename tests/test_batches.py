"""Many tasks at once: all or none."""

from uuid import uuid4

from tests.client import Client, Statements
from tests.test_input import assert_problem


async def test_a_batch_is_made_in_the_order_given_with_growing_versions(alice: Client) -> None:
    made = await alice.add_many([{"title": f"Task {n}", "completed": n % 2 == 0} for n in range(1000)])

    assert [task["title"] for task in made] == [f"Task {n}" for n in range(1000)]
    versions = [task["version"] for task in made]
    assert versions == sorted(set(versions))
    assert all((task["completed_at"] is not None) == task["completed"] for task in made)
    assert (await alice.get(f"/v1/tasks/{made[500]['id']}")).json() == made[500]


async def test_one_taken_id_refuses_the_whole_batch(alice: Client) -> None:
    taken = await alice.add("Taken")

    for placed in ({}, {"parent_id": taken["id"]}):
        tasks = [{"title": "a", **placed}, {"title": "b", "id": taken["id"]}]
        problem = assert_problem(await alice.post("/v1/tasks/batch", {"tasks": tasks}), 409)

        assert [fault["loc"] for fault in problem["errors"]] == [["body", "tasks", 1, "id"]]
        assert await alice.titles() == ["Taken"]


async def test_two_tasks_of_a_batch_with_one_id_are_named(alice: Client) -> None:
    same = {"title": "b", "id": str(uuid4())}

    problem = assert_problem(await alice.post("/v1/tasks/batch", {"tasks": [{"title": "a"}, same, same]}), 422)

    assert "tasks 1 and 2 (from 0) have the same id" in problem["errors"][0]["msg"]


async def test_one_wrong_task_refuses_the_whole_batch_and_says_which(alice: Client) -> None:
    answer = await alice.post("/v1/tasks/batch", {"tasks": [{"title": "a"}, {"title": ""}]})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "tasks", 1, "title"]
    assert await alice.titles() == []


async def test_the_same_id_twice_in_a_batch_is_422(alice: Client) -> None:
    own = str(uuid4())

    answer = await alice.post("/v1/tasks/batch", {"tasks": [{"title": "a", "id": own}, {"title": "b", "id": own}]})

    assert answer.status_code == 422


async def test_batches_have_limits_that_are_refused(alice: Client) -> None:
    some = [str(uuid4()) for _ in range(1001)]

    for path, body in (
        ("/v1/tasks/batch", {"tasks": []}),
        ("/v1/tasks/batch", {"tasks": [{"title": "x"}] * 1001}),
        ("/v1/tasks/batch/delete", {"ids": []}),
        ("/v1/tasks/batch/delete", {"ids": some}),
    ):
        assert (await alice.post(path, body)).status_code == 422, path
    for patch in (
        {"ids": [], "set": {"completed": True}},
        {"ids": some, "set": {"completed": True}},
        {"ids": some[:1], "set": {}},
        {"ids": some[:1]},
    ):
        assert (await alice.patch("/v1/tasks/batch", patch)).status_code == 422, patch


async def test_many_are_changed_in_the_same_way_and_each_is_counted_once(alice: Client) -> None:
    made = await alice.add_many([{"title": f"Task {n}", "tags": ["a"]} for n in range(5)])
    ids = [task["id"] for task in made]

    answer = await alice.patch("/v1/tasks/batch", {"ids": [*ids[:3], ids[0]], "set": {"completed": True, "tags": None}})

    assert (answer.status_code, answer.json()) == (200, {"updated": 3})
    after = {task["id"]: task for task in (await alice.page())["items"]}
    assert [after[each]["completed"] for each in ids] == [True, True, True, False, False]
    assert [after[each]["tags"] for each in ids] == [[], [], [], ["a"], ["a"]]
    versions = [after[each]["version"] for each in ids[:3]]
    assert versions == sorted(set(versions))
    assert versions[0] > made[-1]["version"]


async def test_many_go_to_the_trash_together(alice: Client) -> None:
    made = await alice.add_many([{"title": f"Task {n}"} for n in range(5)])
    ids = [task["id"] for task in made]

    answer = await alice.post("/v1/tasks/batch/delete", {"ids": [*ids[1:], ids[1]]})

    assert (answer.status_code, answer.json()) == (200, {"deleted": 4})
    assert await alice.titles() == ["Task 0"]


async def test_ids_that_are_not_there_or_not_yours_are_named_alike_and_nothing_changes(
    alice: Client, bob: Client
) -> None:
    hers, deleted, his = await alice.add("Hers"), await alice.add("Deleted"), await bob.add("His")
    await alice.delete(f"/v1/tasks/{deleted['id']}")
    ids = [hers["id"], str(uuid4()), his["id"], deleted["id"]]

    for answer in (
        await alice.patch("/v1/tasks/batch", {"ids": ids, "set": {"title": "Changed"}}),
        await alice.post("/v1/tasks/batch/delete", {"ids": ids}),
    ):
        problem = answer.json()
        assert answer.status_code == 404
        assert [fault["loc"] for fault in problem["errors"]] == [["body", "ids", n] for n in (1, 2, 3)]
        assert [fault["msg"] for fault in problem["errors"]] == [f"There is no task {each}." for each in ids[1:]]
    assert await alice.titles() == ["Hers"]
    assert await bob.titles() == ["His"]


async def test_changing_many_is_two_statements_in_one_transaction(alice: Client, statements: Statements) -> None:
    made = await alice.add_many([{"title": f"Task {n}"} for n in range(50)])
    ids = [task["id"] for task in made]
    statements.clear()

    await alice.patch("/v1/tasks/batch", {"ids": ids, "set": {"completed": True}})

    counting, changing = statements
    assert counting.split()[:2] == ["UPDATE", "sync_state"]
    assert [f"{what} {table} " in changing for what, table in (("UPDATE", "tasks"), ("INTO", "activity"))] == [True] * 2
