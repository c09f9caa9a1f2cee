"""Tasks, one by one."""

import re
from typing import Any
from uuid import uuid4

import pytest

from tests.client import Client, Statements
from tests.test_input import assert_problem

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
FULL: dict[str, Any] = {
    "title": "Water the figs",
    "description": "The two on the balcony.",
    "priority": "high",
    "due_date": "2026-12-24T19:30:00.250+01:30",
    "tags": ["home", "Home", "plants"],
    "completed": True,
}


async def test_a_task_comes_back_as_it_was_sent_with_times_in_utc(alice: Client) -> None:
    answer = await alice.post("/v1/tasks", FULL)
    task = answer.json()

    assert answer.status_code == 201
    assert {name: task[name] for name in FULL} == {**FULL, "due_date": "2026-12-24T18:00:00.250000Z"}
    assert list(task) == [
        *("id", "title", "description", "priority", "due_date", "tags", "completed", "completed_at"),
        *("project_id", "parent_id", "position"),
        *("version", "created_at", "updated_at"),
    ]
    assert task["completed_at"] == task["created_at"] == task["updated_at"]
    assert ISO.fullmatch(task["created_at"])
    assert answer.headers["Location"] == f"/v1/tasks/{task['id']}"
    assert answer.headers["ETag"] == f'"{task["version"]}"'
    assert (await alice.get(answer.headers["Location"])).json() == task


async def test_a_title_alone_is_enough(alice: Client) -> None:
    task = await alice.add("  Buy soil \n")

    assert task["title"] == "Buy soil"
    assert (task["description"], task["due_date"], task["completed_at"]) == (None, None, None)
    assert (task["priority"], task["tags"], task["completed"]) == ("medium", [], False)


async def test_a_client_may_bring_the_id_and_only_once(alice: Client) -> None:
    own = str(uuid4())
    task = await alice.add("Mine", id=own)
    assert task["id"] == own

    assert (await alice.post("/v1/tasks", {"title": "Again", "id": own})).status_code == 409
    await alice.delete(f"/v1/tasks/{own}")
    assert (await alice.post("/v1/tasks", {"title": "From the trash", "id": own})).status_code == 409


async def test_two_users_may_bring_the_same_id_and_learn_nothing_of_each_other(alice: Client, bob: Client) -> None:
    own = str(uuid4())
    hers, his = await alice.add("Hers", id=own), await bob.add("His", id=own)

    assert (await alice.get(f"/v1/tasks/{own}")).json() == hers
    assert (await bob.get(f"/v1/tasks/{own}")).json() == his


@pytest.mark.parametrize(
    ("sent", "changed"),
    [
        ({"title": " New "}, {"title": "New"}),
        ({"description": None}, {"description": None}),
        ({"priority": "low"}, {"priority": "low"}),
        ({"due_date": None}, {"due_date": None}),
        ({"tags": None}, {"tags": []}),
        ({"tags": ["b", "a"]}, {"tags": ["b", "a"]}),
        ({"completed": False}, {"completed": False, "completed_at": None}),
    ],
)
async def test_a_patch_changes_what_it_names_and_nothing_else(
    alice: Client, sent: dict[str, Any], changed: dict[str, Any]
) -> None:
    before = await alice.add(**FULL)

    answer = await alice.patch(f"/v1/tasks/{before['id']}", sent)
    after = answer.json()

    assert answer.status_code == 200
    assert answer.headers["ETag"] == f'"{after["version"]}"'
    own = {"version": after["version"], "updated_at": after["updated_at"]}
    assert after == {**before, **changed, **own}
    assert after["version"] > before["version"]
    assert after["updated_at"] > before["updated_at"]


async def test_an_empty_patch_changes_nothing_and_makes_no_version(alice: Client) -> None:
    task = await alice.add("Same")

    answer = await alice.patch(f"/v1/tasks/{task['id']}", {})

    assert (answer.status_code, answer.json()) == (200, task)


async def test_completing_again_keeps_the_time_of_the_first(alice: Client) -> None:
    task = await alice.add("Done", completed=True)

    again = (await alice.patch(f"/v1/tasks/{task['id']}", {"completed": True})).json()

    assert again["completed_at"] == task["completed_at"]


async def test_a_stale_if_match_changes_nothing(alice: Client) -> None:
    task = await alice.add("First")
    path = f"/v1/tasks/{task['id']}"
    stale = {"If-Match": f'"{task["version"]}"'}
    await alice.patch(path, {"title": "Second"})

    for answer in (
        await alice.patch(path, {"title": "Third"}, headers=stale),
        await alice.patch(path, {}, headers=stale),
        await alice.delete(path, headers=stale),
    ):
        assert answer.status_code == 412
        assert "ETag" not in answer.headers
    assert (await alice.get(path)).json()["title"] == "Second"


@pytest.mark.parametrize("header", ['"{}"', "*", '"0", "{}"', ' "{}" '])
async def test_an_if_match_that_fits_lets_the_change_through(alice: Client, header: str) -> None:
    task = await alice.add("First")
    headers = {"If-Match": header.format(task["version"])}

    assert (await alice.patch(f"/v1/tasks/{task['id']}", {"title": "Second"}, headers=headers)).status_code == 200


@pytest.mark.parametrize("header", ['W/"{}"', "{}", '"0{}"', '"x"', '"99999999999999999999"', '"-1"', '""', ","])
async def test_an_if_match_that_is_weak_or_no_version_matches_nothing(alice: Client, header: str) -> None:
    task = await alice.add("First")
    headers = {"If-Match": header.format(task["version"])}

    refused = assert_problem(await alice.patch(f"/v1/tasks/{task['id']}", {"title": "Second"}, headers=headers), 412)
    assert "its ETag, with the quotes" in refused["detail"]
    assert (await alice.delete(f"/v1/tasks/{task['id']}", headers=headers)).status_code == 412


async def test_conditions_in_two_header_lines_are_read_as_one(alice: Client) -> None:
    task = await alice.add("First")
    path = f"/v1/tasks/{task['id']}"
    authorization = ("Authorization", f"Bearer {alice.token}")

    for name, method, status in (("If-None-Match", "GET", 304), ("If-Match", "PATCH", 200)):
        lines = [authorization, (name, '"77"'), (name, f'"{task["version"]}"')]
        answer = await alice.http.request(method, path, headers=lines, json={} if method == "PATCH" else None)
        assert answer.status_code == status, name


async def test_if_match_on_a_task_that_is_not_there_is_404(alice: Client) -> None:
    headers = {"If-Match": '"1"'}

    assert (await alice.patch(f"/v1/tasks/{uuid4()}", {"title": "x"}, headers=headers)).status_code == 404
    assert (await alice.patch(f"/v1/tasks/{uuid4()}", {}, headers=headers)).status_code == 404
    assert (await alice.delete(f"/v1/tasks/{uuid4()}", headers=headers)).status_code == 404


@pytest.mark.parametrize("header", ['"{}"', 'W/"{}"', "*", '"0", "{}"'])
async def test_a_task_that_has_not_changed_is_304_without_a_body(alice: Client, header: str) -> None:
    task = await alice.add("Same")
    headers = {"If-None-Match": header.format(task["version"])}

    answer = await alice.get(f"/v1/tasks/{task['id']}", headers=headers)

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == f'"{task["version"]}"'
    await alice.patch(f"/v1/tasks/{task['id']}", {"title": "Other"})
    if header != "*":
        assert (await alice.get(f"/v1/tasks/{task['id']}", headers=headers)).status_code == 200


async def test_a_deleted_task_is_gone_from_everywhere(alice: Client) -> None:
    task = await alice.add("Old", tags=["old"])
    path = f"/v1/tasks/{task['id']}"

    gone = await alice.delete(path)

    assert (gone.status_code, gone.content) == (204, b"")
    assert (await alice.get(path)).status_code == 404
    assert (await alice.patch(path, {"title": "x"})).status_code == 404
    assert (await alice.patch(path, {})).status_code == 404
    assert (await alice.delete(path)).status_code == 404
    assert (await alice.page())["total"] == 0
    assert (await alice.get("/v1/tags")).json() == {"items": []}


async def test_each_of_a_task_s_routes_is_one_statement(alice: Client, statements: Statements) -> None:
    task = await alice.add("Counted")
    path = f"/v1/tasks/{task['id']}"

    for method, address, body in (
        ("POST", "/v1/tasks", {"title": "New"}),
        ("GET", path, None),
        ("PATCH", path, {"title": "x", "completed": True}),
        ("PATCH", path, {}),
        ("POST", "/v1/tasks/batch", {"tasks": [{"title": "a"}, {"title": "b"}]}),
    ):
        statements.clear()
        answer = await alice.call(method, address, **({"json": body} if body is not None else {}))
        assert answer.is_success
        assert len(statements) == 1, (method, address, statements)
