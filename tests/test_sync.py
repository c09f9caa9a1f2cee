"""`POST /v1/sync`: each operation once, and every change told."""

from typing import Any, get_args
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlmodel import SQLModel

from backend.db import Transaction
from backend.models import SyncReceipt, table
from backend.rules.webhooks import NOUNS
from backend.schemas.sync import EntityName
from backend.services import pushing
from backend.services.synced import ENTITIES
from backend.state import State
from tend_client import models, overlay
from tests.client import Client, Json, Statements, another_session
from tests.device import Device
from tests.test_input import assert_problem


@pytest.fixture
def phone(alice: Client) -> Device:
    return Device(alice)


@pytest.fixture
def laptop(alice: Client) -> Device:
    return Device(alice)


def kinds(said: Json) -> list[str]:
    """`applied`, or what each was refused with."""
    return [each["error"]["type"] if each["error"] else each["status"] for each in said["results"]]


async def receipts(state: State, user: Client) -> list[int]:
    async with state.database.engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT n FROM sync_receipts WHERE user_id = :user ORDER BY n"), {"user": user.user_id}
        )
        return list(rows.scalars())


def test_webhooks_tell_of_whatever_synchronises() -> None:
    assert {*NOUNS} == {entity.kind.noun for entity in ENTITIES.values()}
    assert all("created_version" in entity.kind.table.c for entity in ENTITIES.values())


def test_whatever_is_numbered_and_leaves_a_tombstone_synchronises() -> None:
    tables = SQLModel.metadata.tables.items()
    assert set(ENTITIES) == {name for name, each in tables if {"version", "deleted_at"} <= set(each.c.keys())}
    assert set(get_args(EntityName)) == set(get_args(models.EntityName)) == set(ENTITIES)


@pytest.mark.parametrize("name", ENTITIES)
def test_the_client_shows_a_new_row_with_every_field_that_the_server_will(name: str) -> None:
    """But for what its creation must say, and what only the server knows."""
    new = ENTITIES[name].new.model_fields
    filled = {field for field, kind in new.items() if not kind.is_required()} - {"id"}
    assert filled <= set(overlay.DEFAULTS.get(name, {}))


@pytest.mark.parametrize("name", ENTITIES)
def test_every_field_that_is_edited_is_in_one_group(name: str) -> None:
    entity = ENTITIES[name]
    grouped = [field for fields in entity.groups.values() for field in fields]

    assert len(grouped) == len(set(grouped))
    assert set(entity.patch.model_fields if entity.patch else ()) <= set(grouped)
    assert bool(grouped) == ("clocks" in entity.kind.table.c)


async def test_a_first_call_tells_everything_and_the_next_one_only_what_is_new(alice: Client, phone: Device) -> None:
    figs = await alice.add("Figs", tags=["home"], priority="high")

    first = await phone.sync()
    assert (first["reset"], first["has_more"], first["last_n"]) == (True, False, 0)
    assert first["changes"] == [
        {"entity": "tasks", "id": figs["id"], "version": figs["version"], "deleted": False, "row": figs}
    ]
    assert (await phone.sync())["changes"] == []

    changed = (await alice.patch(f"/v1/tasks/{figs['id']}", {"title": "Water the figs"})).json()
    second = await phone.sync()
    assert (second["reset"], [each["row"] for each in second["changes"]]) == (False, [changed])


async def test_every_kind_of_row_is_told_as_its_get_answers(alice: Client, phone: Device) -> None:
    project = await alice.project("Balcony")
    task, other = await alice.add("Figs", project_id=project["id"]), await alice.add("Soil")
    comment = (await alice.post(f"/v1/tasks/{task['id']}/comments", {"body": "New leaves"})).json()
    saved = await alice.save("Mine", "figs")
    await alice.call("PUT", f"/v1/tasks/{task['id']}/dependencies/{other['id']}")
    await alice.add("Tagged", tags=["home"])
    await alice.patch("/v1/tags/home", {"color": "#3a7d44"})

    changes = (await phone.sync())["changes"]

    assert [each["version"] for each in changes] == sorted(each["version"] for each in changes)
    rows = {each["entity"]: each["row"] for each in changes if each["row"].get("title") != "Tagged"}
    expected = {"projects": project, "comments": comment, "filters": saved, "tasks": other}
    assert {name: rows[name] for name in expected} == expected
    assert (rows["dependencies"]["task_id"], rows["dependencies"]["depends_on_id"]) == (task["id"], other["id"])
    assert (rows["tags"]["name"], rows["tags"]["color"]) == ("home", "#3a7d44")
    assert len(changes) == 8


async def test_what_a_device_did_is_what_the_rest_routes_show(alice: Client, phone: Device) -> None:
    project, task, other, comment, saved, waits, tag = (str(uuid4()) for _ in range(7))
    said = await phone.sync(
        phone.create("projects", project, name="Balcony", color="#2e7d32"),
        phone.create("tasks", task, title="Figs", project_id=project, due_date="2026-12-24T18:00:00Z"),
        phone.create("tasks", other, title="Soil", parent_id=task),
        phone.create("comments", comment, task_id=task, body="New leaves"),
        phone.create("filters", saved, name="Mine", filter="figs"),
        phone.create("dependencies", waits, task_id=task, depends_on_id=other),
        phone.create("tags", tag, name="home", color="#3a7d44"),
        phone.update("tasks", task, title="Water the figs", tags=["home"]),
        phone.operation("complete", "tasks", other),
        phone.update("comments", comment, body="Newer leaves"),
        phone.update("filters", saved, sort="due_date"),
        phone.update("projects", project, favorite=True),
        phone.update("tags", tag, color="#000000"),
    )

    assert kinds(said) == ["applied"] * 13
    assert (said["changes_applied"], said["last_n"], said["conflicts"]) == (13, 13, [])
    shown = (await alice.get(f"/v1/tasks/{task}")).json()
    assert (shown["title"], shown["tags"], shown["project_id"]) == ("Water the figs", ["home"], project)
    part = (await alice.get(f"/v1/tasks/{other}")).json()
    assert (part["completed"], part["parent_id"], part["project_id"]) == (True, task, project)
    assert (await alice.get(f"/v1/tasks/{task}/comments/{comment}")).json()["body"] == "Newer leaves"
    assert (await alice.get(f"/v1/filters/{saved}")).json()["sort"] == "due_date"
    assert (await alice.get(f"/v1/projects/{project}")).json()["favorite"] is True
    assert (await alice.get(f"/v1/tasks/{task}/dependencies")).json()["items"][0]["id"] == other
    assert (await alice.get("/v1/tags")).json()["items"][0] == {"tag": "home", "count": 1, "color": "#000000"}
    assert phone.row("tasks", task) == shown
    assert len(phone.rows) == 7


async def test_a_deletion_is_told_with_all_that_it_took_along(alice: Client, phone: Device, laptop: Device) -> None:
    project, task, comment = (str(uuid4()) for _ in range(3))
    await phone.sync(
        phone.create("projects", project, name="Balcony"),
        phone.create("tasks", task, title="Figs", project_id=project),
        phone.create("comments", comment, task_id=task, body="New leaves"),
    )
    await laptop.sync()
    assert len(laptop.rows) == 3

    said = await phone.sync(phone.operation("delete", "projects", project))

    assert {(each["entity"], each["deleted"], each["row"]) for each in said["changes"]} == {
        (entity, True, None) for entity in ("projects", "tasks", "comments")
    }
    await laptop.sync()
    assert laptop.rows == phone.rows == {}
    await alice.post(f"/v1/trash/projects/{project}/restore")
    await laptop.sync()
    assert len(laptop.rows) == 3


async def test_a_project_can_leave_its_tasks_behind(phone: Device) -> None:
    project, task = str(uuid4()), str(uuid4())
    await phone.sync(
        phone.create("projects", project, name="Balcony"),
        phone.create("tasks", task, title="Figs", project_id=project),
        phone.operation("delete", "projects", project, set={"tasks": "inbox"}),
    )
    assert phone.row("tasks", task)["project_id"] is None


async def test_sent_again_the_same_is_answered_and_nothing_is_done_twice(alice: Client, phone: Device) -> None:
    task = str(uuid4())
    operations = [phone.create("tasks", task, title="Figs"), phone.create("tasks", task, title="Taken")]
    first = (await phone.send(*operations)).json()

    again = (await phone.send(*operations)).json()

    assert kinds(first) == ["applied", "conflict"]
    same = ("results", "conflicts", "changes_applied", "last_n")
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    assert (await alice.page())["total"] == 1
    assert again["changes"] == first["changes"]


async def test_what_is_new_among_what_was_sent_before_is_done(alice: Client, phone: Device) -> None:
    first, second = phone.create("tasks", title="One"), phone.create("tasks", title="Two")
    await phone.send(first)

    said = await phone.sync(first, second)

    assert (kinds(said), said["last_n"]) == (["applied", "applied"], 2)
    assert sorted(await alice.titles()) == ["One", "Two"]


@pytest.mark.parametrize("other", [{"title": "Other"}, {}])
async def test_another_operation_under_a_number_is_a_fork(alice: Client, phone: Device, other: Json) -> None:
    operation = phone.create("tasks", title="One")
    await phone.sync(operation)

    answer = await phone.send({**operation, "set": other}, ack=0)

    problem = assert_problem(answer, 409)
    assert (problem["type"], problem["last_n"]) == ("urn:tend:problem:client-forked", 1)
    assert problem["errors"][0]["type"] == "client_forked"
    assert await alice.titles() == ["One"]


async def test_a_receipt_that_was_acknowledged_is_gone_and_its_number_a_fork(
    alice: Client, phone: Device, state: State
) -> None:
    operations = [phone.create("tasks", title=f"Task {n}") for n in range(3)]
    await phone.sync(*operations)
    assert await receipts(state, alice) == [1, 2, 3]

    await phone.sync(phone.create("tasks", title="Four"), ack=2)

    assert await receipts(state, alice) == [3, 4]
    assert assert_problem(await phone.send(*operations[1:]), 409)["type"] == "urn:tend:problem:client-forked"


async def test_a_gap_in_the_numbers_is_refused_and_nothing_done(alice: Client, phone: Device) -> None:
    phone.n = 1

    problem = assert_problem(await phone.send(phone.create("tasks", title="Two")), 409)

    assert (problem["type"], problem["last_n"]) == ("urn:tend:problem:mutation-gap", 0)
    assert await alice.titles() == []


@pytest.mark.parametrize("push", [True, False])
async def test_who_has_heard_more_than_the_server_knows_is_ahead(phone: Device, push: bool) -> None:
    operations = [phone.create("tasks", title="One")] if push else []

    problem = assert_problem(await phone.send(*operations, ack=7), 409)

    assert (problem["type"], problem["last_n"]) == ("urn:tend:problem:client-ahead", 0)


async def test_numbers_out_of_order_are_refused(phone: Device) -> None:
    one, two = phone.create("tasks", title="One"), phone.create("tasks", title="Two")
    assert_problem(await phone.send(two, one), 422)
    assert_problem(await phone.send(one, {**two, "n": 3}), 422)


async def test_what_cannot_be_done_is_rejected_for_good_and_stops_nothing(alice: Client, phone: Device) -> None:
    task = str(uuid4())
    said = await phone.sync(
        phone.create("tasks", task, title="Figs"),
        phone.create("tasks", title=""),
        phone.create("tasks", title="x", **{"col\0our": "red"}),
        phone.create("tasks", title="x", id=str(uuid4())),
        phone.create("tasks", title="x", parent_id=str(uuid4())),
        phone.update("tasks", str(uuid4()), title="Nobody's"),
        phone.update("tasks", task, title=None),
        phone.update("tasks", task, parent_id=task),
        phone.create("comments", task_id=str(uuid4()), body="x"),
        phone.create("projects", name="One"),
        phone.create("projects", name="One"),
        phone.create("dependencies", task_id=task, depends_on_id=task),
        phone.update("dependencies", str(uuid4()), task_id=task),
        phone.operation("complete", "projects", str(uuid4())),
        phone.create("filters", name="x", filter="nonsense:("),
        phone.operation("delete", "tasks", str(uuid4())),
        phone.create("tasks", title="Last"),
    )

    assert kinds(said) == [
        *("applied", "invalid", "invalid", "invalid", "invalid", "gone", "invalid", "conflict", "gone", "applied"),
        *("conflict", "conflict", "invalid", "invalid", "invalid", "superseded", "applied"),
    ]
    assert said["results"][1]["error"]["errors"] == [
        {"loc": ["set", "title"], "msg": "expected 1 to 200 characters, got 0", "type": "value_error"}
    ]
    assert said["results"][10]["error"]["detail"] == "A project with this name exists already."
    assert sorted(await alice.titles()) == ["Figs", "Last"]
    assert (await phone.sync())["last_n"] == 17


@pytest.mark.parametrize("levels", [5, 50, 260, 600])
@pytest.mark.parametrize("op", ["create", "update", "complete", "delete"])
async def test_whatever_is_nested_in_it_stands_in_nobody_s_way(phone: Device, op: str, levels: int) -> None:
    deep: Any = []
    for _ in range(levels):
        deep = [deep]

    said = await phone.sync(
        phone.operation(op, "tasks", str(uuid4()), set={"title": deep}), phone.create("tasks", title="Sound")
    )

    assert kinds(said) == ["invalid", "applied"]


async def test_what_is_wrong_is_named_where_it_stands(phone: Device) -> None:
    said = await phone.sync(phone.create("tasks", title="x", parent_id=str(uuid4())))
    assert [each["loc"] for each in said["results"][0]["error"]["errors"]] == [["set", "parent_id"]]


async def test_an_edit_of_what_was_deleted_is_gone_and_a_second_deletion_nothing_new(
    alice: Client, phone: Device
) -> None:
    task = await alice.add("Figs")
    await phone.sync()
    await alice.delete(f"/v1/tasks/{task['id']}")

    said = await phone.sync(
        phone.update("tasks", task["id"], title="x"), phone.operation("delete", "tasks", task["id"])
    )

    assert kinds(said) == ["gone", "superseded"]
    assert said["changes_applied"] == 0


async def test_a_hundred_operations_are_two_transactions_and_one_too_many_is_refused(
    alice: Client, phone: Device, statements: Statements
) -> None:
    operations = [phone.create("tasks", title=f"Task {n}") for n in range(101)]
    assert_problem(await phone.send(*operations), 422)
    statements.clear()

    said = await phone.sync(*operations[:100])

    assert kinds(said) == ["applied"] * 100
    assert (await alice.page())["total"] == 100
    assert sum("FOR NO KEY UPDATE" in each for each in statements) == 2
    assert len(statements) == 2 * 3 + 100 + 1 + 1  # lock, what is known, receipts; each; the pull; the listing's page


@pytest.fixture
def savepoints(monkeypatch: pytest.MonkeyPatch) -> list[Transaction]:
    """One for each that was set."""
    made: list[Transaction] = []
    set_one = Transaction.savepoint

    def counted(self: Transaction) -> Any:
        made.append(self)
        return set_one(self)

    monkeypatch.setattr(Transaction, "savepoint", counted)
    return made


async def test_there_are_savepoints_only_where_something_was_refused(
    alice: Client, phone: Device, savepoints: list[Transaction]
) -> None:
    await phone.sync(*(phone.create("tasks", title=f"Task {n}") for n in range(3)))
    assert not savepoints

    said = await phone.sync(
        phone.create("projects", name="One"),
        phone.create("projects", name="One"),
        phone.create("projects", name="Two"),
    )

    assert kinds(said) == ["applied", "conflict", "applied"]
    assert len(savepoints) == 3
    assert [each["name"] for each in (await alice.get("/v1/projects")).json()["items"]] == ["One", "Two"]


async def test_what_takes_long_is_kept_bit_by_bit(
    alice: Client, phone: Device, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "LONGEST_SECONDS", -1.0)

    said = await phone.sync(*(phone.create("tasks", title=f"Task {n}") for n in range(3)), phone.create("tasks"))

    assert kinds(said) == ["applied", "applied", "applied", "invalid"]
    assert said["last_n"] == 4
    assert sum("FOR NO KEY UPDATE" in each for each in statements) == 5  # the refused one twice
    assert (await alice.page())["total"] == 3


async def test_a_pull_is_one_statement_and_its_pages_neither_repeat_nor_skip(
    alice: Client, phone: Device, statements: Statements
) -> None:
    tasks = await alice.add_many([{"title": f"Task {n}"} for n in range(25)])
    await alice.project("Balcony")
    statements.clear()

    changes = await phone.catch_up(limit=10)

    assert len(statements) == 3
    assert [each["version"] for each in changes] == [*(task["version"] for task in tasks), tasks[-1]["version"] + 1]


async def test_what_changes_between_two_pages_comes_with_its_last_state(alice: Client, phone: Device) -> None:
    tasks = await alice.add_many([{"title": f"Task {n}"} for n in range(6)])
    first = await phone.sync(limit=3)
    assert first["has_more"]
    await alice.patch(f"/v1/tasks/{tasks[0]['id']}", {"title": "Changed"})
    await alice.delete(f"/v1/tasks/{tasks[1]['id']}")
    await alice.delete(f"/v1/tasks/{tasks[5]['id']}")

    await phone.catch_up(limit=3)

    titles = sorted(row["title"] for row in phone.rows.values())
    assert titles == ["Changed", "Task 2", "Task 3", "Task 4"]


async def test_tombstones_of_before_the_first_call_are_not_told(alice: Client, phone: Device) -> None:
    task = await alice.add("Figs")
    await alice.delete(f"/v1/tasks/{task['id']}")

    assert (await phone.sync())["changes"] == []


async def test_another_epoch_or_a_position_past_the_counter_begins_again(
    alice: Client, phone: Device, state: State
) -> None:
    await alice.add_many([{"title": "One"}, {"title": "Two"}])
    await phone.sync()
    for change in ("epoch = gen_random_uuid()", "seq = seq - 1"):
        async with state.database.engine.connect() as connection:
            await connection.execute(text(f"UPDATE sync_state SET {change}"))
        said = await phone.sync()
        assert (said["reset"], len(said["changes"])) == (True, 2), change
    assert (await phone.sync())["reset"] is False


async def test_a_reset_loses_no_result_of_what_was_sent_along(alice: Client, phone: Device, state: State) -> None:
    await phone.sync()
    async with state.database.engine.connect() as connection:
        await connection.execute(text("UPDATE sync_state SET epoch = gen_random_uuid()"))

    said = await phone.sync(phone.create("tasks", title="Figs"))

    assert (said["reset"], kinds(said), len(phone.rows)) == (True, ["applied"], 1)


async def test_a_cursor_is_its_user_s_alone(alice: Client, bob: Client, phone: Device) -> None:
    await phone.sync()
    for cursor in (phone.cursor, "x", "AAAA"):
        assert_problem(await Device(bob).send(cursor=cursor), 422)


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "phone"},
        {"ack": -1},
        {"ack": 1.5},
        {"limit": 0},
        {"limit": 501},
        {"unknown": 1},
        {"operations": [{"n": 1}]},
        {"operations": [{"n": 0, "op": "create", "entity": "tasks", "id": str(uuid4()), "at": 1}]},
        {"operations": [{"n": 1, "op": "erase", "entity": "tasks", "id": str(uuid4()), "at": 1}]},
        {"operations": [{"n": 1, "op": "create", "entity": "users", "id": str(uuid4()), "at": 1}]},
        {"operations": [{"n": 1, "op": "create", "entity": "tasks", "id": str(uuid4()), "at": 2**53}]},
        {"operations": [{"n": 1, "op": "create", "entity": "tasks", "id": str(uuid4()), "at": 1, "set": []}]},
    ],
)
async def test_what_cannot_be_numbered_is_refused_as_a_whole(phone: Device, wrong: Json) -> None:
    assert_problem(await phone.send(**wrong), 422)


async def test_nobody_s_rows_are_touched_or_told_but_one_s_own(alice: Client, bob: Client) -> None:
    task = await alice.add("Secret")
    his = Device(bob)

    said = await his.sync(
        his.update("tasks", task["id"], title="Taken over"),
        his.operation("delete", "tasks", task["id"]),
        his.create("comments", task_id=task["id"], body="x"),
        his.create("tasks", parent_id=task["id"], title="x"),
    )

    assert kinds(said) == ["gone", "superseded", "gone", "invalid"]
    assert said["changes"] == []
    assert (await alice.get(f"/v1/tasks/{task['id']}")).json() == task
    # An id of hers is free for him, as any: he does not learn that she has it.
    assert kinds(await his.sync(his.create("tasks", task["id"], title="His"))) == ["applied"]


async def test_two_users_devices_may_have_the_same_id(alice: Client, bob: Client) -> None:
    hers, his = Device(alice), Device(bob)
    his.client_id = hers.client_id

    for device in (hers, his):
        assert (await device.sync(device.create("tasks", title="Figs")))["last_n"] == 1


async def test_a_token_that_only_reads_pulls_and_does_not_push(alice: Client) -> None:
    await alice.add("Figs")
    made = await alice.post("/v1/me/tokens", {"name": "Reader", "scopes": ["tasks:read"]})
    reader = Device(Client(alice.http, alice.user_id, made.json()["token"], alice.email))

    assert len((await reader.sync())["changes"]) == 1
    answer = await reader.send(reader.create("tasks", title="x"))
    assert_problem(answer, 403)
    assert "tasks:write" in answer.headers["www-authenticate"]


async def test_the_devices_end_with_the_account(alice: Client, phone: Device, state: State) -> None:
    await phone.sync(phone.create("tasks", title="Figs"))
    async with state.database.engine.connect() as connection:
        await connection.execute(text("DELETE FROM users WHERE id = :id"), {"id": alice.user_id})
        left = await connection.execute(text(f"SELECT count(*) FROM {table(SyncReceipt).name}"))
    assert left.scalar() == 0
    assert_problem(await phone.send(phone.create("tasks", title="x")), 401)


async def test_the_activity_tells_of_what_a_device_did(alice: Client, phone: Device, state: State) -> None:
    other = await another_session(alice.http, state, alice.user_id, alice.email)
    task = str(uuid4())
    device = Device(other)
    await device.sync(device.create("tasks", task, title="Figs"), device.update("tasks", task, title="Water the figs"))

    told: Any = (await alice.get(f"/v1/tasks/{task}/activity")).json()["items"]
    assert [(each["kind"], each["changes"]) for each in told] == [
        ("changed", {"title": ["Figs", "Water the figs"]}),
        ("created", {}),
    ]
