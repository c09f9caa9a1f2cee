"""Webhooks: an address is told of what changes, signed, in order, at least once."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from standardwebhooks.webhooks import WebhookVerificationError

from backend.config import Settings
from backend.rules.webhooks import wait_after
from backend.services import delivering, webhook_log
from backend.services.delivering import Sender
from backend.state import State
from tests.client import Client, Json, Statements
from tests.conftest import worker
from tests.receiver import Answer, Receiver, receiving
from tests.test_input import assert_problem

NOT_NOW = Answer(503)


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def sender(state: State) -> AsyncIterator[Sender]:
    sender = Sender(state)
    yield sender
    await sender.close()


async def tell(sender: Sender) -> None:
    await sender.look()
    await sender.settled()


async def hook_to(user: Client, receiver: Receiver, *events: str, **fields: Any) -> Json:
    wanted = {"url": f"{receiver.address}/hook", "events": list(events) or ["*"], **fields}
    answer = await user.post("/v1/webhooks", wanted)
    assert answer.status_code == 201, answer.text
    hook: Json = answer.json()
    return hook


async def shown(user: Client, hook: Json) -> Json:
    answer = await user.get(f"/v1/webhooks/{hook['id']}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def deliveries(user: Client, hook: Json, **parameters: Any) -> Json:
    answer = await user.get(f"/v1/webhooks/{hook['id']}/deliveries", params=parameters)
    assert answer.status_code == 200, answer.text
    page: Json = answer.json()
    return page


async def sql(state: State, statement: str, **values: Any) -> list[Any]:
    async with state.database.engine.connect() as connection:
        result = await connection.execute(text(statement), values)
        return list(result) if result.returns_rows else []


async def later(state: State, time: timedelta = timedelta(hours=7)) -> None:
    """As if so much time had passed for every webhook."""
    columns = ("next_try_at", "claimed_until", "failing_since", "former_until")
    moved = ", ".join(f"{name} = {name} - :time" for name in columns)
    await sql(state, f"UPDATE webhooks SET {moved}", time=time)
    await sql(state, "UPDATE webhook_deliveries SET delivered_at = delivered_at - :time", time=time)


async def test_a_change_is_told_as_it_is_read_and_signed(alice: Client, there: Receiver, sender: Sender) -> None:
    hook = await hook_to(alice, there)
    task = await alice.add("Figs")

    await tell(sender)

    [message] = there.got
    said = message.read(hook["secret"])
    assert said["type"] == "task.created"
    change = {"entity": "tasks", "id": task["id"], "version": task["version"], "deleted": False, "row": task}
    assert said["data"] == change
    assert message.path == "/hook"
    assert message.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        message._replace(body=message.body.replace("Figs", "Nuts")).read(hook["secret"])


async def test_the_secret_is_shown_once_and_kept_sealed(alice: Client, there: Receiver, state: State) -> None:
    mine = "whsec_" + "QUJD" * 8
    made, brought = await hook_to(alice, there), await hook_to(alice, there, secret=mine)

    assert brought["secret"] == mine
    listed = await alice.get("/v1/webhooks")
    assert "whsec_" not in listed.text
    assert [each["id"] for each in listed.json()["items"]] == [brought["id"], made["id"]]
    kept = str(await sql(state, "SELECT secret, former_secret FROM webhooks"))
    assert made["secret"] not in kept
    assert "QUJD" not in kept
    assert "secret" not in (await shown(alice, made))


async def test_each_thing_that_happens_has_its_type(alice: Client, there: Receiver, sender: Sender) -> None:
    await alice.add("Before")
    await hook_to(alice, there)
    task = await alice.add("Figs")
    await alice.project("Balcony")
    remark = (await alice.post(f"/v1/tasks/{task['id']}/comments", {"body": "Now"})).json()
    await alice.save("Soon", "due:today")
    await tell(sender)
    assert there.types == ["task.created", "project.created", "comment.created", "filter.created"]

    there.got.clear()
    for change in ({"title": "Dates"}, {"completed": True}, {"title": "Nuts"}):
        await alice.patch(f"/v1/tasks/{task['id']}", change)
        await tell(sender)
    await alice.patch(f"/v1/tasks/{task['id']}/comments/{remark['id']}", {"body": "Later"})
    await tell(sender)
    await alice.delete(f"/v1/tasks/{task['id']}")
    await tell(sender)
    await alice.post(f"/v1/trash/tasks/{task['id']}/restore")
    await tell(sender)

    assert there.types[:4] == ["task.updated", "task.completed", "task.updated", "comment.updated"]
    assert {*there.types[4:6]} == {"task.deleted", "comment.deleted"}
    assert {*there.types[6:]} == {"task.updated", "comment.updated"}
    deleted = next(message.said for message in there.got if message.said["type"] == "task.deleted")
    assert deleted["data"]["row"] is None
    assert deleted["data"]["id"] == task["id"]


async def test_what_happened_to_a_row_between_two_looks_is_told_once_and_by_the_most_telling_name(
    alice: Client, there: Receiver, sender: Sender
) -> None:
    await hook_to(alice, there)
    first = await alice.add("Made and done")
    await alice.patch(f"/v1/tasks/{first['id']}", {"completed": True})
    second = await alice.add("Made and gone")
    await alice.delete(f"/v1/tasks/{second['id']}")
    await tell(sender)

    assert there.types == ["task.created", "task.deleted"]
    assert there.got[0].said["data"]["row"]["completed"] is True


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (["task.*"], ["task.created", "task.completed"]),
        (["task.completed"], ["task.completed"]),
        (["task.updated"], ["task.updated"]),  # which a completion is, to who asks for no more
        (["project.created", "task.created"], ["task.created", "project.created"]),
        (["comment.*"], []),
    ],
)
async def test_an_address_is_told_what_it_asked_for(
    alice: Client, there: Receiver, sender: Sender, wanted: list[str], told: list[str]
) -> None:
    await hook_to(alice, there, *wanted)
    task = await alice.add("Figs")
    await tell(sender)
    await alice.patch(f"/v1/tasks/{task['id']}", {"completed": True})
    await tell(sender)
    await alice.project("Balcony")
    await tell(sender)

    assert there.types == told


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
    there.answers += [Answer(seconds=30)]
    other = Sender(state)
    await other.look()
    while not there.got:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for task in other._serving.values():
        task.cancel()  # as a kill does: its claim stays

    await tell(sender)
    assert len(there.got) == 1
    await later(state, timedelta(minutes=1))
    await tell(sender)

    assert [message.id for message in there.got] == [there.got[0].id] * 2
    await other.close()


async def test_a_worker_that_stops_lets_go_of_what_it_has(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    await hook_to(alice, there)
    await alice.add("First")
    there.answers += [Answer(seconds=30)]
    other = Sender(state)
    await other.look()
    while not there.got:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await other.close()

    await tell(sender)

    assert there.rows == ["First", "First"]


async def test_a_worker_that_was_thought_dead_changes_nothing_more(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    await alice.add("First")
    there.answers += [Answer(seconds=0.3)]
    slow = Sender(state)
    await slow.look()
    while not there.got:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await later(state, timedelta(minutes=1))
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


async def test_the_log_has_the_last_thousand_and_of_a_week(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    await sql(
        state,
        "INSERT INTO webhook_deliveries (user_id, webhook_id, id, type, body, delivered_at) "
        "SELECT :user, :hook, ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'test', '{}', now() "
        "FROM generate_series(1, 1200) n",
        user=alice.user_id,
        hook=hook["id"],
    )
    await alice.add("Figs")
    await tell(sender)
    assert await sql(state, "SELECT count(*) FROM webhook_deliveries") == [(1001,)]  # the newest came after

    await later(state, timedelta(days=7, minutes=1))
    await alice.add("Dates")
    await tell(sender)
    await webhook_log.purge(state.database)
    assert await sql(state, "SELECT type FROM webhook_deliveries") == [("task.created",)]


async def test_a_renewed_secret_signs_beside_the_former_for_a_day(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    renewed = await alice.post(f"/v1/webhooks/{hook['id']}/secret", {})
    assert renewed.headers["cache-control"] == "no-store"
    new = renewed.json()["secret"]
    assert new != hook["secret"]
    await alice.add("First")
    await tell(sender)
    await later(state, timedelta(hours=25))
    await alice.add("Second")
    await tell(sender)

    for secret in (hook["secret"], new):
        assert there.got[0].read(secret)["type"] == "task.created"
    assert there.got[1].read(new)["type"] == "task.created"
    with pytest.raises(WebhookVerificationError):
        there.got[1].read(hook["secret"])


async def test_a_restored_database_says_that_all_is_to_be_read_anew(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    await hook_to(alice, there, "project.created")
    await alice.add("Never told")
    await sql(state, "UPDATE sync_state SET epoch = gen_random_uuid()")
    await tell(sender)
    await alice.project("Afterwards")
    await tell(sender)

    assert there.types == ["reset", "project.created"]
    assert there.got[0].said["data"] == {}


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/x",
        "example.com",
        "https://",
        "https://user:secret@example.com/",
        "https://example.com/#here",
        "http://10.0.0.1/",
        "http://192.168.1.1:8080/hook",
        "http://169.254.169.254/latest/meta-data",
        "http://0x7f000002/",
        "http://2130706434/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://[2002:a00:1::]/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "https://example.com/" + "x" * 2_000,
        "https://" + "example." * 249,  # with the slash behind it
    ],
)
async def test_an_address_that_nothing_may_be_sent_to_is_refused(alice: Client, url: str) -> None:
    for answer in (
        await alice.post("/v1/webhooks", {"url": url}),
        await alice.patch(f"/v1/webhooks/{uuid4()}", {"url": url}),
    ):
        assert_problem(answer, 422)
        assert answer.json()["errors"][0]["loc"] == ["body", "url"]


async def test_localhost_and_http_are_for_who_allows_private_networks(settings: Settings, alice: Client) -> None:
    production = settings.model_copy(update={"webhook_networks": (), "environment": "production"})
    off = settings.model_copy(update={"webhooks": False})
    async with worker(production) as (_, strict), worker(off) as (_, without):
        for url in ("http://localhost/", "https://localhost/", "https://127.0.0.1/", "http://example.com/"):
            assert_problem(await Client(strict, alice.user_id, alice.token, "").post("/v1/webhooks", {"url": url}), 422)
        refused = await Client(without, alice.user_id, alice.token, "").post(
            "/v1/webhooks", {"url": "https://a.example"}
        )
        assert_problem(refused, 501)


@pytest.mark.parametrize(
    "wrong",
    [
        {"events": []},
        {"events": ["task.exploded"]},
        {"events": ["task.*", "task.*"]},
        {"events": None},
        {"url": None},
        {"description": ""},
        {"description": "x" * 101},
        {"enabled": "yes"},
        {"id": str(uuid4())},
        {"secret": "short"},
        {"secret": "whsec_QUJD"},
    ],
)
async def test_what_cannot_be_meant_is_refused(alice: Client, there: Receiver, wrong: Json) -> None:
    hook = await hook_to(alice, there)
    assert_problem(await alice.post("/v1/webhooks", {"url": "https://example.com/", **wrong}), 422)
    assert_problem(await alice.patch(f"/v1/webhooks/{hook['id']}", wrong), 422)
    assert {**hook, "secret": None} == {**await shown(alice, hook), "secret": None}


async def test_ten_are_enough_also_at_once(alice: Client, there: Receiver) -> None:
    answers = await asyncio.gather(*(alice.post("/v1/webhooks", {"url": f"{there.address}/{n}"}) for n in range(14)))
    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [409] * 4


async def test_a_webhook_changes_and_goes(alice: Client, there: Receiver, sender: Sender) -> None:
    hook = await hook_to(alice, there)
    url = f"/v1/webhooks/{hook['id']}"
    sent = {"url": f"{there.address}/elsewhere", "events": ["task.*"], "description": "Kitchen"}
    changed = (await alice.patch(url, sent)).json()
    assert {name: changed[name] for name in sent} == sent
    assert (await alice.patch(url, {})).json() == changed
    assert (await alice.patch(url, {"description": None})).json()["description"] is None
    await alice.add("Figs")
    await tell(sender)
    assert there.got[0].path == "/elsewhere"

    assert (await alice.delete(url)).status_code == 204
    await alice.add("Dates")
    await tell(sender)
    assert len(there.got) == 1
    for answer in (await alice.get(url), await alice.delete(url), await alice.patch(url, {"enabled": True})):
        assert_problem(answer, 404)


async def test_nobody_is_told_of_what_another_does(alice: Client, bob: Client, there: Receiver, sender: Sender) -> None:
    await hook_to(alice, there)
    await bob.add("Bob's")
    await tell(sender)
    assert there.got == []


async def test_whose_account_is_disabled_or_ends_is_told_nothing(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    await hook_to(alice, there)
    await alice.add("Figs")
    for column in ("disabled_at", "ends_at"):
        await sql(state, f"UPDATE users SET {column} = clock_timestamp()")
        await tell(sender)
        await sql(state, f"UPDATE users SET {column} = NULL")
    assert there.got == []
    await tell(sender)
    assert len(there.got) == 1


async def test_a_new_webhook_is_not_told_of_what_was_before(alice: Client, there: Receiver, sender: Sender) -> None:
    await alice.add("Before")
    await hook_to(alice, there)
    await tell(sender)
    assert there.got == []


async def test_what_is_done_to_webhooks_is_in_the_trail(alice: Client, there: Receiver) -> None:
    hook = await hook_to(alice, there)
    await alice.patch(f"/v1/webhooks/{hook['id']}", {"url": f"{there.address}/x"})
    await alice.post(f"/v1/webhooks/{hook['id']}/secret", {})
    await alice.delete(f"/v1/webhooks/{hook['id']}")

    events = (await alice.get("/v1/me/audit")).json()["items"]
    kinds = [each["kind"] for each in events if each["kind"].startswith("webhook")]
    assert kinds == ["webhook_deleted", "webhook_changed", "webhook_changed", "webhook_created"]
    assert "whsec" not in json.dumps(events)


async def test_with_nothing_to_do_the_database_is_left_alone(
    alice: Client, there: Receiver, sender: Sender, state: State, statements: Statements
) -> None:
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
