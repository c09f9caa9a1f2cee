"""Activity: what became of tasks, when, and by whom: nothing more, nothing less, and never half of it."""

import asyncio
import random
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import null, select, update

from backend import door
from backend.models import Activity, table
from backend.schemas.tasks import TaskCreate, TaskPatch
from backend.scope import Changing, Scope
from backend.services import tasks, trash
from backend.services.task_wire import shown
from backend.state import State
from backend.wall import OWNER
from tests.client import Client, Json, Statements, another_session
from tests.test_access_tokens import made
from tests.test_door import T
from tests.test_input import assert_problem
from tests.test_tasks import ISO

A = table(Activity)
NOBODY = {"kind": None, "id": None, "name": None}
FULL: Json = {
    "title": "Water the figs",
    "description": "The two on the balcony.",
    "priority": "high",
    "due_date": "2026-12-24T18:00:00.000000Z",
    "tags": ["home", "plants"],
    "completed": False,
}


async def page(client: Client, task: Json | None = None, **parameters: Any) -> Json:
    answer = await client.get(f"/v1/tasks/{task['id']}/activity" if task else "/v1/activity", params=parameters)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def told(client: Client, task: Json | None = None) -> list[Json]:
    """Newest first."""
    found = await page(client, task, limit=200)
    assert found["next_cursor"] is None
    items: list[Json] = found["items"]
    return items


async def said(client: Client, task: Json | None = None) -> list[tuple[str, Json]]:
    return [(item["kind"], item["changes"]) for item in await told(client, task)]


async def stored(mine: Scope) -> list[Any]:
    return list(await mine.read(select(A.c.version, A.c.kind, A.c.changes).where(A.c.user_id == OWNER), {}))


async def edited(client: Client, task: Json, **sent: Any) -> Json:
    answer = await client.patch(f"/v1/tasks/{task['id']}", sent)
    assert answer.status_code == 200, answer.text
    changed: Json = answer.json()
    return changed


# What is told.


async def test_a_new_task_tells_when_it_was_made_and_on_which_device(alice: Client) -> None:
    task = await alice.add(**FULL)
    (session,) = (await alice.get("/v1/me/sessions")).json()["items"]

    (item,) = await told(alice, task)

    assert ISO.fullmatch(item["at"])
    assert item == {
        "task_id": task["id"],
        "title": "Water the figs",
        "version": task["version"],
        "at": task["created_at"],
        "kind": "created",
        "changes": {},
        "by": {"kind": "session", "id": session["id"], "name": session["device"]},
    }
    assert await told(alice) == [item]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", 'Über "figs" \\ 🌱'),
        ("description", "x" * 10_000),
        ("description", None),
        ("description", ""),
        ("priority", "low"),
        ("due_date", "2027-01-01T00:00:00.123456Z"),
        ("due_date", None),
        ("tags", []),
        ("tags", ["plants", "home"]),
        ("completed", True),
    ],
)
async def test_a_change_tells_from_what_to_what_in_full_and_in_the_form_of_the_task(
    alice: Client, field: str, value: Any
) -> None:
    before = await alice.add(**FULL)
    after = await edited(alice, before, **{field: value})
    await edited(alice, before, **{field: FULL[field]})

    back, there, _ = await told(alice, before)

    assert there["changes"] == {field: [before[field], after[field]]} == {field: [FULL[field], value]}
    assert (there["version"], there["at"], there["kind"]) == (after["version"], after["updated_at"], "changed")
    assert back["changes"] == {field: [value, FULL[field]]}


async def test_only_what_became_another_is_told(alice: Client) -> None:
    task = await alice.add(**FULL)

    await edited(alice, task, **{**FULL, "title": "Prune the figs", "completed": True})

    assert await said(alice, task) == [
        ("changed", {"title": ["Water the figs", "Prune the figs"], "completed": [False, True]}),
        ("created", {}),
    ]


async def test_a_change_to_what_was_there_already_takes_a_version_and_is_not_told(alice: Client) -> None:
    task = await alice.add(**FULL)

    again = await edited(alice, task, **FULL)
    ids = {"ids": [task["id"]], "set": FULL}
    assert (await alice.patch("/v1/tasks/batch", ids)).status_code == 200

    assert again["version"] > task["version"]
    assert await said(alice, task) == [("created", {})]


async def test_a_deletion_is_told_with_the_title_and_the_task_s_own_activity_is_gone_with_it(alice: Client) -> None:
    task = await alice.add("Old")
    assert (await alice.delete(f"/v1/tasks/{task['id']}")).status_code == 204

    deleted, created = await told(alice)

    assert (deleted["kind"], deleted["title"], deleted["changes"]) == ("deleted", "Old", {})
    assert deleted["version"] > created["version"]
    for task_id in (task["id"], uuid4()):
        assert_problem(await alice.get(f"/v1/tasks/{task_id}/activity"), 404)


async def test_a_task_that_comes_back_from_the_trash_tells_so(alice: Client, mine: Scope) -> None:
    task = await alice.add("Back again")
    await alice.delete(f"/v1/tasks/{task['id']}")

    async def restore(changing: Changing) -> None:
        this = update(T).where(T.c.user_id == OWNER, T.c.id == UUID(task["id"]))
        back = this.values(deleted_at=null(), version=changing.first)
        changed = back.returning(*T.c, T.c.updated_at.label("was_deleted_at")).cte("changed")
        noted = door.noted(changed, ["deleted_at"])
        await changing.run(select(changed.c.version).add_cte(noted), {})

    await mine.change(restore, at_most=1)

    assert [kind for kind, _ in await said(alice, task)] == ["restored", "deleted", "created"]


async def test_a_batch_is_told_task_by_task(alice: Client) -> None:
    first, second = await alice.add_many([{"title": "First"}, {"title": "Second", "completed": True}])
    ids = [first["id"], second["id"]]
    assert (await alice.patch("/v1/tasks/batch", {"ids": ids, "set": {"completed": True}})).status_code == 200
    assert (await alice.post("/v1/tasks/batch/delete", {"ids": ids})).status_code == 200

    items = await told(alice)

    assert [(item["kind"], item["title"], item["changes"]) for item in items] == [
        ("deleted", "Second", {}),
        ("deleted", "First", {}),
        ("changed", "First", {"completed": [False, True]}),
        ("created", "Second", {}),
        ("created", "First", {}),
    ]
    versions = [item["version"] for item in items]
    assert versions == sorted(set(versions), reverse=True)
    assert {item["by"]["name"] for item in items} == {"tests"}


async def test_another_language_of_the_account_changes_no_field_and_is_not_told(alice: Client) -> None:
    task = await alice.add("Feigen")

    assert (await alice.patch("/v1/me", {"language": "de"})).status_code == 200

    assert (await alice.get(f"/v1/tasks/{task['id']}")).json()["version"] > task["version"]
    assert await said(alice) == [("created", {})]


async def test_other_tables_tell_nothing(alice: Client) -> None:
    saved = await alice.save("Today", "due:today")
    await alice.patch(f"/v1/filters/{saved['id']}", {"name": "Now"})
    await alice.delete(f"/v1/filters/{saved['id']}")

    assert await page(alice) == {"items": [], "next_cursor": None}


async def test_what_the_operator_loads_is_not_told_and_its_changes_are(alice: Client, mine: Scope) -> None:
    row = tasks.jsonable(tasks.row_of(mine, TaskCreate(title="Loaded")))
    values = {"rows": door.rows_of([row])}
    await mine.write(door.create_many(T, tasks.GIVEN, shown, skip_existing=True, activity=False), values)
    task = {"id": row["id"]}
    assert await told(alice, task) == []

    await edited(alice, task, title="Changed")

    assert await said(alice, task) == [("changed", {"title": ["Loaded", "Changed"]})]


async def test_what_is_told_leads_back_to_every_state_that_a_task_had(alice: Client) -> None:
    """Whoever turns the changes around, newest first, comes to the task as it was made."""
    chance = random.Random(7)
    choices: dict[str, list[Any]] = {
        "title": ["a", "b", "c"],
        "description": [None, "", "x"],
        "priority": ["low", "high"],
        "due_date": [None, "2026-12-24T18:00:00.000000Z", "2027-01-01T00:00:00.000000Z"],
        "tags": [[], ["a"], ["a", "b"]],
        "completed": [True, False],
    }
    made = await alice.add_many([{"title": f"Task {n}", **FULL} for n in range(4)])
    seen: dict[tuple[str, int], Json] = {(task["id"], task["version"]): task for task in made}

    async def write() -> None:
        for _ in range(12):
            fields = chance.sample(list(choices), chance.randint(1, 3))
            sent = {field: chance.choice(choices[field]) for field in fields}
            if chance.random() < 0.3:
                ids = [task["id"] for task in chance.sample(made, 2)]
                assert (await alice.patch("/v1/tasks/batch", {"ids": ids, "set": sent})).status_code == 200
            else:
                task = await edited(alice, chance.choice(made), **sent)
                seen[task["id"], task["version"]] = task

    await asyncio.gather(*(write() for _ in range(4)))

    for task in made:
        state = (await alice.get(f"/v1/tasks/{task['id']}")).json()
        for item in await told(alice, task):
            if (task["id"], item["version"]) in seen:
                there = seen[task["id"], item["version"]]
                assert {field: state[field] for field in choices} == {field: there[field] for field in choices}
            for field, (was, now) in item["changes"].items():
                assert state[field] == now != was
                state[field] = was
        assert {field: state[field] for field in choices} == {field: task[field] for field in choices}


# By whom.


async def test_a_change_tells_the_device_or_the_token_that_made_it(alice: Client, state: State) -> None:
    phone = await another_session(alice.http, state, alice.user_id, alice.email)
    script, token = await made(alice, "tasks:read", "tasks:write")
    task = await alice.add("First")
    await edited(phone, task, title="Second")
    await edited(script, task, title="Third")

    by = [item["by"] for item in await told(alice, task)]

    sessions = {each["id"]: each["device"] for each in (await alice.get("/v1/me/sessions")).json()["items"]}
    assert by[0] == {"kind": "token", "id": token["id"], "name": "A script"}
    assert [each["kind"] for each in by[1:]] == ["session", "session"]
    assert {each["id"]: each["name"] for each in by[1:]} == sessions
    assert len(sessions) == 2


async def test_a_token_that_may_not_see_the_account_does_not_learn_the_names_of_its_devices(alice: Client) -> None:
    await alice.add("First")
    reader, _ = await made(alice, "tasks:read")
    keeper, _ = await made(alice, "tasks:read", "account")

    (seen,), (named,) = await told(reader), await told(keeper)

    assert named["by"]["name"] == "tests"
    assert seen == {**named, "by": {**named["by"], "name": None}}


async def test_the_name_is_gone_with_the_token_and_what_it_did_is_not(alice: Client) -> None:
    script, token = await made(alice, "tasks:write")
    await script.add("By the script")

    await alice.delete(f"/v1/me/tokens/{token['id']}")

    assert [item["by"] for item in await told(alice)] == [{"kind": "token", "id": token["id"], "name": None}]


async def test_a_script_on_the_server_is_nobody(alice: Client, mine: Scope) -> None:
    task_id, _ = await tasks.create(mine, TaskCreate(title="First"))
    await tasks.edit_many(mine, [task_id], TaskPatch(title="Second"))
    await trash.remove_task(mine, task_id, None)

    assert [(item["kind"], item["by"]) for item in await told(alice)] == [
        ("deleted", NOBODY),
        ("changed", NOBODY),
        ("created", NOBODY),
    ]


async def test_nobody_sees_what_another_did(alice: Client, bob: Client) -> None:
    hers, _ = await alice.add("Hers"), await bob.add("His")

    assert [item["title"] for item in await told(bob)] == ["His"]
    assert_problem(await bob.get(f"/v1/tasks/{hers['id']}/activity"), 404)


async def test_a_token_that_may_not_read_does_not(alice: Client) -> None:
    task = await alice.add("First")
    script, _ = await made(alice, "tasks:write", "account")

    for path in ("/v1/activity", f"/v1/tasks/{task['id']}/activity"):
        assert_problem(await script.get(path), 403)


# Pages.


@pytest.mark.parametrize("limit", [1, 2, 5, 6])
async def test_cursors_lead_through_all_of_it(alice: Client, bob: Client, limit: int) -> None:
    task, other = await alice.add("0"), await alice.add("Other")
    for n in range(4):
        await edited(alice, task, title=str(n + 1))
        await edited(alice, other, completed=n % 2 == 0)
    for of in (task, None):
        whole, walked, cursor = await told(alice, of), list[Json](), None
        while True:
            found = await page(alice, of, limit=limit, **({"cursor": cursor} if cursor else {}))
            walked += found["items"]
            assert len(found["items"]) <= limit
            cursor = found["next_cursor"]
            if cursor is None:
                break
            await edited(alice, task, title=f"{cursor[-9:]} meanwhile")  # is newer than where the walk is
            for elsewhere in (bob, alice):
                path = "/v1/activity" if of or elsewhere is bob else f"/v1/tasks/{other['id']}/activity"
                assert_problem(await elsewhere.get(path, params={"cursor": cursor}), 422)
        assert [item["version"] for item in walked] == [item["version"] for item in whole]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=", "page=2", "limit=1&limit=1", "task_id=x"]
)
async def test_what_it_cannot_be_asked_is_refused(alice: Client, query: str) -> None:
    task = await alice.add("First")
    for path in ("/v1/activity", f"/v1/tasks/{task['id']}/activity"):
        problem = assert_problem(await alice.get(f"{path}?{query}"), 422)
        assert [fault["loc"] for fault in problem["errors"]] == [["query", query.partition("=")[0]]]


async def test_what_is_no_id_is_422(alice: Client) -> None:
    for wrong in ("x", "batch", "01997f3e5a2b7c319d048b1f6f1c2a55"):
        assert_problem(await alice.get(f"/v1/tasks/{wrong}/activity"), 422)


async def test_it_costs_a_statement_to_read_and_none_more_to_write(alice: Client, statements: Statements) -> None:
    task = await alice.add("Counted")
    path = f"/v1/tasks/{task['id']}"

    for method, address, body in (
        ("GET", "/v1/activity", None),
        ("GET", f"{path}/activity", None),
        ("POST", "/v1/tasks", {"title": "New"}),
        ("POST", "/v1/tasks/batch", {"tasks": [{"title": "New"}, {"title": "Newer"}]}),
        ("PATCH", path, {"title": "Changed"}),
    ):
        statements.clear()
        answer = await alice.call(method, address, **({"json": body} if body is not None else {}))
        assert answer.is_success
        assert len(statements) == 1, (method, address, statements)


async def test_a_tag_that_is_renamed_is_told_of_each_task(alice: Client) -> None:
    task = await alice.add("Figs", tags=["a", "b"])

    await alice.patch("/v1/tags/a", {"name": "c"})

    [changed, _] = (await alice.get(f"/v1/tasks/{task['id']}/activity")).json()["items"]
    assert (changed["kind"], changed["changes"]) == ("changed", {"tags": [["a", "b"], ["c", "b"]]})


async def test_where_a_task_was_put_is_told_of_it_and_of_its_parts(alice: Client) -> None:
    home, task = await alice.project("Home"), await alice.add("Task")
    part = await alice.add("Part", parent_id=task["id"])

    await alice.patch(f"/v1/tasks/{task['id']}", {"project_id": home["id"]})

    for row in (task, part):
        [moved, _] = (await alice.get(f"/v1/tasks/{row['id']}/activity")).json()["items"]
        assert moved["changes"] == {"project_id": [None, home["id"]]}
