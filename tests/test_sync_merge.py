"""Two devices change the same row without knowing of each other: what holds, and what is told of the rest."""

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from backend.rules.merge import AHEAD, Register, Writer, clamped, verdict
from backend.state import State
from tests.client import Client, Json
from tests.device import Device

EARLY, LATE = 1_000, 2_000


@pytest.fixture
async def task(alice: Client) -> Json:
    return await alice.add("Figs", priority="low")


@pytest.fixture
async def devices(alice: Client, task: Json) -> tuple[Device, Device]:
    """Both have seen the task."""
    both = Device(alice), Device(alice)
    for device in both:
        await device.sync()
    return both


async def clocks(state: State, task: Json) -> Any:
    async with state.database.engine.connect() as connection:
        found = await connection.execute(text("SELECT clocks FROM tasks WHERE id = :id"), {"id": task["id"]})
        return found.scalar_one()


async def test_different_fields_are_merged(devices: tuple[Device, Device], task: Json) -> None:
    phone, laptop = devices
    said = [
        await phone.sync(phone.update("tasks", task["id"], title="Phone's", at=EARLY)),
        await laptop.sync(
            laptop.update("tasks", task["id"], priority="high", due_date="2026-12-24T18:00:00Z", at=LATE)
        ),
    ]
    await phone.sync()

    assert [each["conflicts"] for each in said] == [[], []]
    row = phone.row("tasks", task["id"])
    assert (row["title"], row["priority"], row["due_date"]) == ("Phone's", "high", "2026-12-24T18:00:00.000000Z")
    assert laptop.rows == phone.rows


@pytest.mark.parametrize("late_first", [True, False])
async def test_of_two_changes_of_a_field_the_later_one_holds_whichever_came_first(
    devices: tuple[Device, Device], task: Json, late_first: bool
) -> None:
    phone, laptop = devices
    early = phone.update("tasks", task["id"], title="Early", at=EARLY)
    late = laptop.update("tasks", task["id"], title="Late", at=LATE)
    sent = [(phone, early), (laptop, late)]

    answers = [await device.sync(operation) for device, operation in (sent[::-1] if late_first else sent)]

    about = {"n": 1, "entity": "tasks", "id": task["id"], "group": "title", "lost": {"title": "Early"}}
    winner = "server" if late_first else "operation"
    assert [each["conflicts"] for each in answers] == [[], [{**about, "winner": winner}]]
    assert answers[1]["results"][0]["status"] == ("superseded" if late_first else "applied")
    for device in devices:
        await device.sync()
        assert device.row("tasks", task["id"])["title"] == "Late"


async def test_a_change_may_hold_in_part(devices: tuple[Device, Device], task: Json) -> None:
    phone, laptop = devices
    await laptop.sync(laptop.update("tasks", task["id"], title="Late", at=LATE))

    said = await phone.sync(phone.update("tasks", task["id"], title="Early", description="Of the phone", at=EARLY))

    assert (said["results"][0]["status"], said["changes_applied"]) == ("applied", 1)
    assert [(each["group"], each["lost"]) for each in said["conflicts"]] == [("title", {"title": "Early"})]
    row = phone.row("tasks", task["id"])
    assert (row["title"], row["description"]) == ("Late", "Of the phone")


async def test_what_came_after_what_it_saw_holds_whatever_the_clocks_say(
    devices: tuple[Device, Device], task: Json
) -> None:
    phone, laptop = devices
    await laptop.sync(laptop.update("tasks", task["id"], title="Laptop's", at=LATE))
    await phone.sync()

    said = await phone.sync(phone.update("tasks", task["id"], title="Phone's", at=EARLY))

    assert said["conflicts"] == []
    assert phone.row("tasks", task["id"])["title"] == "Phone's"
    # And its clock has moved past the one it wrote over: a third one that saw neither loses to both.
    third = Device(phone.user)
    lost = await third.sync(third.update("tasks", task["id"], title="Third", base=task["version"], at=LATE))
    assert lost["results"][0]["status"] == "superseded"


async def test_a_device_s_own_changes_follow_one_another_whatever_it_saw(
    devices: tuple[Device, Device], task: Json
) -> None:
    phone, _ = devices
    operations = [phone.update("tasks", task["id"], title=f"Title {n}", at=LATE - n) for n in range(3)]

    said = await phone.sync(*operations)

    assert said["conflicts"] == []
    assert phone.row("tasks", task["id"])["title"] == "Title 2"


async def test_a_change_over_rest_is_one_that_was_not_seen(
    alice: Client, devices: tuple[Device, Device], task: Json
) -> None:
    phone, laptop = devices
    await alice.patch(f"/v1/tasks/{task['id']}", {"title": "Over REST"})

    # REST stamps the server's time, which is later than these small clocks, and earlier than a large one.
    said = await phone.sync(phone.update("tasks", task["id"], title="Phone's", at=LATE))
    assert [each["winner"] for each in said["conflicts"]] == ["server"]
    said = await laptop.sync(laptop.update("tasks", task["id"], title="Laptop's", at=2**52))
    assert [(each["winner"], each["lost"]) for each in said["conflicts"]] == [("operation", {"title": "Over REST"})]


async def test_every_way_of_changing_a_field_is_seen(
    alice: Client, devices: tuple[Device, Device], task: Json, state: State
) -> None:
    """Batches, tags that are renamed, moves by hand: each stamps the groups that it changes, and no other."""
    other, project = await alice.add("Soil"), await alice.project("Balcony")
    await alice.patch("/v1/tasks/batch", {"ids": [task["id"]], "set": {"completed": True, "tags": ["home"]}})
    assert set(await clocks(state, task)) == {"completed", "tags"}
    before = (await clocks(state, task))["tags"]
    await alice.patch("/v1/tags/home", {"name": "house"})
    assert (await clocks(state, task))["tags"][:2] > before[:2]
    await alice.post(f"/v1/tasks/{task['id']}/move", {"after": other["id"]})
    await alice.patch(f"/v1/tasks/{task['id']}", {"project_id": project["id"]})
    assert set(await clocks(state, task)) == {"completed", "tags", "position", "place"}
    assert all(client is None for _, _, client in (await clocks(state, task)).values())


async def test_the_same_on_both_sides_is_no_conflict(devices: tuple[Device, Device], task: Json) -> None:
    for device in devices:
        said = await device.sync(
            device.update("tasks", task["id"], title="Same", due_date="2026-12-24T19:00:00+01:00", at=EARLY)
        )
        assert said["conflicts"] == []


async def test_a_clock_that_runs_ahead_is_cut_off(devices: tuple[Device, Device], task: Json, state: State) -> None:
    phone, _ = devices
    await phone.sync(phone.update("tasks", task["id"], title="From the year 2100", at=4_102_444_800_000_000))

    clock, version, client = (await clocks(state, task))["title"]
    async with state.database.engine.connect() as connection:
        now = (await connection.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000000"))).scalar_one()
    assert now < clock <= now + AHEAD
    assert (version, client) == (phone.row("tasks", task["id"])["version"], phone.client_id)


async def test_a_deletion_wins_over_an_edit_that_it_did_not_see_and_the_trash_has_both(
    alice: Client, devices: tuple[Device, Device], task: Json
) -> None:
    phone, laptop = devices
    await laptop.sync(laptop.update("tasks", task["id"], title="Edited", at=LATE))

    await phone.sync(phone.operation("delete", "tasks", task["id"], base=task["version"]))

    await laptop.sync()
    assert laptop.rows == phone.rows == {}
    restored = (await alice.post(f"/v1/trash/tasks/{task['id']}/restore")).json()
    assert restored["title"] == "Edited"


async def test_a_deletion_of_before_does_not_undo_a_restore(
    alice: Client, devices: tuple[Device, Device], task: Json
) -> None:
    phone, _ = devices
    await alice.delete(f"/v1/tasks/{task['id']}")
    await alice.post(f"/v1/trash/tasks/{task['id']}/restore")

    late = await phone.sync(phone.operation("delete", "tasks", task["id"], base=task["version"]))
    assert [each["status"] for each in late["results"]] == ["superseded"]
    version = phone.row("tasks", task["id"])["version"]
    seen = await phone.sync(phone.operation("delete", "tasks", task["id"], base=version))
    assert [each["status"] for each in seen["results"]] == ["applied"]


async def test_a_project_that_takes_others_along_does_not_change_where_they_are(
    alice: Client, devices: tuple[Device, Device]
) -> None:
    phone, laptop = devices
    outer, inner, there = [await alice.project(name) for name in ("Outer", "Inner", "There")]
    inner = (await alice.patch(f"/v1/projects/{inner['id']}", {"parent_id": outer["id"]})).json()
    for device in devices:
        await device.sync()
    await phone.sync(phone.update("projects", outer["id"], parent_id=there["id"], at=LATE))

    said = await laptop.sync(laptop.update("projects", inner["id"], parent_id=None, at=EARLY))

    assert (said["conflicts"], said["results"][0]["status"]) == ([], "applied")
    assert laptop.row("projects", inner["id"])["parent_id"] is None


async def test_two_devices_complete_a_task_once(alice: Client, devices: tuple[Device, Device], task: Json) -> None:
    phone, laptop = devices
    first = await phone.sync(phone.operation("complete", "tasks", task["id"], base=task["version"]))
    second = await laptop.sync(laptop.operation("complete", "tasks", task["id"], base=task["version"]))

    assert first["conflicts"] == second["conflicts"] == []
    before = phone.row("tasks", task["id"])["completed_at"]
    assert laptop.row("tasks", task["id"])["completed_at"] == before


async def test_a_part_and_its_project_move_as_one(alice: Client, devices: tuple[Device, Device], task: Json) -> None:
    """One device files the task, the other makes it a part: never a part in another project than its parent's."""
    phone, laptop = devices
    project, parent = await alice.project("Balcony"), await alice.add("Parent")
    await phone.sync(phone.update("tasks", task["id"], project_id=project["id"], at=LATE))

    said = await laptop.sync(laptop.update("tasks", task["id"], parent_id=parent["id"], at=EARLY))

    assert [each["lost"] for each in said["conflicts"]] == [{"parent_id": parent["id"]}]
    row = laptop.row("tasks", task["id"])
    assert (row["project_id"], row["parent_id"]) == (project["id"], None)


async def test_an_epoch_that_is_over_says_nothing_of_what_was_seen(
    alice: Client, devices: tuple[Device, Device], task: Json, state: State
) -> None:
    """After a restore, a version that the device had seen may stand for another change by now."""
    phone, laptop = devices
    await laptop.sync(laptop.update("tasks", task["id"], title="Of the new history", at=LATE))
    async with state.database.engine.connect() as connection:
        await connection.execute(text("UPDATE sync_state SET epoch = gen_random_uuid()"))

    said = await phone.sync(phone.update("tasks", task["id"], title="Of the old one", base=10_000, at=EARLY))

    assert [each["winner"] for each in said["conflicts"]] == ["server"]
    assert phone.row("tasks", task["id"])["title"] == "Of the new history"


async def test_operations_of_one_request_see_one_another(alice: Client, devices: tuple[Device, Device]) -> None:
    """A parent moved takes its part along; what follows is decided by where that is by then."""
    phone, _ = devices
    parent, part, project = (str(uuid4()) for _ in range(3))
    said = await phone.sync(
        phone.create("tasks", parent, title="Parent"),
        phone.create("tasks", part, title="Part", parent_id=parent),
        phone.create("projects", project, name="Balcony"),
        phone.update("tasks", parent, project_id=project),
        phone.update("tasks", part, project_id=None),
        phone.update("tasks", part, project_id=None, parent_id=None),
        phone.operation("delete", "tasks", parent),
        phone.update("tasks", part, title="Alone"),
    )
    assert [each["status"] for each in said["results"]] == [*["applied"] * 4, "rejected", *["applied"] * 3]
    assert phone.row("tasks", part)["title"] == "Alone"
    assert ("tasks", parent) not in phone.rows


REGISTERS = st.builds(Register, st.integers(0, 5), st.integers(0, 5), st.sampled_from([None, "a", "b", "c"]))
WRITERS = st.builds(Writer, st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 5))


@given(REGISTERS, WRITERS)
def test_of_two_that_did_not_see_each_other_exactly_one_wins(register: Register, writer: Writer) -> None:
    held = verdict(register, writer)
    if held == "after":
        assert register.version <= writer.base or register.client == writer.client
        return
    turned = verdict(
        Register(writer.clock, writer.base + 1, writer.client),
        Writer(register.client or "", register.clock, writer.base),
    )
    assert {held, turned} == {"won", "lost"}


def test_a_group_that_was_never_changed_is_as_whoever_changes_it_has_seen_it() -> None:
    assert verdict(None, Writer("a", 0, 0)) == "after"


def test_a_clock_within_a_minute_is_believed() -> None:
    now = 1_000_000_000
    assert [clamped(now + ahead, now) - now for ahead in (-5, 0, AHEAD, AHEAD + 1)] == [-5, 0, AHEAD, AHEAD]
