"""Dependencies that are made, moved and removed at once, over connections of their own: no circle, whoever is first."""

import asyncio
import random
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from backend.rules import graph
from backend.rules.graph import Edge
from backend.state import State
from tests.client import Client
from tests.test_dependencies import depend, named, path_of, rows_of, some
from tests.test_input import assert_problem

pytestmark = pytest.mark.long


async def living(state: State, client: Client) -> list[Edge]:
    rows = [row for row in await rows_of(state, client) if row.deleted_at is None]
    return [Edge(row.task_id, row.depends_on_id) for row in rows]


async def assert_no_circle(state: State, client: Client) -> None:
    edges = await living(state, client)
    assert [task for task in {edge.task for edge in edges} if graph.circle(edges, task)] == []
    assert len(set(edges)) == len(edges)


async def test_of_two_that_would_close_a_circle_one_is_made_and_the_other_is_told_the_way(alice: Client) -> None:
    a, b, c, d = await some(alice, *"ABCD")
    await depend(alice, a, b)
    await depend(alice, c, d)
    wins = {"bc": 0, "da": 0}
    for n in range(100):
        both = [("bc", b, c), ("da", d, a)]
        both = both[:: -1 if n % 2 else 1]

        answers = await asyncio.gather(*(alice.call("PUT", path_of(*pair)) for _, *pair in both))

        assert sorted(answer.status_code for answer in answers) == [201, 409]
        won, lost = (0, 1) if answers[0].status_code == 201 else (1, 0)
        way = assert_problem(answers[lost], 409)["path"]
        around = {"bc": [b, c, d, a, b], "da": [d, a, b, c, d]}[both[lost][0]]
        assert [step["id"] for step in way] == [task["id"] for task in around]
        wins[both[won][0]] += 1
        assert (await alice.delete(path_of(*both[won][1:]))).status_code == 204
    assert sum(wins.values()) == 100


async def test_the_same_dependency_at_once_is_made_once(alice: Client, state: State) -> None:
    one, other = await some(alice, "One", "Other")
    for _ in range(20):
        answers = await asyncio.gather(*(alice.call("PUT", path_of(one, other)) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [201, 204, 204, 204]
        answers = await asyncio.gather(*(alice.delete(path_of(one, other)) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]
    assert len(await rows_of(state, alice)) == 20


async def test_a_transfer_and_a_dependency_at_once_close_no_circle(alice: Client) -> None:
    """Either the transfer makes the target wait for A, or A the target."""
    source, target, a = await some(alice, "Source", "Target", "A")
    path = f"/v1/tasks/{source['id']}/dependencies/transfer"
    for _ in range(30):
        await depend(alice, source, a)

        moved, added = await asyncio.gather(
            alice.post(path, {"to": target["id"]}), alice.call("PUT", path_of(a, target))
        )

        if moved.status_code == 200:
            steps, winner = [a, target, a], path_of(target, a)
            assert (moved.json(), added.status_code) == ({"moved": 1}, 409)
            assert await named(alice, target) == (["A"], [])
        else:
            steps, winner = [target, a, target], path_of(a, target)
            assert (moved.status_code, added.status_code) == (409, 201)
            assert (await alice.delete(path_of(source, a))).status_code == 204
        way = assert_problem(added if added.status_code == 409 else moved, 409)["path"]
        assert [step["id"] for step in way] == [step["id"] for step in steps]
        assert (await alice.delete(winner)).status_code == 204


async def test_whatever_is_done_at_once_there_is_no_circle_and_no_number_is_given_twice(
    alice: Client, state: State
) -> None:
    tasks = await some(alice, *"ABCDE")

    async def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            task, other = chance.sample(tasks, 2)
            kind = chance.randrange(8)
            if kind == 0:
                path = f"/v1/tasks/{task['id']}/dependencies/transfer"
                answer = await alice.post(path, {"to": other["id"]})
                assert answer.status_code in {200, 409}
            elif kind < 3:
                answer = await alice.delete(path_of(task, other))
                assert answer.status_code in {204, 404}
            else:
                answer = await alice.call("PUT", path_of(task, other))
                assert answer.status_code in {201, 204, 409}
            if answer.status_code == 409:
                assert_way(answer.json()["path"], {UUID(each["id"]) for each in tasks})

    await asyncio.gather(*(work(seed) for seed in range(4)))

    await assert_no_circle(state, alice)
    versions = [row.version for row in await rows_of(state, alice)]
    assert len(set(versions)) == len(versions)
    assert max(versions) < (await alice.add("Last"))["version"]


def assert_way(path: list[Any], known: set[UUID]) -> None:
    steps = [UUID(step["id"]) for step in path]
    assert steps[0] == steps[-1]
    assert len(set(steps)) == len(steps) - 1
    assert set(steps) <= known
    assert all(one != other for one, other in pairwise(steps))
