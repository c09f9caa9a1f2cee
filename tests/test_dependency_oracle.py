"""Dependencies over HTTP against an oracle in plain Python: what is made, removed, moved and deleted at random."""

import os
from itertools import count, pairwise
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.state import State
from tests.client import Client, Json, fresh_account
from tests.test_dependencies import beside, path_of, some

EXAMPLES = int(os.environ.get("DEPENDENCY_EXAMPLES", "15"))
numbers = count()
TASKS = "ABCDEF"
task = st.sampled_from(TASKS)
steps = st.one_of(
    *[st.tuples(st.just("add"), task, task)] * 5,
    st.tuples(st.just("remove"), task, task),
    st.tuples(st.just("transfer"), task, task),
    st.tuples(st.just("delete"), task, task),
    st.tuples(st.just("complete"), task, task),
)


class Oracle:
    """Says what each step is answered with, and what there is afterwards."""

    def __init__(self) -> None:
        self.living = set(TASKS)
        self.open = set(TASKS)
        self.edges: list[tuple[str, str]] = []  # in the order in which they were made

    def step(self, kind: str, one: str, other: str) -> int:
        if one not in self.living or (other not in self.living and kind in {"add", "remove"}):
            return 404
        if kind in {"delete", "complete"}:
            (self.living if kind == "delete" else self.open).discard(one)
            return 204 if kind == "delete" else 200
        if kind == "remove":
            if (one, other) not in self.edges:
                return 404
            self.edges.remove((one, other))
            return 204
        if kind == "add":
            if (one, other) in self.edges:
                return 204
            return 409 if self.closes([*self.edges, (one, other)]) else self.become([*self.edges, (one, other)], 201)
        if other not in self.living or one == other:
            return 422
        after: list[tuple[str, str]] = []
        kept = [edge for edge in self.edges if one not in edge or not self.living.issuperset(edge)]
        for edge in self.edges:
            new = edge if edge in kept else (edge[0].replace(one, other), edge[1].replace(one, other))
            if edge in kept or (new not in kept and new not in after and new[0] != new[1]):
                after.append(new)
        return 409 if self.closes(after) else self.become(after, 200)

    def become(self, edges: list[tuple[str, str]], status: int) -> int:
        self.edges = edges
        return status

    def there(self, edges: list[tuple[str, str]] | None = None) -> list[tuple[str, str]]:
        return [edge for edge in (self.edges if edges is None else edges) if self.living.issuperset(edge)]

    def closes(self, edges: list[tuple[str, str]]) -> bool:
        """By taking away, again and again, what waits for nothing: what is left goes in a circle."""
        left = self.there(edges)
        while True:
            waiting = {one for one, _ in left}
            fewer = [edge for edge in left if edge[1] in waiting]
            if fewer == left:
                return bool(left)
            left = fewer


@given(st.lists(steps, min_size=5, max_size=25))
@settings(max_examples=EXAMPLES)
async def test_every_step_is_answered_and_leaves_what_the_oracle_says(
    http: httpx.AsyncClient, state: State, done: list[tuple[str, str, str]]
) -> None:
    client = await fresh_account(http, state, f"user{next(numbers)}")
    tasks = {each["title"]: each for each in await some(client, *TASKS)}
    oracle = Oracle()
    for kind, one, other in done:
        before = oracle.there()
        expected = oracle.step(kind, one, other)
        answer = await asked(client, kind, tasks[one], tasks[other])
        assert answer.status_code == expected, (kind, one, other, answer.text)
        if expected == 409:
            assert_goes_around([each["title"] for each in answer.json()["path"]], kind, before, one, other)
    await check(client, tasks, oracle)


async def asked(client: Client, kind: str, one: Json, other: Json) -> httpx.Response:
    if kind in {"add", "remove"}:
        return await client.call("PUT" if kind == "add" else "DELETE", path_of(one, other))
    if kind == "transfer":
        return await client.post(f"/v1/tasks/{one['id']}/dependencies/transfer", {"to": other["id"]})
    if kind == "delete":
        return await client.delete(f"/v1/tasks/{one['id']}")
    return await client.patch(f"/v1/tasks/{one['id']}", {"completed": True})


def assert_goes_around(path: list[str], kind: str, edges: list[tuple[str, str]], one: str, other: str) -> None:
    """Along what would have been there, from the one that was to change back to it."""
    would = [*edges, (one, other)]
    if kind == "transfer":
        would = [(a.replace(one, other), b.replace(one, other)) for a, b in edges]
    assert path[0] == path[-1] == (one if kind == "add" else other)
    assert all(step in would for step in pairwise(path))


async def check(client: Client, tasks: dict[str, Any], oracle: Oracle) -> None:
    edges = oracle.there()
    for name in oracle.living:
        onward, back = [
            sorted(each["title"] for each in await beside(client, tasks[name], way))
            for way in ("dependencies", "dependents")
        ]
        assert onward == sorted(other for one, other in edges if one == name)
        assert back == sorted(one for one, other in edges if other == name)
    opened = [edge for edge in edges if oracle.open.issuperset(edge)]
    for word, place in (("is:blocked", 0), ("is:blocking", 1)):
        found = {edge[place] for edge in opened}
        assert set(await client.titles(filter=word)) == found
        assert set(await client.titles(filter=f"-{word}")) == oracle.living - found
