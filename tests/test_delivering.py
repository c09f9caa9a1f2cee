"""Messages to webhooks: in order, at least once, whatever fails."""

import asyncio
import json
import random
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from backend.rules.webhooks import wait_after
from backend.services import delivering, webhook_log
from backend.services.delivering import Sender
from backend.state import State
from tests.client import Client, Json, Statements
from tests.hooks import NOT_NOW, deliveries, hook_to, in_the_middle, later, sender, shown, sql, tell, there
from tests.receiver import Answer, Receiver
from tests.test_input import assert_problem

__all__ = ["sender", "there"]  # fixtures


async def test_many_changes_come_in_their_order_each_once(alice: Client, there: Receiver, sender: Sender) -> None:
    hook = await hook_to(alice, there)
    await alice.add_many([{"title": f"Task {n}"} for n in range(120)])

    for _ in range(4):  # others have their turn after each hundred steps
        await tell(sender)

    assert there.rows == [f"Task {n}" for n in range(120)]
    assert there.types == ["task.created"] * 120  # whatever page of one transaction they were on
    assert len({message.id for message in there.got}) == 120
    assert there.most_at_once == 1
    assert (await shown(alice, hook))["failing_since"] is None


async def test_what_is_not_taken_is_sent_again_with_its_id_before_anything_else(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    there.answers += [NOT_NOW, NOT_NOW]
    await alice.add("First")
    await tell(sender)
    await alice.add("Second")
    await tell(sender)
    assert there.rows == ["First"]  # and waits

    failing = await shown(alice, hook)
    assert failing["failing_since"] <= failing["next_try_at"]
    await later(state)
    await tell(sender)
    assert there.rows == ["First"] * 2
    await later(state)
    await tell(sender)

    assert there.rows == ["First"] * 3 + ["Second"]
    assert len({message.id for message in there.got[:3]}) == 1
    assert len({message.body for message in there.got[:3]}) == 1
    assert [message.read(hook["secret"])["type"] for message in there.got] == ["task.created"] * 4
    settled = await shown(alice, hook)
    assert (settled["failing_since"], settled["next_try_at"]) == (None, None)
    log = (await deliveries(alice, hook))["items"]
    assert [(each["status"], each["attempts"]) for each in log] == [("delivered", 1), ("delivered", 3)]
    assert [each["status"] for each in log[1]["tries"]] == [503, 503, 204]
    assert log[1]["tries"][0]["error"] == "It answered with 503."


async def test_while_an_address_fails_each_row_waits_once(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    there.answers += [NOT_NOW]
    await alice.add("First")
    await tell(sender)
    task = await alice.add("Second")
    for n in range(5):
        await alice.patch(f"/v1/tasks/{task['id']}", {"title": f"Second, {n}"})
    assert len((await deliveries(alice, hook))["items"]) == 1

    await later(state)
    await tell(sender)

    assert there.rows == ["First", "First", "Second, 4"]
    assert there.types[-1] == "task.created"


async def test_an_answer_that_is_lost_is_no_answer(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    there.answers += [Answer(hangs_up=True)]
    await alice.add("Figs")
    await tell(sender)
    await later(state)
    await tell(sender)

    assert [message.id for message in there.got] == [there.got[0].id] * 2
    [delivery] = (await deliveries(alice, hook))["items"]
    assert delivery["attempts"] == 2


async def test_the_last_ten_tries_are_kept(
    alice: Client, there: Receiver, sender: Sender, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "_about", lambda _wait: timedelta())
    hook = await hook_to(alice, there)
    there.answers += [Answer(500 + n) for n in range(12)]
    await alice.add("Figs")
    for _ in range(13):
        await tell(sender)

    [delivery] = (await deliveries(alice, hook))["items"]
    assert delivery["attempts"] == 13
    assert [each["status"] for each in delivery["tries"]] == [*range(503, 512), 204]


async def test_tries_come_further_apart_and_never_past_six_hours() -> None:
    waits = [wait_after(failures).total_seconds() for failures in range(1, 12)]
    assert waits[:4] == [5, 20, 80, 320]
    assert waits == sorted(waits)
    assert waits[-1] == 6 * 3600


async def test_after_five_days_it_is_switched_off_and_on_again_it_goes_on_where_it_stopped(
    alice: Client, there: Receiver, sender: Sender, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = await hook_to(alice, there)
    there.usual = NOT_NOW
    await alice.add("First")
    await tell(sender)
    await sql(state, "UPDATE webhooks SET failures = 4")
    await later(state, timedelta(days=4, hours=23))
    await tell(sender)
    assert (await shown(alice, hook))["enabled"] is True

    await later(state, timedelta(hours=2))
    await tell(sender)

    off = await shown(alice, hook)
    assert (off["enabled"], off["disabled_because"], off["next_try_at"]) == (False, "failing", None)
    await alice.add("Second")
    there.usual = Answer()
    there.got.clear()
    await later(state)
    await tell(sender)
    assert there.got == []
    on = await alice.patch(f"/v1/webhooks/{hook['id']}", {"enabled": True})
    assert (on.json()["enabled"], on.json()["disabled_because"]) == (True, None)
    await tell(sender)
    assert there.rows == ["First", "Second"]


async def test_who_is_gone_for_good_is_asked_no_more(alice: Client, there: Receiver, sender: Sender) -> None:
    hook = await hook_to(alice, there)
    there.answers += [Answer(410)]
    await alice.add("First")
    await tell(sender)

    assert (await shown(alice, hook))["disabled_because"] == "gone"


async def test_it_can_be_switched_off(alice: Client, there: Receiver, sender: Sender) -> None:
    hook = await hook_to(alice, there)
    off = await alice.patch(f"/v1/webhooks/{hook['id']}", {"enabled": False})
    assert off.json()["disabled_because"] == "owner"
    await alice.add("First")
    await tell(sender)
    assert there.got == []


async def test_a_worker_that_dies_with_a_message_loses_nothing(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    await hook_to(alice, there)
    await alice.add("First")
    other = await in_the_middle(state, there, seconds=30)
    for task in other._serving.values():
        task.task.cancel()  # as a kill does: its claim stays

    await tell(sender)
    assert len(there.got) == 1
    await later(state, timedelta(seconds=31))
    await tell(sender)

    assert [message.id for message in there.got] == [there.got[0].id] * 2
    await other.close()


async def test_a_worker_that_stops_lets_go_of_what_it_has(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    await hook_to(alice, there)
    await alice.add("First")
    other = await in_the_middle(state, there, seconds=30)
    await other.close()

    await tell(sender)

    assert there.rows == ["First", "First"]


async def test_a_worker_that_was_thought_dead_changes_nothing_more(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    await alice.add("First")
    slow = await in_the_middle(state, there, seconds=0.3)
    await later(state, timedelta(seconds=31))
    await tell(sender)
    await alice.add("Second")
    await tell(sender)
    await slow.settled()
    await slow.close()

    assert there.rows == ["First", "First", "Second"]
    log = (await deliveries(alice, hook))["items"]
    assert [each["attempts"] for each in log] == [1, 1]


async def test_of_many_workers_one_delivers(alice: Client, there: Receiver, state: State) -> None:
    await hook_to(alice, there)
    await alice.add_many([{"title": f"Task {n}"} for n in range(30)])
    senders = [Sender(state) for _ in range(4)]

    await asyncio.gather(*(tell(each) for each in senders))

    assert there.rows == [f"Task {n}" for n in range(30)]
    assert there.most_at_once == 1
    for each in senders:
        await each.close()


async def test_who_comes_second_leaves_what_the_first_is_about_to_take(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    await hook_to(alice, there)
    await alice.add("First")
    taken = text("UPDATE webhooks SET claimed_until = now() + interval '1 minute', claim = gen_random_uuid()")
    async with state.database.engine.connect() as plain:
        first = await plain.execution_options(isolation_level="READ COMMITTED")
        await first.execute(taken)
        second = asyncio.create_task(tell(sender))
        await asyncio.sleep(0.3)
        assert not second.done()
        await first.commit()
        await second

    assert there.got == []


async def test_whatever_fails_the_receiver_comes_to_the_same_state(
    alice: Client, there: Receiver, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that keeps the last row of each id, as the documentation says, ends with what the API has."""
    monkeypatch.setattr(delivering, "_about", lambda _wait: timedelta())
    dice = random.Random(7)
    hook = await hook_to(alice, there)
    senders = [Sender(state) for _ in range(2)]
    tasks: list[Json] = []

    async def deliver() -> None:
        for _ in range(3):
            there.answers.append(dice.choice([Answer(), NOT_NOW, Answer(hangs_up=True)]))
        await asyncio.gather(*(tell(each) for each in senders))

    for n in range(60):
        deed = dice.choice(["add", "add", "edit", "complete", "delete", "tell", "tell"])
        if deed == "add" or not tasks:
            tasks.append(await alice.add(f"Task {n}"))
        elif deed == "edit":
            await alice.patch(f"/v1/tasks/{dice.choice(tasks)['id']}", {"title": f"Edited {n}"})
        elif deed == "complete":
            await alice.patch(f"/v1/tasks/{dice.choice(tasks)['id']}", {"completed": dice.random() < 0.7})
        elif deed == "delete":
            gone = tasks.pop(dice.randrange(len(tasks)))
            await alice.delete(f"/v1/tasks/{gone['id']}")
        else:
            await deliver()
    there.answers.clear()
    for _ in range(5):
        await asyncio.gather(*(tell(each) for each in senders))

    known: dict[str, Any] = {}
    heard: list[str] = []
    for message in there.got:
        data = message.read(hook["secret"])["data"]
        if message.id not in heard:
            heard.append(message.id)
            assert data["version"] > max((row["version"] for row in known.values()), default=0), "out of order"
        known[data["id"]] = data
    rows = {each["id"]: each["row"] for each in known.values() if not each["deleted"]}
    assert rows == {task["id"]: task for task in await alice.walk(limit=200)}
    for each in senders:
        await each.close()


async def test_a_message_can_be_sent_again_and_comes_before_what_waits(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    await alice.add("First")
    await alice.add("Second")
    await tell(sender)
    first = (await deliveries(alice, hook))["items"][-1]
    await alice.add("Third")
    there.got.clear()

    await sql(state, "UPDATE webhooks SET next_try_at = now() + interval '1 hour'")
    again = await alice.post(f"/v1/webhooks/{hook['id']}/deliveries/{first['id']}/redeliver")
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    await tell(sender)

    assert there.rows == ["First", "Third"]
    assert there.got[0].id == first["id"]
    found = (await alice.get(f"/v1/webhooks/{hook['id']}/deliveries/{first['id']}")).json()
    assert (found["attempts"], found["body"]) == (2, there.got[0].body)
    unknown = await alice.post(f"/v1/webhooks/{hook['id']}/deliveries/{uuid4()}/redeliver")
    assert_problem(unknown, 404)


async def test_a_test_is_sent_and_too_many_are_refused(alice: Client, there: Receiver, sender: Sender) -> None:
    hook = await hook_to(alice, there, "project.created")
    answer = await alice.post(f"/v1/webhooks/{hook['id']}/test")
    assert answer.status_code == 202
    await tell(sender)

    [message] = there.got
    said = message.read(hook["secret"])
    assert (said["type"], said["data"]) == ("test", {"webhook_id": hook["id"]})
    assert message.id == answer.json()["id"]
    statuses = [(await alice.post(f"/v1/webhooks/{hook['id']}/test")).status_code for _ in range(101)]
    assert statuses == [202] * 100 + [409]


async def test_the_log_is_walked_newest_first(alice: Client, there: Receiver, sender: Sender) -> None:
    hook, other = await hook_to(alice, there), await hook_to(alice, there)
    tasks = [await alice.add(f"Task {n}") for n in range(5)]
    await tell(sender)

    walked: list[Json] = []
    page = await deliveries(alice, hook, limit=2)
    while True:
        walked += page["items"]
        if page["next_cursor"] is None:
            break
        page = await deliveries(alice, hook, limit=2, cursor=page["next_cursor"])

    bodies = [
        json.loads((await alice.get(f"/v1/webhooks/{hook['id']}/deliveries/{each['id']}")).json()["body"])
        for each in walked
    ]
    assert [body["data"]["id"] for body in bodies] == [task["id"] for task in reversed(tasks)]
    foreign = await alice.get(
        f"/v1/webhooks/{other['id']}/deliveries",
        params={"cursor": (await deliveries(alice, hook, limit=2))["next_cursor"]},
    )
    assert_problem(foreign, 422)
    assert_problem(await alice.get(f"/v1/webhooks/{uuid4()}/deliveries"), 404)


async def test_the_log_has_the_last_two_hundred_and_of_a_week(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    await sql(
        state,
        "INSERT INTO webhook_deliveries (user_id, webhook_id, id, type, body, delivered_at) "
        "SELECT :user, :hook, ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'test', '{}', now() "
        "FROM generate_series(1, 300) n",
        user=alice.user_id,
        hook=hook["id"],
    )
    await alice.add("Figs")
    await tell(sender)
    assert await sql(state, "SELECT count(*) FROM webhook_deliveries") == [(201,)]  # the newest came after

    await later(state, timedelta(days=7, minutes=1))
    await alice.add("Dates")
    await tell(sender)
    await webhook_log.purge(state.database)
    assert await sql(state, "SELECT type FROM webhook_deliveries") == [("task.created",)]


async def test_with_nothing_to_do_the_database_is_left_alone(
    alice: Client,
    there: Receiver,
    sender: Sender,
    state: State,
    statements: Statements,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivering, "REST", 0)
    await hook_to(alice, there)
    for _ in range(5):
        await sender._turn()
    statements.clear()
    for _ in range(5):
        await sender._turn()
    assert statements == []

    await alice.add("Figs")
    await sender._turn()
    await sender.settled()
    assert there.rows == ["Figs"]
    for _ in range(10):
        await sender._turn()
    statements.clear()
    await sender._turn()
    assert statements == []


async def test_a_try_that_is_due_comes_without_being_asked_for(
    alice: Client, there: Receiver, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "REST", 0)
    monkeypatch.setattr(delivering, "_about", lambda _wait: timedelta(seconds=0.5))
    await hook_to(alice, there)
    there.answers += [NOT_NOW]
    await alice.add("Figs")
    for _ in range(8):
        await sender._turn()
        await sender.settled()
    assert len(there.got) == 1
    await asyncio.sleep(0.6)
    await sender._turn()
    await sender.settled()
    assert len(there.got) == 2
