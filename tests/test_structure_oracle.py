"""Projects, tasks, dependencies, comments and the trash over HTTP against an oracle in plain Python, at random."""

import os
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.state import State
from tests.client import Client, Json, fresh_account
from tests.structure_oracle import Oracle, Row
from tests.test_trash import no_living_row_refers_to_a_tombstone

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("STRUCTURE_EXAMPLES", "15"))
numbers = count()
KINDS = (
    *("task_in", "task_below", "task_both", "project"),
    *("put_below", "put_deepest", "put_into_own", "put_into", "leave", "put_project", "put_project"),
    *("delete", "delete_one_by_one", "delete_batch", "delete_project", "delete_project"),
    *("restore_task", "restore_task", "restore_project", "restore_project"),
    *("scrub_task", "scrub_project", "empty"),
    *("depend", "depend", "depend", "part", "comment"),
)
small = st.integers(0, 30)
Step = tuple[str, int, int, int]
steps: Any = st.tuples(st.sampled_from(KINDS), small, small, small)

SNAPSHOT = text(
    " UNION ALL ".join(
        f"SELECT '{table}', id, version, to_jsonb(t)::text FROM {table} t WHERE user_id = :owner"
        for table in ("tasks", "projects", "comments", "dependencies")
    )
    + " UNION ALL SELECT 'counter', user_id, seq, '' FROM sync_state WHERE user_id = :owner"
)
Snapshot = dict[tuple[str, Any], tuple[int, str]]


class Run:
    """One user's structure, and what the oracle says of it. Names stand for rows: T0 is a task, P0 a project."""

    def __init__(self, client: Client, connection: AsyncConnection) -> None:
        self.client, self.connection, self.oracle = client, connection, Oracle()
        self.ids: dict[str, str] = {}
        self.seen: Snapshot = {}
        self.status = 0

    def new(self, kind: str) -> str:
        name = f"{kind}{sum(each.startswith(kind) for each in self.ids)}"
        self.ids[name] = str(uuid4())
        return name

    def id(self, name: str | None) -> str | None:
        return None if name is None else self.ids[name]

    def some(self, rows: dict[str, Row], number: int, none: bool = False) -> Any:
        names = [*([None, None] if none else []), *rows]
        return names[number % len(names)]

    async def begin(self) -> None:
        """Two trees of projects, and two of tasks, one as deep as it may be."""
        for parent in (None, "P0", "P1", None):
            await self.project(parent, len(self.oracle.projects))
        for parent in (None, "T0", "T1", "T2", "T3", None, "T5", None):
            await self.task(parent, {0: "P1", 7: "P0"}.get(len(self.oracle.tasks)))
        for one, other in (("T1", "T6"), ("T2", "T1"), ("T6", "T7")):
            await self.depend(one, other)
        await self.comment("T2")

    async def step(self, kind: str, one: int, other: int, third: int) -> None:
        tasks, projects = self.oracle.tasks, self.oracle.projects
        task, project = self.some(tasks, one), self.some(projects, one)
        to_task, to_project = self.some(tasks, other, none=True), self.some(projects, other, none=True)
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "task_in": lambda: self.task(None, to_project),
            "task_below": lambda: self.task(to_task, None),
            "task_both": lambda: self.task(task, to_project),
            "project": lambda: self.project(to_project, one % 8),
            "put_below": lambda: self.patch("tasks", task, {"parent_id": to_task}),
            "put_deepest": lambda: self.patch("tasks", task, {"parent_id": self.deepest()}),
            "put_into_own": lambda: self.patch("tasks", task, {"parent_id": self.part_of(task, other)}),
            "put_into": lambda: self.patch("tasks", task, {"project_id": to_project}),
            "leave": lambda: self.patch("tasks", task, {"parent_id": None, "project_id": to_project}),
            "put_project": lambda: self.patch("projects", project, {"parent_id": to_project}),
            "delete": lambda: self.delete([task]),
            "delete_one_by_one": lambda: self.delete_one_by_one(self.part_of(task, other), task),
            "delete_batch": lambda: self.delete([task, self.some(tasks, other), self.some(tasks, third)]),
            "delete_project": lambda: self.delete_project(project, (None, "trash", "inbox", "trash")[other % 4]),
            "restore_task": lambda: self.of_trash("POST", "tasks", task),
            "restore_project": lambda: self.of_trash("POST", "projects", project),
            "scrub_task": lambda: self.of_trash("DELETE", "tasks", task),
            "scrub_project": lambda: self.of_trash("DELETE", "projects", project),
            "empty": self.empty,
            "depend": lambda: self.depend(task, self.some(tasks, other)),
            "part": lambda: self.part(*self.pair(one)),
            "comment": lambda: self.comment(task),
        }
        await steps[kind]()
        await self.look()
        if self.oracle.unsure:
            assert self.oracle.settle(await self.dependencies()), "more or less came back than could"

    async def look(self) -> None:
        """Each change has a number that was nobody's before, and what is refused changes nothing."""
        owner = self.client.user_id
        found = await self.connection.execute(SNAPSHOT, {"owner": owner})
        before, self.seen = self.seen, {(table, row_id): (number, said) for table, row_id, number, said in found}
        changed = [row for row, now in self.seen.items() if before.get(row) != now and row[0] != "counter"]
        versions = [self.seen[row][0] for row in changed]
        first, last = ((now.get(("counter", owner)) or (0, ""))[0] for now in (before, self.seen))
        assert before.keys() <= self.seen.keys()
        assert len(set(versions)) == len(versions), "a number was given twice"
        assert all(first < version <= last for version in versions), "a number that another change had"
        assert self.status < 400 or self.seen == before, "refused, and something changed"

    def part_of(self, task: str, number: int) -> str:
        """A part of it at any depth, or itself where it has none."""
        itself, *parts = [name for name, _ in self.oracle.below(self.oracle.tasks, task)]
        return parts[number % len(parts)] if parts else itself

    def deepest(self) -> str | None:
        tasks = self.oracle.trees(self.oracle.tasks)
        return max(tasks, key=lambda name: tasks[name][2], default=None)

    def pair(self, number: int) -> tuple[str, str]:
        pairs = [*self.oracle.living, *self.oracle.severed, ("T0", "T1")]
        return pairs[number % len(pairs)]

    # Each step: the oracle's status, and the application's.

    async def asked(self, expected: int, method: str, path: str, body: Any = None) -> httpx.Response:
        answer = await self.client.call(method, f"/v1/{path}", **({} if body is None else {"json": body}))
        assert answer.status_code == expected, (method, path, body, answer.text)
        self.status = expected
        return answer

    async def task(self, parent: str | None, project: str | None) -> None:
        name = self.new("T")
        body = {"id": self.ids[name], "title": name, "parent_id": self.id(parent), "project_id": self.id(project)}
        await self.asked(self.oracle.task(name, parent, project), "POST", "tasks", body)

    async def project(self, parent: str | None, number: int) -> None:
        name, called = self.new("P"), f"Project {number}"
        body = {"id": self.ids[name], "name": called, "parent_id": self.id(parent)}
        await self.asked(self.oracle.project(name, called, parent), "POST", "projects", body)

    async def patch(self, kind: str, name: str, sent: dict[str, str | None]) -> None:
        if kind == "projects":
            expected = self.oracle.put_project(name, sent["parent_id"])
        elif "project_id" in sent:
            expected = self.oracle.put_into(name, sent["project_id"], leaves="parent_id" in sent)
        else:
            expected = self.oracle.put_below(name, sent["parent_id"])
        body = {field: self.id(value) for field, value in sent.items()}
        await self.asked(expected, "PATCH", f"{kind}/{self.ids[name]}", body)

    async def delete(self, names: list[str]) -> None:
        expected = self.oracle.delete(names)
        if len(names) == 1:
            await self.asked(expected, "DELETE", f"tasks/{self.ids[names[0]]}")
            return
        status = 200 if expected == 204 else expected
        answer = await self.asked(status, "POST", "tasks/batch/delete", {"ids": [self.ids[name] for name in names]})
        assert status != 200 or answer.json() == {"deleted": len(set(names))}

    async def delete_one_by_one(self, part: str, task: str) -> None:
        """Then the task comes back, without the part."""
        await self.delete([part])
        await self.look()
        await self.delete([task])
        await self.look()
        await self.of_trash("POST", "tasks", task)

    async def delete_project(self, name: str, tasks: str | None) -> None:
        query = f"?tasks={tasks}" if tasks else ""
        await self.asked(self.oracle.delete_project(name, tasks), "DELETE", f"projects/{self.ids[name]}{query}")

    async def of_trash(self, method: str, kind: str, name: str) -> None:
        verb = "restore" if method == "POST" else "scrub"
        expected = getattr(self.oracle, f"{verb}_{kind[:-1]}")(name)
        path = f"trash/{kind}/{self.ids[name]}" + ("/restore" if method == "POST" else "")
        answer = await self.asked(expected, method, path)
        if expected == 200:
            assert answer.json() == (await self.client.get(f"/v1/{kind}/{self.ids[name]}")).json()

    async def empty(self) -> None:
        assert (await self.asked(200, "DELETE", "trash")).json() == {"deleted": self.oracle.empty()}

    async def depend(self, one: str, other: str) -> None:
        await self.asked(self.oracle.depend(one, other), "PUT", self.between(one, other))

    async def part(self, one: str, other: str) -> None:
        await self.asked(self.oracle.part(one, other), "DELETE", self.between(one, other))

    def between(self, one: str, other: str) -> str:
        return f"tasks/{self.ids[one]}/dependencies/{self.ids[other]}"

    async def comment(self, name: str) -> None:
        body = f"Of {name}, {next(numbers)}"
        await self.asked(self.oracle.comment(name, body), "POST", f"tasks/{self.ids[name]}/comments", {"body": body})

    # What there is.

    async def items(self, path: str, **parameters: Any) -> list[Json]:
        answer = await self.client.get(f"/v1/{path}", params={"limit": 200, **parameters})
        assert answer.status_code == 200, answer.text
        items: list[Json] = answer.json()["items"]
        return items

    async def dependencies(self) -> set[tuple[str, str]]:
        return {
            (name, other["title"])
            for name in self.oracle.trees(self.oracle.tasks)
            for other in await self.items(f"tasks/{self.ids[name]}/dependencies")
        }

    async def check(self) -> None:
        oracle, names = self.oracle, {each: name for name, each in self.ids.items()} | {None: None}
        tasks, projects = oracle.trees(oracle.tasks), oracle.trees(oracle.projects)
        found = {
            each["title"]: (names[each["parent_id"]], names[each["project_id"]]) for each in await self.items("tasks")
        }
        assert found == {name: (parent, project) for name, (parent, project, _) in tasks.items()}
        listed = {names[each["id"]]: (names[each["parent_id"]], each["depth"]) for each in await self.items("projects")}
        assert listed == {name: (parent, depth) for name, (parent, _, depth) in projects.items()}
        for name, (parent, project, depth) in tasks.items():
            assert depth <= 4
            assert parent is None or tasks[parent][1] == project
            if parent is None:
                parts = await self.items(f"tasks/{self.ids[name]}/subtasks")
                tree = dict(oracle.below(oracle.tasks, name))
                assert {each["title"]: each["depth"] for each in parts} | {name: 0} == tree
            comments = await self.items(f"tasks/{self.ids[name]}/comments")
            assert [each["body"] for each in comments] == oracle.comments(name)
        assert await self.dependencies() == set(oracle.living)
        trash = oracle.trash()
        assert {names[each["id"]]: each["contains"] for each in await self.items("trash")} == {
            root: len(taken) for root, taken in trash.items()
        }
        for root, taken in trash.items():
            within = {names[each["id"]]: each["contains"] for each in await self.items("trash", within=self.ids[root])}
            assert within == {name: len(oracle.back_with(name)) for name in taken}
            for name in taken:
                items = await self.items("trash", within=self.ids[name])
                assert {names[each["id"]] for each in items} == oracle.back_with(name)


@given(st.lists(steps, min_size=6, max_size=16))
@settings(max_examples=EXAMPLES)
async def test_every_step_is_answered_and_leaves_what_the_oracle_says(
    http: httpx.AsyncClient, state: State, done: list[Step]
) -> None:
    client = await fresh_account(http, state, f"user{next(numbers)}")
    async with state.database.engine.connect() as connection:
        run = Run(client, connection)
        await run.begin()
        await run.look()
        for step in done:
            await run.step(*step)
        await run.check()
    await no_living_row_refers_to_a_tombstone(state)
