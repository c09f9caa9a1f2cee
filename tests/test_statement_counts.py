"""How many statements each route asks of the database: a listing one, and what writes as few as are said here.

Read from the application's own table, so that a new route fails until it is written down. The token is remembered,
and costs none.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import delete

from backend.models import OutsideIdentity, table
from backend.state import State
from tests.client import Client, Statements, fresh_account
from tests.test_walls import BODIES, filled, hers_of, routes

ACCOUNT = ("/v1/me", "/v1/auth/")
"""Not of a user's data: who somebody is."""

READS: Mapping[str, list[dict[str, Any]]] = {
    "/v1/tasks": [
        {},
        {"limit": 1, "page": 2, "count": "estimate"},
        *({"sort": sort, "limit": 1} for sort in ("updated", "title", "priority", "due_date", "position")),
        {"include": "parents,subtasks"},
        {"facets": "tag,priority,status", "include": "parents,subtasks", "filter": "-is:completed"},
        {"filter": "project:secret or project:none or is:archived"},
        {"filter": "is:blocked or is:blocking or has:subtasks or is:subtask or has:project"},
        {"search": "secret", "sort": "relevance", "highlight": "true", "facets": "tag"},
        {"search": "remark", "highlight": "true", "include": "parents,subtasks"},  # a comment's
        {"search": "secert", "fuzzy": "true"},
        {"project_id": "{project_id}", "tags": "x", "any_tags": "y", "not_tags": "z", "overdue": "true"},
        {"parent_id": "{task_id}", "inbox": "true", "is_subtask": "false"},
    ],
    "/v1/tasks/{task_id}": [{}],
    "/v1/tasks/{task_id}/subtasks": [{}, {"limit": 1}],
    "/v1/tasks/{task_id}/comments": [{}, {"order": "desc", "limit": 1}],
    "/v1/tasks/{task_id}/comments/{comment_id}": [{}],
    "/v1/tasks/{task_id}/activity": [{}, {"limit": 1}],
    "/v1/tasks/{task_id}/dependencies": [{}, {"limit": 1}],
    "/v1/tasks/{task_id}/dependents": [{}, {"limit": 1}],
    "/v1/activity": [{}, {"limit": 1}],
    "/v1/projects": [{}, {"limit": 1}, {"sort": "name", "archived": "false", "favorite": "false", "limit": 1}],
    "/v1/projects/{project_id}": [{}],
    "/v1/trash": [{}, {"limit": 1}, {"within": "{deleted_project_id}"}],
    "/v1/tags": [{}, {"limit": 1}],
    "/v1/filters": [{}, {"limit": 1}],
    "/v1/filters/{filter_id}": [{}],
    "/v1/webhooks": [{}],
    "/v1/webhooks/{webhook_id}": [{}],
    "/v1/webhooks/{webhook_id}/deliveries": [{}, {"limit": 1}],
    "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}": [{}],
}
WRITES: Mapping[str, int] = {
    "POST /v1/tasks": 1,
    "POST /v1/tasks/batch": 1,
    "PATCH /v1/tasks/batch": 2,
    "POST /v1/tasks/batch/delete": 8,
    "PATCH /v1/tasks/{task_id}": 1,
    "POST /v1/tasks/{task_id}/move": 3,
    "DELETE /v1/tasks/{task_id}": 9,
    "POST /v1/projects": 1,
    "PATCH /v1/projects/{project_id}": 1,
    "POST /v1/projects/{project_id}/move": 3,
    "DELETE /v1/projects/{project_id}": 3,
    "DELETE /v1/trash": 16,
    "POST /v1/trash/tasks/{deleted_task_id}/restore": 7,
    "POST /v1/trash/projects/{deleted_project_id}/restore": 7,
    "DELETE /v1/trash/tasks/{deleted_task_id}": 6,
    "DELETE /v1/trash/projects/{deleted_project_id}": 4,
    "POST /v1/tasks/{task_id}/comments": 3,
    "PATCH /v1/tasks/{task_id}/comments/{comment_id}": 3,
    "DELETE /v1/tasks/{task_id}/comments/{comment_id}": 3,
    "POST /v1/tasks/{task_id}/dependencies/transfer": 6,
    "PUT /v1/tasks/{task_id}/dependencies/{other_id}": 1,
    "DELETE /v1/tasks/{task_id}/dependencies/{other_id}": 3,
    "POST /v1/tags/merge": 4,
    "PATCH /v1/tags/{tag}": 4,
    "DELETE /v1/tags/{tag}": 4,
    "POST /v1/sync": 5,  # the lock, what is known of the device, the operation, the receipt; and the changes
    "POST /v1/filters": 1,
    "PATCH /v1/filters/{filter_id}": 1,
    "DELETE /v1/filters/{filter_id}": 1,
    "POST /v1/webhooks": 3,  # whether the sign-in still holds, the number, the row
    "PATCH /v1/webhooks/{webhook_id}": 2,  # the sign-in, the change
    "DELETE /v1/webhooks/{webhook_id}": 2,  # the lock, all of it
    "DELETE /v1/webhooks/{webhook_id}/deliveries/{delivery_id}": 1,
    "POST /v1/webhooks/{webhook_id}/secret": 2,
    "POST /v1/webhooks/{webhook_id}/test": 1,
    "POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": 1,
}


def of_data(app: FastAPI) -> Iterator[tuple[str, str]]:
    return ((method, path) for method, path in routes(app) if not path.startswith(ACCOUNT))


def unknown_reads(app: FastAPI) -> set[str]:
    return {path for method, path in of_data(app) if method == "GET"} ^ READS.keys()


async def with_all(client: Client, state: State) -> dict[str, str]:
    """Something of every kind, and two where a list is to go on."""
    hers = await hers_of(client, state)
    ids = {name: row["id"] for name, row in hers.items()}
    path = f"/v1/tasks/{ids['task_id']}"
    for n in range(2):
        part, waiting = await client.add(f"Secret part {n}", parent_id=ids["task_id"]), await client.add(f"Waiting {n}")
        await client.call("PUT", f"{path}/dependencies/{part['id']}")
        await client.call("PUT", f"/v1/tasks/{waiting['id']}/dependencies/{ids['task_id']}")
    await client.call("PUT", f"{path}/dependencies/{ids['other_id']}")
    await client.patch(path, {"priority": "high"})
    await client.post(f"{path}/comments", {"body": "A remark"})
    await client.save("Another", "secret")
    await client.post(f"/v1/webhooks/{ids['webhook_id']}/test")
    return ids


async def test_a_listing_is_one_statement_whatever_is_asked_and_so_is_its_next_page(
    app: FastAPI, alice: Client, state: State, statements: Statements
) -> None:
    assert unknown_reads(app) == set(), "say in READS what they are asked with"
    ids = await with_all(alice, state)
    went_on = set()
    for path, asked in READS.items():
        for parameters in asked:
            address, sent = filled(path, ids), filled(parameters, ids)
            statements.clear()
            answer = await alice.get(address, params=sent)
            assert answer.status_code == 200, (path, sent, answer.text)
            assert len(statements) == 1, (path, sent)
            if cursor := answer.json().get("next_cursor"):
                went_on.add(path)
                sent = {name: value for name, value in sent.items() if name not in {"page", "count"}}
                statements.clear()
                answer = await alice.get(address, params={**sent, "cursor": cursor})
                assert answer.status_code == 200, (path, sent, answer.text)
                assert len(statements) == 1, (path, sent, "with a cursor")
    schema = app.openapi()["paths"]
    assert went_on == {path for path in READS if "cursor" in str(schema[path]["get"].get("parameters"))}


async def test_a_search_that_finds_nothing_and_a_saved_filter_ask_one_more(
    alice: Client, statements: Statements
) -> None:
    """For another spelling; and for what the filter says, on which the statement of the listing depends."""
    await alice.add("Figs")
    saved = await alice.save("Figs", "figs")
    statements.clear()

    assert (await alice.page(search="figz"))["did_you_mean"] == "figs"
    assert len(statements) == 2
    statements.clear()
    assert (await alice.page(saved=saved["id"]))["total"] == 1
    assert len(statements) == 2


async def test_each_route_that_writes_takes_as_many_statements_as_are_said_here(
    app: FastAPI, alice: Client, state: State, statements: Statements
) -> None:
    found = {}
    for number, (method, path) in enumerate(of_data(app)):
        if method == "GET":
            continue
        user = await fresh_account(alice.http, state, f"writer{number}")
        ids = await with_all(user, state)
        statements.clear()
        answer = await user.call(method, filled(path, ids), json=filled(BODIES.get((method, path)), ids))
        assert answer.is_success, (method, path, answer.text)
        found[f"{method} {path}"] = len(statements)
        async with state.database.engine.connect() as connection:
            await connection.execute(delete(table(OutsideIdentity)))  # which may be somebody's once

    assert found == WRITES


FURTHER: Mapping[str, tuple[str, str, Any, int]] = {
    "a task into a project": ("POST", "/v1/tasks", {"title": "x", "project_id": "{project_id}"}, 3),
    "a task below another": ("POST", "/v1/tasks", {"title": "x", "parent_id": "{task_id}"}, 3),
    "many, some below others": (
        "POST",
        "/v1/tasks/batch",
        {"tasks": [{"title": "x", "parent_id": "{task_id}"}] * 50},
        3,
    ),
    "a tree below another task": ("PATCH", "/v1/tasks/{task_id}", {"parent_id": "{other_id}"}, 4),
    "a tree into a project": ("PATCH", "/v1/tasks/{task_id}", {"project_id": "{project_id}"}, 6),
    "a task and its parts completed": ("PATCH", "/v1/tasks/{task_id}?subtasks=complete", {"completed": True}, 5),
    "many into a project": (
        "PATCH",
        "/v1/tasks/batch",
        {"ids": ["{task_id}", "{other_id}"], "set": {"project_id": "{project_id}"}},
        6,
    ),
    "a project in another": ("POST", "/v1/projects", {"name": "x", "parent_id": "{project_id}"}, 3),
    "a project into another": ("PATCH", "/v1/projects/{project_id}", {"parent_id": "{other_project_id}"}, 6),
    "a project with tasks, to the trash": ("DELETE", "/v1/projects/{project_id}?tasks=trash", None, 9),
    "a project with tasks, these taken out": ("DELETE", "/v1/projects/{project_id}?tasks=inbox", None, 5),
    "a dependency that is new": ("PUT", "/v1/tasks/{other_id}/dependencies/{part_id}", None, 5),
}


@pytest.mark.parametrize("name", FURTHER)
async def test_what_else_is_sent_takes_as_many_as_are_said_here(
    alice: Client, state: State, statements: Statements, name: str
) -> None:
    method, path, body, expected = FURTHER[name]
    ids = await with_all(alice, state)
    ids["part_id"] = (await alice.page(parent_id=ids["task_id"]))["items"][0]["id"]
    if name.startswith("a project with"):
        await alice.patch(f"/v1/tasks/{ids['task_id']}", {"project_id": ids["project_id"]})
    statements.clear()

    answer = await alice.call(method, filled(path, ids), json=filled(body, ids))

    assert answer.is_success, answer.text
    assert len(statements) == expected
