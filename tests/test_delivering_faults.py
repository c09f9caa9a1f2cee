"""Messages to webhooks, when something comes between: other changes, other workers, slow receivers, secrets, stops."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from backend.config import Settings
from backend.errors import Unavailable
from backend.services import delivering, delivery_query, live, webhook_log
from backend.services.delivering import Sender
from backend.services.pulling import pull
from backend.state import State
from backend.turns import unasked
from tests.client import Client, fresh_account
from tests.conftest import worker
from tests.hooks import NOT_NOW, deliveries, hook_to, later, sender, shown, sql, tell, there, wait_for
from tests.receiver import Answer, Receiver
from tests.test_input import assert_problem

__all__ = ["sender", "there"]  # fixtures


@pytest.fixture
def held_page(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """The first page that is read comes late: that it was asked for, and that it may come."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def late(*arguments: Any, **named: Any) -> Any:
        page = await pull(*arguments, **named)
        if not asked.is_set():
            asked.set()
            await go.wait()
        return page

    monkeypatch.setattr("backend.services.delivering.pull", late)
    return asked, go


async def test_each_of_a_batch_that_is_completed_is_told(alice: Client, there: Receiver, sender: Sender) -> None:
    tasks = await alice.add_many([{"title": f"Task {n}"} for n in range(300)])
    await hook_to(alice, there, "task.completed")
    answer = await alice.patch("/v1/tasks/batch", {"ids": [task["id"] for task in tasks], "set": {"completed": True}})
    assert answer.json() == {"updated": 300}

    await tell(sender)

    assert len(there.got) == 300


async def test_what_was_made_is_new_however_often_it_was_changed_before_it_was_told(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    await hook_to(alice, there, "task.created")
    there.answers += [NOT_NOW]
    tasks = await alice.add_many([{"title": f"Task {n}"} for n in range(60)])
    await tell(sender)
    await alice.patch(f"/v1/tasks/{tasks[40]['id']}", {"title": "Edited"})
    await alice.patch(f"/v1/tasks/{tasks[0]['id']}", {"title": "Edited, and told of before"})
    await later(state)
    await tell(sender)

    assert {*there.rows} >= {"Edited", *(f"Task {n}" for n in range(60) if n != 40)}


async def test_each_type_that_is_told_can_be_asked_for(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    one, other = await alice.add("One"), await alice.add("Other")
    await alice.call("PUT", f"/v1/tasks/{one['id']}/dependencies/{other['id']}")
    await tell(sender)
    await alice.delete(f"/v1/tasks/{one['id']}")
    await tell(sender)
    await alice.post(f"/v1/trash/tasks/{one['id']}/restore")
    await tell(sender)

    told = {message.said["type"] for message in there.got}
    assert {"dependency.created", "dependency.deleted", "dependency.updated"} <= told
    assert (await alice.patch(f"/v1/webhooks/{hook['id']}", {"events": sorted(told)})).status_code == 200


async def test_a_page_that_another_has_taken_meanwhile_is_not_taken_again(
    alice: Client, there: Receiver, sender: Sender, state: State, held_page: tuple[asyncio.Event, asyncio.Event]
) -> None:
    await hook_to(alice, there)
    await alice.add("First")
    frozen = Sender(state)
    await frozen.look()
    await held_page[0].wait()
    await later(state, timedelta(minutes=1))
    await tell(sender)
    held_page[1].set()
    await frozen.settled()
    await frozen.close()
    await tell(sender)

    assert there.rows == ["First"]


async def test_what_is_asked_for_while_a_page_is_read_is_told(
    alice: Client, there: Receiver, sender: Sender, held_page: tuple[asyncio.Event, asyncio.Event]
) -> None:
    hook = await hook_to(alice, there, "task.deleted")
    await alice.add("First")
    await sender.look()
    await held_page[0].wait()
    await alice.patch(f"/v1/webhooks/{hook['id']}", {"events": ["*"]})
    held_page[1].set()
    await sender.settled()

    assert there.rows == ["First"]


async def test_a_new_address_is_tried_at_once_and_is_not_to_blame_for_the_old(
    alice: Client, there: Receiver, sender: Sender
) -> None:
    hook = await hook_to(alice, there)
    there.answers += [NOT_NOW, Answer(410, seconds=0.5)]
    await alice.add("First")
    await tell(sender)
    led = await alice.patch(f"/v1/webhooks/{hook['id']}", {"url": f"{there.address}/second"})
    assert (led.json()["failing_since"], led.json()["next_try_at"]) == (None, None)

    await sender.look()
    await wait_for(lambda: len(there.got) == 2)
    await alice.patch(f"/v1/webhooks/{hook['id']}", {"url": f"{there.address}/third"})
    await sender.settled()

    assert [message.path for message in there.got] == ["/hook", "/second", "/third"]
    assert (await shown(alice, hook))["enabled"] is True


async def test_whose_account_ends_in_the_middle_is_told_no_more(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    await hook_to(alice, there)
    there.answers += [Answer(seconds=0.5)]
    await alice.add_many([{"title": f"Task {n}"} for n in range(5)])
    await sender.look()
    await wait_for(lambda: len(there.got) == 1)
    await sql(state, "UPDATE users SET disabled_at = clock_timestamp()")
    await sender.settled()
    await sql(state, "UPDATE users SET disabled_at = NULL")

    assert len(there.got) == 1


async def test_a_user_has_three_places_at_once_and_others_the_rest(
    alice: Client, bob: Client, there: Receiver, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "AT_ONCE", 5)
    for user, hooks in ((alice, 6), (bob, 1)):
        for _ in range(hooks):
            await hook_to(user, there)
    await alice.add("Alice's")
    await bob.add("Bob's")
    there.usual = Answer(seconds=0.3)
    for _ in range(3):
        await sender.look()
    await wait_for(lambda: len(there.got) >= 4)
    await sender.look()
    await asyncio.sleep(0.1)

    assert sorted(there.rows) == ["Alice's"] * 3 + ["Bob's"]
    there.usual = Answer()
    await sender.settled()


async def test_after_its_turn_others_come(
    alice: Client, bob: Client, there: Receiver, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "AT_ONCE", 1)
    monkeypatch.setattr(delivering, "TURN_SECONDS", 0.2)
    for user in (alice, bob):
        await hook_to(user, there)
    await alice.add_many([{"title": f"Alice's {n}"} for n in range(20)])
    await bob.add("Bob's")
    there.usual = Answer(seconds=0.1)
    for _ in range(3):
        await tell(sender)

    assert "Bob's" in there.rows[:10]


async def test_a_message_can_be_taken_out_of_the_way(alice: Client, there: Receiver, sender: Sender) -> None:
    hook = await hook_to(alice, there)
    there.answers += [Answer(400)]
    await alice.add("Indigestible")
    await tell(sender)
    [waiting] = (await deliveries(alice, hook))["items"]
    url = f"/v1/webhooks/{hook['id']}/deliveries/{waiting['id']}"
    assert (await alice.delete(url)).status_code == 204
    assert_problem(await alice.delete(url), 404)
    await alice.add("Second")
    await alice.patch(f"/v1/webhooks/{hook['id']}", {"enabled": True})
    await tell(sender)

    assert there.rows == ["Indigestible", "Second"]


async def test_a_receiver_may_say_when_it_wants_to_be_asked_again(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    await hook_to(alice, there)
    there.answers += [Answer(429, retry_after="3600")]
    await alice.add("First")
    await tell(sender)

    [(waits,)] = await sql(state, "SELECT next_try_at > now() + interval '50 minutes' FROM webhooks")
    assert waits


async def test_what_is_wanted_again_is_not_purged(alice: Client, there: Receiver, sender: Sender, state: State) -> None:
    hook = await hook_to(alice, there)
    await alice.add("First")
    await tell(sender)
    await later(state, timedelta(days=8))
    [delivery] = (await deliveries(alice, hook))["items"]
    async with state.database.engine.connect() as plain:
        first = await plain.execution_options(isolation_level="READ COMMITTED")
        await first.exec_driver_sql("UPDATE webhook_deliveries SET delivered_at = NULL")
        purging = asyncio.create_task(webhook_log.purge(state.database))
        await asyncio.sleep(0.3)
        await first.commit()
        await purging

    assert [each["id"] for each in (await deliveries(alice, hook))["items"]] == [delivery["id"]]


async def test_it_is_deleted_also_while_a_message_is_added(alice: Client, there: Receiver, state: State) -> None:
    hook = await hook_to(alice, there)
    async with state.database.engine.connect() as plain:
        first = await plain.execution_options(isolation_level="READ COMMITTED")
        await first.exec_driver_sql("UPDATE webhooks SET told_version = told_version")
        await first.exec_driver_sql(
            "INSERT INTO webhook_deliveries (user_id, webhook_id, id, type, body) "
            "SELECT user_id, id, gen_random_uuid(), 'test', '{}' FROM webhooks"
        )
        deleting = asyncio.create_task(alice.delete(f"/v1/webhooks/{hook['id']}"))
        await asyncio.sleep(0.3)
        await first.commit()
        assert (await deleting).status_code == 204

    assert await sql(state, "SELECT count(*) FROM webhook_deliveries") == [(0,)]


async def test_a_secret_that_cannot_be_opened_is_nobody_else_s_failure(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    await alice.add("First")
    [(sealed,)] = await sql(state, "SELECT secret FROM webhooks")
    await sql(state, "UPDATE webhooks SET secret = 'damaged'")
    await tell(sender)
    assert there.got == []
    assert (await shown(alice, hook))["failing_since"] is None

    damaged = "UPDATE webhooks SET secret = :sealed, former_secret = 'damaged', former_until = now() + interval '1 h'"
    await later(state, timedelta(hours=1))
    await sql(state, damaged, sealed=sealed)
    await tell(sender)
    assert there.got[0].read(hook["secret"])["type"] == "task.created"


async def test_an_own_id_makes_one_webhook_however_often_it_is_sent(alice: Client, there: Receiver) -> None:
    own = str(uuid4())
    assert (await hook_to(alice, there, id=own))["id"] == own
    again = await alice.post("/v1/webhooks", {"id": own, "url": f"{there.address}/hook"})
    assert assert_problem(again, 409)["detail"] == "A webhook with this id exists already."


async def test_a_server_that_delivers_none_says_so(settings: Settings, alice: Client, there: Receiver) -> None:
    hook = await hook_to(alice, there)
    async with worker(settings.model_copy(update={"webhooks": False})) as (_, http):
        user = Client(http, alice.user_id, alice.token, "")
        url = f"/v1/webhooks/{hook['id']}"
        for answer in (
            await user.post(f"{url}/test"),
            await user.post(f"{url}/deliveries/{uuid4()}/redeliver"),
            await user.patch(url, {"enabled": True}),
        ):
            assert_problem(answer, 501)
        assert (await user.patch(url, {"enabled": False})).status_code == 200


async def test_a_worker_delivers_by_itself(
    settings: Settings, there: Receiver, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "LOOK_SECONDS", 0.05)
    async with worker(settings) as (app, http):
        user = await fresh_account(http, app.state.tend, "carol")
        await hook_to(user, there)
        await user.add("Figs")
        await wait_for(lambda: there.rows == ["Figs"])
    async with worker(settings.model_copy(update={"webhooks": False})) as (app, http):
        await Client(http, user.user_id, user.token, "").add("Dates")
        await asyncio.sleep(0.5)

    assert there.rows == ["Figs"]


async def test_a_change_that_is_committed_late_is_noticed(
    alice: Client, there: Receiver, sender: Sender, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "REST", 0)
    await hook_to(alice, there)
    async with state.database.transaction(alice.user_id):
        for _ in range(6):
            await sender._turn()
        before = sender._looks
    await sender._turn()

    assert (before, sender._looks) == (0, delivering.LOOKS_AFTER - 1)


async def test_a_look_that_fails_is_made_again(
    alice: Client, there: Receiver, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "REST", 0)
    monkeypatch.setattr(delivering, "_about", lambda _wait: timedelta(minutes=1))
    await hook_to(alice, there)
    there.answers += [NOT_NOW]
    await alice.add("Figs")
    await sender._turn()
    await sender.settled()
    look = sender.look

    async def failing() -> None:
        monkeypatch.setattr(sender, "look", look)
        raise Unavailable("Away.")

    monkeypatch.setattr(sender, "look", failing)
    with pytest.raises(Unavailable):
        await sender._turn()
    await sender._turn()

    assert sender._due < float("inf")  # it knows when the next try is due


async def test_what_nobody_asked_for_is_no_use_of_the_database(state: State, alice: Client) -> None:
    await alice.page()
    database = state.database
    used, asked = database.used_at, database.usage.asked
    listener = live.Live(state)
    with unasked():
        await listener.look()
        await database.read(delivery_query.next_due(), {})
    assert (database.used_at, database.usage.asked) == (used, asked)

    await alice.page()
    assert database.used_at > used
    assert database.usage.asked == asked + 1


async def test_what_is_left_after_a_turn_or_a_failure_is_not_waited_for(
    alice: Client, there: Receiver, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "REST", 0)
    monkeypatch.setattr(delivering, "TURN_SECONDS", 0.2)
    await hook_to(alice, there)
    await alice.add_many([{"title": f"Task {n}"} for n in range(10)])
    there.usual = Answer(seconds=0.1)
    for _ in range(8):
        await sender._turn()
        await sender.settled()

    assert len(there.got) == 10


async def test_webhooks_of_two_users_may_have_the_same_id(
    alice: Client, bob: Client, there: Receiver, sender: Sender
) -> None:
    own = str(uuid4())
    for user in (alice, bob):
        await hook_to(user, there, id=own)
        await user.add("Figs")
    there.usual = Answer(seconds=0.1)
    await tell(sender)

    assert len(there.got) == 2
    for user in (alice, bob):
        [delivery] = (await deliveries(user, {"id": own}))["items"]
        assert (delivery["status"], delivery["attempts"]) == ("delivered", 1)


async def test_what_was_taken_out_of_the_way_is_no_failure_any_more(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    there.answers += [NOT_NOW]
    await alice.add("First")
    await alice.add("Second")
    await tell(sender)
    waiting = (await deliveries(alice, hook))["items"][-1]
    await alice.delete(f"/v1/webhooks/{hook['id']}/deliveries/{waiting['id']}")
    await tell(sender)
    assert there.rows == ["First", "Second"]

    there.usual = NOT_NOW
    await alice.add("Third")
    await tell(sender)
    await later(state, timedelta(days=6))
    await tell(sender)
    assert (await shown(alice, hook))["enabled"] is True  # asked twice in six days


async def test_a_change_is_told_to_whom_the_making_was_nothing(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    await hook_to(alice, there, "task.updated")
    tasks = await alice.add_many([{"title": f"Old {n}"} for n in range(60)])
    await tell(sender)
    made = await alice.add("Made")
    for task in tasks:
        await alice.patch(f"/v1/tasks/{task['id']}", {"priority": "low"})
    there.answers += [NOT_NOW]
    await tell(sender)
    await alice.patch(f"/v1/tasks/{made['id']}", {"title": "Made, and changed"})
    await later(state)
    await tell(sender)

    assert "Made, and changed" in there.rows


async def test_switched_off_and_on_during_a_try_it_goes_on_at_once(
    alice: Client, there: Receiver, sender: Sender
) -> None:
    hook = await hook_to(alice, there)
    there.answers += [Answer(seconds=0.4)]
    await alice.add("First")
    await sender.look()
    await wait_for(lambda: len(there.got) == 1)
    await alice.patch(f"/v1/webhooks/{hook['id']}", {"enabled": False})
    await sender.settled()
    await alice.patch(f"/v1/webhooks/{hook['id']}", {"enabled": True})
    await alice.add("Second")
    await tell(sender)

    assert there.rows == ["First", "Second"]


async def test_a_test_that_is_asked_for_during_a_try_comes_at_once(
    alice: Client, there: Receiver, sender: Sender
) -> None:
    hook = await hook_to(alice, there)
    there.answers += [Answer(503, seconds=0.4)]
    await alice.add("First")
    await sender.look()
    await wait_for(lambda: len(there.got) == 1)
    await alice.post(f"/v1/webhooks/{hook['id']}/test")
    await sender.settled()

    assert there.types == ["task.created", "task.created", "test"]
