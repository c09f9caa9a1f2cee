"""Dependencies between tasks: made, removed, listed and transferred."""

import json
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from backend.services import dependencies
from backend.state import State
from tests.client import Client, Json, Statements
from tests.download import end_account
from tests.test_input import JSON, assert_problem


def path_of(task: Json, other: Json) -> str:
    return f"/v1/tasks/{task['id']}/dependencies/{other['id']}"


async def depend(client: Client, task: Json, *others: Json) -> None:
    for other in others:
        answer = await client.call("PUT", path_of(task, other))
        assert answer.status_code == 201, answer.text


async def beside(client: Client, task: Json, way: str = "dependencies", query: str = "") -> list[Json]:
    answer = await client.get(f"/v1/tasks/{task['id']}/{way}{query}")
    assert answer.status_code == 200, answer.text
    items: list[Json] = answer.json()["items"]
    return items


async def named(client: Client, task: Json) -> tuple[list[str], list[str]]:
    """What it depends on, and what depends on it."""
    ways = [await beside(client, task, way) for way in ("dependencies", "dependents")]
    return tuple([each["title"] for each in items] for items in ways)  # type: ignore[return-value]


async def some(client: Client, *titles: str) -> list[Json]:
    return await client.add_many([{"title": title} for title in titles])


async def rows_of(state: State, client: Client) -> list[Any]:
    query = text("SELECT * FROM dependencies WHERE user_id = :owner ORDER BY version")
    async with state.database.engine.connect() as connection:
        found = await connection.execute(query.execution_options(crosses_users="looks"), {"owner": client.user_id})
        return list(found)


def assert_circle(answer: Any, *expected: Json) -> Json:
    problem = assert_problem(answer, 409)
    assert problem["path"] == [{"id": task["id"], "title": task["title"]} for task in expected]
    return problem


async def test_a_dependency_is_listed_at_both_ends_with_the_tasks_as_in_the_listing(alice: Client) -> None:
    await alice.add_many([{"title": "Water", "tags": ["home"], "due_date": "2026-12-24T18:00:00Z"}, {"title": "Fill"}])
    fill, water = (await alice.page())["items"]

    answer = await alice.call("PUT", path_of(water, fill))

    assert (answer.status_code, answer.content) == (201, b"")
    assert (await alice.get(f"/v1/tasks/{water['id']}/dependencies")).json() == {"items": [fill], "next_cursor": None}
    assert (await alice.get(f"/v1/tasks/{fill['id']}/dependents")).json() == {"items": [water], "next_cursor": None}
    assert await beside(alice, fill) == await beside(alice, water, "dependents") == []


async def test_a_dependency_that_is_there_already_is_204_and_takes_no_number(alice: Client, state: State) -> None:
    one, other = await some(alice, "One", "Other")
    await depend(alice, one, other)
    before = await rows_of(state, alice)

    again = await alice.call("PUT", path_of(one, other))

    assert (again.status_code, again.content) == (204, b"")
    assert await rows_of(state, alice) == before
    assert [row.version for row in before] == [3]
    assert (await alice.add("Next"))["version"] == 4


async def test_a_removed_dependency_is_gone_and_can_be_made_again(alice: Client, state: State) -> None:
    one, other = await some(alice, "One", "Other")
    await depend(alice, one, other)

    removed = await alice.delete(path_of(one, other))

    assert (removed.status_code, removed.content) == (204, b"")
    assert await named(alice, one) == await named(alice, other) == ([], [])
    assert_problem(await alice.delete(path_of(one, other)), 404)
    assert_problem(await alice.delete(path_of(other, one)), 404)
    await depend(alice, other, one)  # what was removed closes no circle
    await alice.delete(path_of(other, one))
    await depend(alice, one, other)
    assert [(row.version, row.deleted_at is None) for row in await rows_of(state, alice)] == [
        (4, False),
        (6, False),
        (7, True),
    ]


async def test_a_task_that_depends_on_itself_is_a_circle_of_one(alice: Client) -> None:
    [one] = await some(alice, "One")

    problem = assert_circle(await alice.call("PUT", path_of(one, one)), one, one)

    assert problem["detail"] == "The task would depend on itself."


async def test_a_circle_is_409_with_the_shortest_way_from_the_task_back_to_itself(alice: Client) -> None:
    a, b, c, d, e = await some(alice, *"ABCDE")
    await depend(alice, a, b)
    await depend(alice, b, c)
    await depend(alice, c, d)
    await depend(alice, d, e)
    await depend(alice, b, d)

    problem = assert_circle(await alice.call("PUT", path_of(e, a)), e, a, b, d, e)

    assert problem["detail"] == "The task would depend on itself, by way of 3 others: `path` has them."
    assert await named(alice, e) == ([], ["D"])
    for task, other in pairwise((a, b, c, d, e)):
        assert_circle(await alice.call("PUT", path_of(other, task)), other, task, other)
    assert (await alice.call("PUT", path_of(a, e))).status_code == 201


async def test_tasks_in_the_trash_wait_for_nobody_and_keep_nobody_waiting(alice: Client) -> None:
    a, b, c, d = await some(alice, *"ABCD")
    await depend(alice, a, b, d)
    await depend(alice, b, c)
    await alice.delete(f"/v1/tasks/{b['id']}")

    assert await named(alice, a) == (["D"], [])
    assert await named(alice, c) == ([], [])
    for way in ("dependencies", "dependents"):
        assert_problem(await alice.get(f"/v1/tasks/{b['id']}/{way}"), 404)
    await depend(alice, c, a)  # no circle: it would lead through the trash
    assert await alice.titles(filter="is:blocked") == ["C", "A"]
    for task, other in ((a, b), (b, c), (b, d), (d, b)):
        assert_problem(await alice.call("PUT", path_of(task, other)), 404)
        assert_problem(await alice.delete(path_of(task, other)), 404)


async def test_what_is_not_there_or_another_user_s_is_404_in_the_same_words(alice: Client, bob: Client) -> None:
    [mine], [his] = await some(alice, "Mine"), await some(bob, "Secret")
    unknown = {"id": str(uuid4())}

    for method in ("PUT", "DELETE"):
        words = {
            assert_problem(await alice.call(method, path_of(*pair)), 404)["detail"]
            for pair in ((mine, his), (his, mine), (mine, unknown), (unknown, mine), (his, his), (unknown, unknown))
        }
        assert len(words) == 1
    assert await named(bob, his) == ([], [])


async def test_blocked_and_blocking_follow_what_becomes_of_the_tasks(alice: Client) -> None:
    a, b, c, _ = await some(alice, *"ABCD")
    await depend(alice, a, b)
    await depend(alice, b, c)

    async def found(word: str) -> str:
        return "".join(sorted(await alice.titles(filter=word)))

    async def both() -> tuple[str, ...]:
        return await found("is:blocked"), await found("is:blocking"), await found("-is:blocked -is:blocking")

    assert await both() == ("AB", "BC", "D")
    await alice.patch(f"/v1/tasks/{b['id']}", {"completed": True})
    assert await both() == ("", "", "ABCD")
    await alice.patch(f"/v1/tasks/{b['id']}", {"completed": False})
    await alice.delete(f"/v1/tasks/{c['id']}")
    assert await both() == ("A", "B", "D")
    await alice.delete(path_of(a, b))
    assert await both() == ("", "", "ABD")


async def test_a_listing_that_was_unchanged_is_not_after_a_dependency(alice: Client) -> None:
    one, other = await some(alice, "One", "Other")
    asked = {"params": {"filter": "is:blocked"}}
    known = {"If-None-Match": (await alice.get("/v1/tasks", **asked)).headers["ETag"]}
    assert (await alice.get("/v1/tasks", headers=known, **asked)).status_code == 304

    await depend(alice, one, other)

    answer = await alice.get("/v1/tasks", headers=known, **asked)
    assert [task["title"] for task in answer.json()["items"]] == ["One"]


@pytest.mark.parametrize("limit", [1, 2, 6, 7])
async def test_cursors_lead_through_all_in_the_order_in_which_they_were_made(
    alice: Client, bob: Client, limit: int
) -> None:
    task, *others = await some(alice, "Task", *"GBFACDE")
    await depend(alice, task, *others)
    [his] = await some(bob, "His")
    walked, query = [], f"?limit={limit}"

    while query:
        page = (await alice.get(f"/v1/tasks/{task['id']}/dependencies{query}")).json()
        assert len(page["items"]) <= limit
        walked += [each["title"] for each in page["items"]]
        following = page["next_cursor"]
        query = f"?limit={limit}&cursor={following}" if following else ""
        if following:
            for elsewhere in (f"{task['id']}/dependents", f"{others[0]['id']}/dependencies"):
                assert_problem(await alice.get(f"/v1/tasks/{elsewhere}{query}"), 422)
            assert_problem(await bob.get(f"/v1/tasks/{his['id']}/dependencies{query}"), 422)

    assert "".join(walked) == "GBFACDE"


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=", "page=2", "sort=title"])
@pytest.mark.parametrize("way", ["dependencies", "dependents"])
async def test_what_the_lists_cannot_be_asked_is_refused(alice: Client, way: str, query: str) -> None:
    [task] = await some(alice, "One")

    problem = assert_problem(await alice.get(f"/v1/tasks/{task['id']}/{way}?{query}"), 422)

    assert [fault["loc"] for fault in problem["errors"]] == [["query", query.partition("=")[0]]]


async def test_an_id_that_is_none_and_a_method_that_is_none_are_refused(alice: Client) -> None:
    [task] = await some(alice, "One")
    base = f"/v1/tasks/{task['id']}/dependencies"

    for method in ("PUT", "DELETE"):
        problem = assert_problem(await alice.call(method, f"{base}/x"), 422)
        assert problem["errors"][0]["loc"] == ["path", "other_id"]
        assert_problem(await alice.call(method, f"/v1/tasks/x/dependencies/{task['id']}"), 422)
        assert_problem(await alice.call(method, f"{base}/{task['id']}?force=true"), 422)
        assert_problem(await alice.call(method, f"{base}/transfer"), 405)
    assert_problem(await alice.get(f"{base}/{task['id']}"), 405)
    assert_problem(await alice.post(base, {}), 405)


async def test_a_transfer_moves_both_ways_and_leaves_nothing_twice(alice: Client, state: State) -> None:
    source, target, a, b, c, d = await some(alice, "Source", "Target", *"ABCD")
    await depend(alice, source, a, b, target)
    await depend(alice, target, b)
    await depend(alice, c, source, target)
    await depend(alice, d, source)
    ids = {row.id for row in await rows_of(state, alice)}

    answer = await alice.post(f"/v1/tasks/{source['id']}/dependencies/transfer", {"to": target["id"]})

    assert (answer.status_code, answer.json()) == (200, {"moved": 2})
    assert await named(alice, source) == ([], [])
    assert await named(alice, target) == (["A", "B"], ["C", "D"])
    rows = await rows_of(state, alice)
    assert {row.id for row in rows} == ids  # what is moved stays the same dependency
    assert sum(row.deleted_at is None for row in rows) == 4
    assert min(row.version for row in rows if str(source["id"]) in {str(row.task_id), str(row.depends_on_id)}) > 13
    assert len({row.version for row in rows}) == len(rows)
    again = await alice.post(f"/v1/tasks/{source['id']}/dependencies/transfer", {"to": target["id"]})
    assert again.json() == {"moved": 0}


async def test_a_transfer_that_would_close_a_circle_is_409_and_moves_nothing(alice: Client) -> None:
    source, target, a, b, c = await some(alice, "Source", "Target", *"ABC")
    await depend(alice, source, a, c)
    await depend(alice, a, b)
    await depend(alice, b, target)
    before = [await named(alice, task) for task in (source, target, a, b, c)]

    answer = await alice.post(f"/v1/tasks/{source['id']}/dependencies/transfer", {"to": target["id"]})

    assert_circle(answer, target, a, b, target)
    assert [await named(alice, task) for task in (source, target, a, b, c)] == before


async def test_a_transfer_leaves_what_leads_into_the_trash(alice: Client) -> None:
    source, target, a, b = await some(alice, "Source", "Target", *"AB")
    await depend(alice, source, a, b)
    await alice.delete(f"/v1/tasks/{a['id']}")

    answer = await alice.post(f"/v1/tasks/{source['id']}/dependencies/transfer", {"to": target["id"]})

    assert answer.json() == {"moved": 1}
    assert await named(alice, target) == (["B"], [])


async def test_a_transfer_to_what_is_not_there_is_422_in_the_same_words(alice: Client, bob: Client) -> None:
    source, other, gone = await some(alice, "Source", "Other", "Gone")
    [his] = await some(bob, "Secret")
    await depend(alice, source, other)
    await alice.delete(f"/v1/tasks/{gone['id']}")
    path = f"/v1/tasks/{source['id']}/dependencies/transfer"

    faults = [
        assert_problem(await alice.post(path, {"to": to}), 422)["errors"]
        for to in (his["id"], gone["id"], str(uuid4()))
    ]

    assert faults[0] == faults[1] == faults[2]
    assert faults[0][0]["loc"] == ["body", "to"]
    problem = assert_problem(await alice.post(path, {"to": source["id"]}), 422)
    assert problem["errors"][0]["loc"] == ["body", "to"]
    for nowhere in (his, gone, {"id": str(uuid4())}):
        elsewhere = f"/v1/tasks/{nowhere['id']}/dependencies/transfer"
        assert_problem(await alice.post(elsewhere, {"to": other["id"]}), 404)
    assert await named(alice, source) == (["Other"], [])


@pytest.mark.parametrize("body", [{}, {"to": None}, {"to": "x"}, {"to": 7}, {"to": str(uuid4()), "from": "x"}, []])
async def test_a_transfer_that_cannot_be_meant_is_refused(alice: Client, body: Any) -> None:
    [task] = await some(alice, "One")
    path = f"/v1/tasks/{task['id']}/dependencies/transfer"

    assert_problem(await alice.post(path, content=json.dumps(body).encode(), headers=JSON), 422)


async def crowd(state: State, client: Client, task: Json, others: list[Json], *, back: bool = False) -> None:
    """Makes the task depend on all of the others, or, `back`, them on it, past the limits."""
    ends = "other, :task" if back else ":task, other"
    insert = f"""
        WITH door AS (UPDATE sync_state SET seq = seq + :many WHERE user_id = :owner RETURNING seq)
        INSERT INTO dependencies (user_id, id, version, task_id, depends_on_id)
        SELECT :owner, gen_random_uuid(), seq - :many + n, {ends}
        FROM door, unnest(CAST(:others AS uuid[])) WITH ORDINALITY AS given (other, n)"""
    values = {"owner": client.user_id, "task": UUID(task["id"]), "others": [other["id"] for other in others]}
    async with state.database.engine.connect() as connection:
        rows = text(insert).execution_options(crosses_users="makes many")
        await connection.execute(rows, {**values, "many": len(others)})


async def test_a_task_has_at_most_a_hundred_each_way(alice: Client, state: State) -> None:
    task, one, other, *many = await some(alice, "Task", "One", "Other", *map(str, range(200)))
    await crowd(state, alice, task, many[:100])
    await crowd(state, alice, task, many[100:], back=True)

    forth = assert_problem(await alice.call("PUT", path_of(task, one)), 409)
    back = assert_problem(await alice.call("PUT", path_of(one, task)), 409)

    assert forth["detail"] == "A task depends on at most 100 others. Remove those that are not needed."
    assert back["detail"] == "At most 100 tasks depend on one. Remove those that are not needed."
    assert "path" not in forth
    assert (await alice.call("PUT", path_of(task, many[0]))).status_code == 204  # it is there
    await depend(alice, one, other)
    moving = await alice.post(f"/v1/tasks/{one['id']}/dependencies/transfer", {"to": task["id"]})
    assert_problem(moving, 409)
    assert await named(alice, one) == (["Other"], [])
    await alice.delete(path_of(task, many[0]))
    await alice.delete(path_of(many[100], task))
    await depend(alice, task, one)


async def test_a_full_task_can_be_emptied_into_one_that_shares_all_with_it(alice: Client, state: State) -> None:
    source, target, *many = await some(alice, "Source", "Target", *map(str, range(200)))
    await crowd(state, alice, source, many[:100])
    await crowd(state, alice, source, many[100:], back=True)

    moved = await alice.post(f"/v1/tasks/{source['id']}/dependencies/transfer", {"to": target["id"]})

    assert moved.json() == {"moved": 200}
    versions = [row.version for row in await rows_of(state, alice)]
    assert versions == list(range(403, 603))
    assert (await alice.add("Next"))["version"] > 602
    assert len(await beside(alice, target)) == len(await beside(alice, target, "dependents")) == 100


async def test_more_than_can_be_looked_through_is_refused(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "MOST_ONWARD", 3)
    a, b, c, d, e, f = await some(alice, *"ABCDEF")
    for task, other in ((e, f), (d, e), (c, d), (b, c)):
        await depend(alice, task, other)

    assert "too many" in assert_problem(await alice.call("PUT", path_of(a, b)), 409)["detail"]
    await depend(alice, a, c)


async def test_each_route_costs_what_it_says(alice: Client, statements: Statements) -> None:
    a, b, c = await some(alice, *"ABC")
    look = ["SELECT tasks.id, (SELECT"]
    reserve = ["UPDATE sync_state"]
    onward = ["WITH RECURSIVE reached"]
    transfer = {"json": {"to": c["id"]}}
    for method, path, options, expected in (
        ("PUT", path_of(a, b), {}, [*look, *reserve, *look, *onward, "INSERT INTO dependencies"]),
        ("PUT", path_of(a, b), {}, look),
        ("PUT", path_of(b, a), {}, [*look, *reserve, *look, *onward, "SELECT tasks.id, tasks.title"]),
        ("GET", f"/v1/tasks/{a['id']}/dependencies", {}, ["SELECT (SELECT sync_state.seq"]),
        ("GET", f"/v1/tasks/{b['id']}/dependents", {}, ["SELECT (SELECT sync_state.seq"]),
        ("GET", f"/v1/tasks/{uuid4()}/dependents", {}, ["SELECT (SELECT sync_state.seq"]),
        ("GET", "/v1/tasks?filter=is:blocked or is:blocking", {}, ["SELECT known.seq"]),
        (
            *("POST", f"/v1/tasks/{a['id']}/dependencies/transfer", transfer),
            [*reserve, "SELECT tasks.id, tasks.title", "SELECT theirs.id", *onward, "UPDATE dependencies"],
        ),
        ("DELETE", path_of(c, b), {}, [*reserve, "SELECT dependencies.id", "UPDATE dependencies"]),
    ):
        statements.clear()
        await alice.call(method, path, **options)
        assert len(statements) == len(expected), (method, path, statements)
        for sql, begins in zip(statements, expected, strict=True):
            assert " ".join(sql.split()).startswith(begins), (method, path, sql)


async def test_they_end_with_the_account_and_are_in_its_export(alice: Client, state: State) -> None:
    from tests.test_export import exported

    one, other = await some(alice, "One", "Other")
    await depend(alice, one, other)

    [row] = (await exported(alice))["dependencies.json"]

    assert (row["task_id"], row["depends_on_id"]) == (one["id"], other["id"])
    await end_account(state, alice.user_id)
    assert await rows_of(state, alice) == []
