"""Every route of the application, as a stranger and as another user: nobody sees, touches or infers."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import insert

from backend.models import OutsideIdentity, table
from backend.state import State
from tests.client import Client, Json
from tests.test_input import assert_problem

OPEN = {  # routes that ask who somebody is, or say nothing of anybody
    "/health/live",
    "/health/ready",
    "/metrics",
    "/.well-known/jwks.json",
    "/v1/auth/register",
    "/v1/auth/token",
    "/v1/auth/second-factor",
    "/v1/auth/outside",
    "/v1/auth/outside/{provider}",
    "/v1/auth/outside/{provider}/finish",
    "/v1/auth/verify-email",
    "/v1/auth/verify-email/confirm",
    "/v1/auth/password-reset",
    "/v1/auth/password-reset/confirm",
    "/v1/auth/refresh",
    "/openapi.json",
    "/docs",
    "/docs/oauth2-redirect",
    "/docs/static",
}
LAST = [("POST", "/v1/auth/logout"), ("DELETE", "/v1/me")]
"""After these, nobody is signed in."""
DEVICE = "01997f3e-5a2b-7c31-9d04-8b1f6f1c2b01"
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/tasks"): {"title": "x"},
    ("PATCH", "/v1/tasks/{task_id}"): {"title": "Taken over"},
    ("POST", "/v1/tasks/batch"): {"tasks": [{"title": "x"}]},
    ("PATCH", "/v1/tasks/batch"): {"ids": ["{task_id}"], "set": {"title": "Taken over"}},
    ("POST", "/v1/tasks/batch/delete"): {"ids": ["{task_id}"]},
    ("POST", "/v1/tasks/{task_id}/move"): {"after": "{other_id}"},
    ("POST", "/v1/tasks/{task_id}/dependencies/transfer"): {"to": "{other_id}"},
    ("POST", "/v1/projects"): {"name": "x"},
    ("PATCH", "/v1/projects/{project_id}"): {"name": "Taken over"},
    ("POST", "/v1/projects/{project_id}/move"): {"before": "{other_project_id}"},
    ("POST", "/v1/tasks/{task_id}/comments"): {"body": "x"},
    ("PATCH", "/v1/tasks/{task_id}/comments/{comment_id}"): {"body": "Taken over"},
    ("POST", "/v1/filters"): {"name": "x", "filter": "figs"},
    ("PATCH", "/v1/filters/{filter_id}"): {"name": "Taken over"},
    ("POST", "/v1/sync"): {
        "client_id": DEVICE,  # test_sync.py tries another user's rows
        "operations": [{"n": 1, "op": "create", "entity": "tasks", "id": DEVICE, "at": 1, "set": {"title": "x"}}],
    },
    ("PATCH", "/v1/tags/{tag}"): {"name": "Taken over"},
    ("POST", "/v1/tags/merge"): {"tags": ["{tag}"], "into": "Taken over"},
    ("POST", "/v1/me/password"): {"current_password": "x", "new_password": "correct horse battery"},
    ("PATCH", "/v1/me"): {"name": "x"},
    ("POST", "/v1/me/identities"): {"provider": "x", "flow": "x", "state": "x", "code": "x"},
    ("POST", "/v1/me/email"): {"email": "x@example.com"},
    ("POST", "/v1/me/second-factor/confirm"): {"code": "000000"},
    ("POST", "/v1/webhooks"): {"url": "https://example.com/hook"},
    ("PATCH", "/v1/webhooks/{webhook_id}"): {"url": "https://example.com/taken-over"},
    ("POST", "/v1/webhooks/{webhook_id}/secret"): {},
    ("POST", "/v1/me/tokens"): {"name": "x", "scopes": ["tasks:read"]},
}


ENDLESS = {"/v1/events"}
"""Whose answer to whoever may ask has no end: test_events.py asks them."""


def routes(app: FastAPI, *, endless: bool = False) -> Iterator[tuple[str, str]]:
    """From the application's own table, so that a new route is covered without being told."""
    for route in iter_route_contexts(app.routes):
        for method in sorted(route.methods or {"GET"}):
            if method != "HEAD" and route.path not in OPEN and (endless or route.path not in ENDLESS):
                yield method, route.path_format or route.path or ""


def filled(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled(part, ids) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, ids) for part in value]
    return value.format_map(ids) if isinstance(value, str) else value


def anything() -> Mapping[str, str]:
    """Ids of nothing, whatever they are asked for."""
    unknown = str(uuid4())
    return defaultdict(lambda: unknown)


async def test_the_table_of_routes_is_read(app: FastAPI) -> None:
    assert ("GET", "/v1/tasks") in set(routes(app))
    assert len(set(routes(app))) >= 11


@pytest.mark.parametrize("authorization", [None, "Bearer x", "Bearer a.b.c", "Basic YTpi"])
async def test_a_stranger_is_401_on_every_route(
    app: FastAPI, http: httpx.AsyncClient, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    for method, path in routes(app, endless=True):
        address = filled(path, anything())
        answer = await http.request(method, address, json=BODIES.get((method, path)), headers=headers)
        assert_problem(answer, 401)


async def deleted(alice: Client, kind: str, row: Json) -> Json:
    assert (await alice.delete(f"/v1/{kind}/{row['id']}")).status_code == 204
    return row


async def hers_of(alice: Client, state: State) -> dict[str, Json]:
    """A thing of hers in every place where an id goes."""
    tag = str(uuid4())  # as long as an id: answers that name it are compared
    token = (await alice.post("/v1/me/tokens", {"name": "Secret", "scopes": ["tasks:read"]})).json()
    identity = {"issuer": "https://there.example", "subject": "Secret", "provider": "there", "id": str(uuid4())}
    async with state.database.engine.connect() as connection:
        await connection.execute(insert(table(OutsideIdentity)).values(**identity, user_id=alice.user_id))
    hook = (await alice.post("/v1/webhooks", {"url": "https://example.com/hook", "description": "Secret"})).json()
    task = await alice.add("Secret", tags=["secret", tag], description="secret")
    return {
        "identity_id": (await alice.get("/v1/me/identities")).json()["items"][0],
        "task_id": task,
        "comment_id": (await alice.post(f"/v1/tasks/{task['id']}/comments", {"body": "Secret"})).json(),
        "other_id": await alice.add("Secret, to be done before"),
        "project_id": await alice.project("Secret", description="secret"),
        "other_project_id": await alice.project("Secret, the other"),
        "deleted_task_id": await deleted(alice, "tasks", await alice.add("Secret, deleted")),
        "deleted_project_id": await deleted(alice, "projects", await alice.project("Secret, gone")),
        "filter_id": await alice.save("Secret", "secret"),
        "tag": {"id": tag},
        "session_id": (await alice.get("/v1/me/sessions")).json()["items"][0],
        "webhook_id": {name: value for name, value in hook.items() if name != "secret"},
        "delivery_id": (await alice.post(f"/v1/webhooks/{hook['id']}/test")).json(),
        "token_id": {name: value for name, value in token.items() if name != "token"},
    }


async def test_another_user_s_row_answers_as_one_that_is_not_there(
    app: FastAPI, alice: Client, bob: Client, state: State
) -> None:
    hers = await hers_of(alice, state)
    ids, nowhere = {name: row["id"] for name, row in hers.items()}, anything()
    ids["provider"] = "there"
    versions = ", ".join(f'"{row["version"]}"' for row in hers.values() if "version" in row)

    for method, path in sorted(routes(app), key=lambda route: route in LAST):
        answers = []
        for those in (ids, nowhere):
            body = filled(BODIES.get((method, path)), those)
            headers = {"If-None-Match": "*"} if method == "GET" else {"If-Match": versions}
            headers["X-Request-ID"] = "the-same-one"
            answers.append(await bob.call(method, filled(path, those), json=body, headers=headers))
        theirs, nothing = answers
        assert "Secret" not in theirs.text
        names = set(re.findall(r"\{(\w+)\}", f"{path} {BODIES.get((method, path))}")) - {"provider"}
        said = theirs.text
        for name in names:
            said = said.replace(ids[name], nowhere[name])
        if names:
            assert theirs.status_code == nothing.status_code == 404, (method, path)
            assert said == nothing.text
            for answer in answers:
                answer.headers.pop("Tend-Change", None)  # how far the asker's own changes have come
            assert {**theirs.headers} == {**nothing.headers}
    assert (await alice.get(f"/v1/tasks/{ids['task_id']}")).json() == hers["task_id"]
    comment = await alice.get(f"/v1/tasks/{ids['task_id']}/comments/{ids['comment_id']}")
    assert comment.json() == hers["comment_id"]
    assert (await alice.get(f"/v1/filters/{ids['filter_id']}")).json() == hers["filter_id"]
    assert (await alice.get(f"/v1/projects/{ids['project_id']}")).json() == hers["project_id"]
    assert (await alice.get("/v1/me/identities")).json()["items"] == [hers["identity_id"]]
    assert (await alice.get("/v1/webhooks")).json()["items"] == [hers["webhook_id"]]
    assert (await alice.get("/v1/me/tokens")).json()["items"] == [hers["token_id"]]
    assert [one["id"] for one in (await alice.get("/v1/me/sessions")).json()["items"]] == [ids["session_id"]]


async def test_every_place_for_an_id_is_tried_with_another_user_s(app: FastAPI, alice: Client, state: State) -> None:
    said = " ".join([*(path for _, path in routes(app)), str(BODIES)])
    places = set(re.findall(r"\{(\w+)\}", said))

    assert places - {"provider"} == set(await hers_of(alice, state))


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
        address, body = filled(path, anything()), filled(body, anything())
        if body is not None:
            assert_problem(await alice.call(method, address, json={**body, "user_id": str(bob.user_id)}), 422)
        answer = await alice.call(method, address, params={"user_id": str(bob.user_id)}, json=body)
        assert_problem(answer, 422)


async def test_versions_count_one_s_own_changes_alone(alice: Client, bob: Client) -> None:
    """A counter that all shared would tell how busy others are."""
    await bob.add_many([{"title": f"Task {n}"} for n in range(50)])

    assert (await alice.add("First"))["version"] == 1
