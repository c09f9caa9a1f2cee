"""Stores that work without a connection, and are brought together again."""

import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from backend.state import State
from tend_client import AsyncOffline, AsyncTend, NotThere, Store, Tokens, Unreachable
from tests.client import Client, Json
from tests.test_client import Wire, at_once

__all__ = ["at_once"]

Open = Callable[[str], AsyncOffline]


@pytest.fixture
def wire(app: FastAPI, state: State) -> Wire:
    return Wire(app)


@pytest.fixture
async def tend(wire: Wire, alice: Client) -> AsyncIterator[AsyncTend]:
    async with AsyncTend("http://tend", Tokens(alice.token), transport=wire, tries=1) as tend:
        yield tend


@pytest.fixture
def device(tend: AsyncTend, tmp_path: Path) -> Open:
    return lambda name: AsyncOffline(tend, Store(tmp_path / f"{name}.sqlite"))


@pytest.fixture
def phone(device: Open) -> AsyncOffline:
    return device("phone")


@pytest.fixture
def laptop(device: Open) -> AsyncOffline:
    return device("laptop")


def state_of(store: Store) -> Json:
    """All that the application sees."""
    kinds: Any = ("tasks", "projects", "comments", "filters", "dependencies", "tags")
    return {kind: {row["id"]: row for row in store.all(kind)} for kind in kinds}


def rejected(store: Store) -> list[str]:
    return [each["error"]["type"] for each in store.notices() if each["kind"] == "rejected"]


async def test_what_is_done_offline_is_there_at_once_and_on_the_server_after(
    phone: AsyncOffline, alice: Client
) -> None:
    store = phone.store
    task = store.create("tasks", title="Figs", tags=["home"])
    store.update("tasks", task, title="Water the figs")
    store.complete(task)
    gone = store.create("tasks", title="Gone")
    store.delete("tasks", gone)

    seen = store.get("tasks", task)
    assert (seen["title"], seen["completed"], seen["priority"], seen["version"]) == (
        "Water the figs",
        True,
        "medium",
        0,
    )
    assert [row["id"] for row in store.all("tasks")] == [task]
    with pytest.raises(NotThere):
        store.get("tasks", gone)
    assert store.pending() == 5

    report = await phone.sync()

    assert (report.sent, store.pending(), store.notices()) == (5, 0, [])
    assert store.get("tasks", task) == (await alice.get(f"/v1/tasks/{task}")).json()


async def test_nothing_that_no_request_could_carry_comes_into_the_queue(phone: AsyncOffline) -> None:
    wrong: list[Callable[[], Any]] = [
        lambda: phone.store.create("nonsense", title="x"),  # type: ignore[arg-type]
        lambda: phone.store.create("tasks", title="x", id="1"),
        lambda: phone.store.create("tasks", title="x" * 1_000_000),
        lambda: phone.store.create("tasks", title=float("nan")),
        lambda: phone.store.create("tasks", title="\ud800"),
    ]
    for each in wrong:
        with pytest.raises(ValueError):  # noqa: PT011
            each()
    with pytest.raises(NotThere):
        phone.store.update("tasks", str(uuid4()), title="x")
    assert phone.store.pending() == 0


async def test_what_the_server_does_not_take_is_undone_and_told(phone: AsyncOffline) -> None:
    task = phone.store.create("tasks", title="")
    phone.store.update("tasks", task, title="Later")
    phone.store.create("tasks", title="Sound")

    await phone.sync()

    assert [row["title"] for row in phone.store.all("tasks")] == ["Sound"]
    assert rejected(phone.store) == ["invalid", "gone"]
    first = phone.store.notices()[0]
    assert first["operation"]["set"] == {"title": ""}
    phone.store.dismiss(first["notice_id"])
    assert rejected(phone.store) == ["gone"]


PHONE_FIRST, LAPTOP_FIRST = ("phone", "laptop"), ("laptop", "phone")


@pytest.mark.parametrize("order", [PHONE_FIRST, LAPTOP_FIRST])
async def test_two_that_were_away_come_to_the_same_state_in_either_order(
    device: Open, alice: Client, order: tuple[str, str]
) -> None:
    """The same and different fields, a deletion, a move, a completion, on both."""
    phone, laptop = device("phone"), device("laptop")
    balcony, kitchen = await alice.project("Balcony"), await alice.project("Kitchen")
    same, different, deleted, moved, done, both = (
        task["id"] for task in await alice.add_many([{"title": f"Task {n}"} for n in range(6)])
    )
    for each in (phone, laptop):
        await each.sync()
    phone.store.update("tasks", same, title="Phone's")
    phone.store.update("tasks", different, description="Phone's")
    phone.store.delete("tasks", deleted)
    phone.store.update("tasks", moved, project_id=balcony["id"])
    phone.store.complete(done)
    phone.store.complete(both)
    laptop.store.update("tasks", same, title="Laptop's")
    laptop.store.update("tasks", different, priority="high")
    laptop.store.update("tasks", deleted, title="Edited")
    laptop.store.update("tasks", moved, project_id=kitchen["id"])
    laptop.store.complete(both)
    laptop.store.update("tasks", done, title="Done, and renamed")

    devices = {"phone": phone, "laptop": laptop}
    for name in (*order, *order):
        await devices[name].sync()

    assert state_of(phone.store) == state_of(laptop.store)
    tasks = state_of(phone.store)["tasks"]
    assert deleted not in tasks
    assert tasks[same]["title"] == "Laptop's"  # its clock is the later one
    assert (tasks[different]["description"], tasks[different]["priority"]) == ("Phone's", "high")
    assert tasks[moved]["project_id"] == kitchen["id"]
    assert (tasks[done]["title"], tasks[done]["completed"]) == ("Done, and renamed", True)
    told = {name: [each for each in devices[name].store.notices() if each["kind"] == "conflict"] for name in order}
    later = told[order[1]]
    assert told[order[0]] == []
    assert [(each["group"], each["winner"]) for each in later] == [
        ("title", "operation" if order == PHONE_FIRST else "server"),
        ("place", "operation" if order == PHONE_FIRST else "server"),
    ]
    assert later[0]["lost"] == {"title": "Phone's"}
    assert rejected(laptop.store) == (["gone"] if order == PHONE_FIRST else [])
    assert (await alice.get(f"/v1/tasks/{same}")).json() == tasks[same]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_three_come_to_the_same_state_whatever_their_order(
    device: Open, alice: Client, order: tuple[int, ...]
) -> None:
    devices = [device(str(n)) for n in range(3)]
    task = await alice.add("Figs")
    for each in devices:
        await each.sync()
    for n, each in enumerate(devices):
        each.store.update("tasks", task["id"], title=f"Device {n}", priority=["low", "medium", "high"][n])

    for n in (*order, *order):
        await devices[n].sync()

    assert {each.store.get("tasks", task["id"])["title"] for each in devices} == {"Device 2"}
    assert {each.store.get("tasks", task["id"])["priority"] for each in devices} == {"high"}


async def test_an_answer_that_was_lost_is_asked_for_again_and_nothing_is_done_twice(
    phone: AsyncOffline, wire: Wire, alice: Client
) -> None:
    task = phone.store.create("tasks", title="Figs")
    phone.store.create("comments", task_id=task, body="New leaves")
    for trouble in ("unsent", "unheard", "unheard"):
        wire.trouble = iter([trouble])
        with pytest.raises(Unreachable):
            await phone.sync()
        assert phone.store.pending() == 2
    phone.store.update("tasks", task, title="Water the figs")

    report = await phone.sync()

    assert (report.sent, phone.store.pending(), phone.store.notices()) == (3, 0, [])
    assert [item["kind"] for item in (await alice.get("/v1/activity")).json()["items"]] == ["changed", "created"]
    assert len((await alice.get(f"/v1/tasks/{task}/comments")).json()["items"]) == 1


async def test_a_store_that_was_copied_takes_another_name_and_loses_nothing(
    phone: AsyncOffline, tend: AsyncTend, tmp_path: Path, alice: Client
) -> None:
    shared = phone.store.create("tasks", title="Before the copy")
    await phone.sync()
    phone.store.update("tasks", shared, title="Waiting when it was copied")
    copy = tmp_path / "copy.sqlite"
    phone.store._db.execute("VACUUM INTO ?", (str(copy),))
    other = AsyncOffline(tend, Store(copy))
    phone.store.create("tasks", title="Of the phone")
    other.store.create("tasks", title="Of the copy")

    reports = [await phone.sync(), await other.sync(), await phone.sync()]

    assert [report.forks for report in reports] == [0, 1, 0]
    assert phone.store._meta("client_id") != other.store._meta("client_id")
    assert state_of(phone.store) == state_of(other.store)
    titles = sorted(row["title"] for row in phone.store.all("tasks"))
    assert titles == ["Of the copy", "Of the phone", "Waiting when it was copied"]
    assert rejected(phone.store) + rejected(other.store) == []
    assert [each for each in other.store.notices() if each["kind"] == "conflict"] == []


async def test_a_restored_server_is_followed_and_what_waits_is_not_lost(
    phone: AsyncOffline, alice: Client, state: State
) -> None:
    """As if a backup from before the first synchronisation had been restored."""
    task = await alice.add("Of the backup")
    phone.store.create("tasks", title="Lost with the database")
    await phone.sync()
    async with state.database.engine.connect() as connection:
        for change in (
            "DELETE FROM tasks WHERE title LIKE 'Lost%'",
            "DELETE FROM activity WHERE version > 1",
            "DELETE FROM sync_receipts",
            "DELETE FROM sync_clients",
            "UPDATE sync_state SET epoch = gen_random_uuid(), seq = 1",
        ):
            await connection.execute(text(change))
    phone.store.update("tasks", task["id"], title="Written since")

    report = await phone.sync()

    assert (report.forks, report.resets) == (1, 1)
    assert [row["title"] for row in phone.store.all("tasks")] == ["Written since"]
    assert (await alice.titles()) == ["Written since"]


async def test_two_programs_on_one_store_do_everything_once(
    phone: AsyncOffline, tend: AsyncTend, tmp_path: Path, alice: Client
) -> None:
    same = AsyncOffline(tend, Store(tmp_path / "phone.sqlite"))
    phone.store.create("tasks", title="Figs")
    first, second = phone.store.outgoing(), same.store.outgoing()
    answers = [await tend.synchronise(each.body) for each in (first, second)]

    assert same.store.take(second, answers[1])
    assert not phone.store.take(first, answers[0])  # of a state that is past
    await phone.sync()
    assert (await alice.page())["total"] == 1
    assert state_of(phone.store) == state_of(same.store)


async def test_a_store_is_whole_after_a_crash_in_the_middle(
    phone: AsyncOffline, tend: AsyncTend, tmp_path: Path, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page, the cursor and the operations that it confirms are stored together, or not at all."""
    phone.store.create("tasks", title="Figs")
    outgoing = phone.store.outgoing()
    answer = await tend.synchronise(outgoing.body)

    class Crash(Exception):
        pass

    def crash(_name: str, _value: Any) -> None:
        raise Crash

    monkeypatch.setattr(phone.store, "_set", crash)
    with pytest.raises(Crash):
        phone.store.take(outgoing, answer)
    phone.store.close()

    again = AsyncOffline(tend, Store(tmp_path / "phone.sqlite"))
    assert (again.store.pending(), again.store._meta("cursor"), again.store._meta("ack")) == (1, None, 0)
    await again.sync()
    assert (again.store.pending(), (await alice.page())["total"]) == (0, 1)


async def test_an_answer_that_is_being_stored_is_seen_whole_or_not_at_all(
    phone: AsyncOffline, tend: AsyncTend, alice: Client
) -> None:
    await alice.add_many([{"title": f"Task {n}"} for n in range(300)])
    outgoing = phone.store.outgoing()
    answer = await tend.synchronise(outgoing.body)
    storing = threading.Thread(target=phone.store.take, args=(outgoing, answer))
    storing.start()
    seen = set()
    while storing.is_alive():
        seen.add(len(phone.store.all("tasks")))
    storing.join()
    assert seen <= {0, 300}
    assert len(phone.store.all("tasks")) == 300


async def test_while_everything_is_told_anew_what_is_there_stays(
    tend: AsyncTend, alice: Client, state: State, wire: Wire
) -> None:
    """A reset that is broken off leaves the application with what it had; what is gone goes with the last page."""
    device = AsyncOffline(tend, Store(":memory:"), limit=3)
    tasks = await alice.add_many([{"title": f"Task {n}"} for n in range(9)])
    await device.sync()
    await alice.delete(f"/v1/tasks/{tasks[8]['id']}")
    async with state.database.engine.connect() as connection:
        await connection.execute(text("UPDATE sync_state SET epoch = gen_random_uuid()"))
    wire.trouble = iter([None, "unsent"])
    with pytest.raises(Unreachable):
        await device.sync()
    assert len(device.store.all("tasks")) == 9
    device.store.update("tasks", tasks[7]["id"], title="Edited meanwhile")

    await device.sync()

    assert len(device.store.all("tasks")) == 8
    assert device.store.get("tasks", tasks[7]["id"])["title"] == "Edited meanwhile"


async def test_what_a_copy_does_again_undoes_nothing_and_is_no_news(
    phone: AsyncOffline, tend: AsyncTend, tmp_path: Path, alice: Client
) -> None:
    """A deletion after which the row was taken out of the trash, and a creation that had worked."""
    task = await alice.add("Figs")
    await phone.sync()
    phone.store.delete("tasks", task["id"])
    phone.store.create("tasks", title="Made once")
    copy = Store(tmp_path / "copy.sqlite")
    phone.store._db.backup(copy._db)
    phone.store.create("tasks", title="Of the phone")
    await phone.sync()
    await alice.post(f"/v1/trash/tasks/{task['id']}/restore")
    copy.create("tasks", title="Of the copy")

    report = await AsyncOffline(tend, copy).sync()

    assert report.forks == 1
    assert sorted(await alice.titles()) == ["Figs", "Made once", "Of the copy", "Of the phone"]
    assert copy.notices() == []


async def test_many_operations_go_by_the_hundred_and_many_changes_by_the_page(
    phone: AsyncOffline, laptop: AsyncOffline, alice: Client
) -> None:
    for n in range(250):
        phone.store.create("tasks", title=f"Task {n}")
    await alice.add_many([{"title": f"Theirs {n}"} for n in range(700)])

    assert (await phone.sync()).sent == 250
    await laptop.sync()
    assert len(laptop.store.all("tasks")) == 950
    assert state_of(laptop.store) == state_of(phone.store)


async def test_long_texts_are_sent_in_requests_that_the_server_takes(phone: AsyncOffline, wire: Wire) -> None:
    for n in range(90):
        phone.store.create("tasks", title=f"Task {n}", description="ä" * 10_000)

    await phone.sync()

    assert phone.store.pending() == 0
    assert len(wire.requests) > 1
    assert max(len(each.content) for each in wire.requests) < 1024 * 1024


def test_the_clock_never_stands_still_nor_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store.sqlite")
    times = iter([5_000_000, 5_000_000, 4_000_000, 9_000_000])
    monkeypatch.setattr("tend_client.tables.time.time_ns", lambda: next(times) * 1_000)
    for n in range(4):
        store.create("tasks", title=str(n))
    clocks = [each["at"] for each in store.outgoing().body["operations"]]
    assert clocks == [5_000_000, 5_000_001, 5_000_002, 9_000_000]


def test_a_clock_that_is_wrong_follows_the_server_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store.sqlite")
    monkeypatch.setattr("tend_client.tables.time.time_ns", lambda: 0)
    store._follow("1970-01-01T01:00:00.000000Z")
    store.create("tasks", title="x")
    assert store.outgoing().body["operations"][0]["at"] == 3_600_000_000
    store._follow("1970-01-01T00:00:00.500000Z")
    assert store._meta("ahead") == 0


def test_a_store_survives_being_closed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    task = store.create("tasks", title="Figs")
    name = store._meta("client_id")
    store.close()

    again = Store(tmp_path / "store.sqlite")
    assert (again._meta("client_id"), again.get("tasks", task)["title"], again.pending()) == (name, "Figs", 1)
    with pytest.raises(sqlite3.ProgrammingError):
        store.pending()


async def test_another_name_that_is_taken_is_a_conflict_to_be_told(
    phone: AsyncOffline, laptop: AsyncOffline, alice: Client
) -> None:
    phone.store.create("projects", name="Balcony")
    laptop.store.create("projects", name="Balcony")
    await phone.sync()
    await laptop.sync()
    assert rejected(laptop.store) == ["conflict"]
    assert len(laptop.store.all("projects")) == 1
