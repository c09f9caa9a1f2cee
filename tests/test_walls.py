"""Every route of the application, as a stranger and as another user: nobody sees, touches or infers."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from tests.client import Client
from tests.test_input import assert_problem

OPEN = {  # routes that ask who somebody is, or say nothing of anybody
    "/health/live",
    "/health/ready",
    "/v1/auth/register",
    "/v1/auth/token",
    "/v1/auth/refresh",
    "/openapi.json",
    "/docs",
    "/docs/oauth2-redirect",
    "/docs/static",
}
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/tasks"): {"title": "x"},
    ("PATCH", "/v1/tasks/{task_id}"): {"title": "Taken over"},
    ("POST", "/v1/tasks/batch"): {"tasks": [{"title": "x"}]},
    ("PATCH", "/v1/tasks/batch"): {"ids": ["{task_id}"], "set": {"title": "Taken over"}},
    ("POST", "/v1/tasks/batch/delete"): {"ids": ["{task_id}"]},
}


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """From the application's own table, so that a new route is covered without being told."""
    for route in iter_route_contexts(app.routes):
        for method in sorted(route.methods or {"GET"}):
            if method != "HEAD" and route.path not in OPEN:
                yield method, route.path or ""


def filled(value: Any, task_id: str) -> Any:
    if isinstance(value, dict):
        return {name: filled(part, task_id) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, task_id) for part in value]
    return value.replace("{task_id}", task_id) if isinstance(value, str) else value


async def test_the_table_of_routes_is_read(app: FastAPI) -> None:
    assert ("GET", "/v1/tasks") in set(routes(app))
    assert len(set(routes(app))) >= 11


@pytest.mark.parametrize("authorization", [None, "Bearer x", "Bearer a.b.c", "Basic YTpi"])
async def test_a_stranger_is_401_on_every_route(
    app: FastAPI, http: httpx.AsyncClient, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    for method, path in routes(app):
        address = filled(path, str(uuid4()))
        answer = await http.request(method, address, json=BODIES.get((method, path)), headers=headers)
        assert_problem(answer, 401)


async def test_another_user_s_task_answers_as_one_that_is_not_there(app: FastAPI, alice: Client, bob: Client) -> None:
    task = await alice.add("Secret", tags=["secret"], description="secret")
    unknown = str(uuid4())

    for method, path in routes(app):
        answers = []
        for task_id in (task["id"], unknown):
            body = filled(BODIES.get((method, path)), task_id)
            headers = {"If-None-Match": "*"} if method == "GET" else {"If-Match": f'"{task["version"]}"'}
            answers.append(await bob.call(method, filled(path, task_id), json=body, headers=headers))
        theirs, nothing = answers
        assert "secret" not in theirs.text.lower()
        if "{task_id}" in path or "{task_id}" in str(BODIES.get((method, path))):
            assert theirs.status_code == nothing.status_code == 404, (method, path)
            assert theirs.text.replace(task["id"], unknown) == nothing.text
            assert {**theirs.headers} == {**nothing.headers}
    assert (await alice.get(f"/v1/tasks/{task['id']}")).json() == task


async def test_lists_counts_tags_searches_and_cursors_show_only_one_s_own(alice: Client, bob: Client) -> None:
    await alice.add_many(
        [{"title": f"Secret {n}", "tags": ["secret"], "due_date": "2020-01-01T00:00:00Z"} for n in range(30)]
    )
    await bob.add("Figs", tags=["own"])
    cursor = (await alice.page(limit=2))["next_cursor"]

    for parameters in ({}, {"search": "secret or figs"}, {"any_tags": ["secret", "own"]}, {"sort": "title", "page": 1}):
        page = await bob.page(**parameters)
        assert (page["total"], [task["title"] for task in page["items"]]) == (1, ["Figs"])
    assert (await bob.page(overdue="true"))["total"] == 0
    assert (await bob.get("/v1/tags")).json() == {"items": [{"tag": "own", "count": 1}]}
    assert_problem(await bob.get("/v1/tasks", params={"limit": 2, "cursor": cursor}), 422)


async def test_a_user_id_from_outside_is_refused_everywhere(app: FastAPI, alice: Client, bob: Client) -> None:
    for method, path in routes(app):
        body = BODIES.get((method, path))
        address = filled(path, str(uuid4()))
        if body is not None:
            smuggled = {**filled(body, str(uuid4())), "user_id": str(bob.user_id)}
            assert_problem(await alice.call(method, address, json=smuggled), 422)
        answer = await alice.call(
            method, address, params={"user_id": str(bob.user_id)}, json=filled(body, str(uuid4()))
        )
        assert_problem(answer, 422)


async def test_versions_count_one_s_own_changes_alone(alice: Client, bob: Client) -> None:
    """A counter that all shared would tell how busy others are."""
    await bob.add_many([{"title": f"Task {n}"} for n in range(50)])

    assert (await alice.add("First"))["version"] == 1
