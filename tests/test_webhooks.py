"""Webhooks: what an address is told of, and how one has it told."""

import asyncio
import json
from datetime import timedelta
from uuid import uuid4

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from backend.config import Settings
from backend.services.delivering import Sender
from backend.state import State
from tests.client import Client, Json
from tests.conftest import worker
from tests.hooks import deliveries, hook_to, later, sender, shown, sql, tell, there
from tests.receiver import Receiver
from tests.test_input import assert_problem

__all__ = ["sender", "there"]  # fixtures


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


async def test_a_renewed_secret_signs_beside_the_former_for_a_day(
    alice: Client, there: Receiver, sender: Sender, state: State
) -> None:
    hook = await hook_to(alice, there)
    renewed = await alice.post(f"/v1/webhooks/{hook['id']}/secret")
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
        {"version": 3},
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


async def test_what_was_sent_is_shown_to_whoever_may_read_tasks(alice: Client, there: Receiver, sender: Sender) -> None:
    hook = await hook_to(alice, there)
    await alice.add("Secret")
    await tell(sender)
    [delivery] = (await deliveries(alice, hook))["items"]
    url = f"/v1/webhooks/{hook['id']}/deliveries/{delivery['id']}"
    for scopes, status in ((["account"], 403), (["tasks:read"], 403), (["account", "tasks:read"], 200)):
        token = (await alice.post("/v1/me/tokens", {"name": "x", "scopes": scopes})).json()["token"]
        answer = await Client(alice.http, alice.user_id, token, "").get(url)
        assert answer.status_code == status, scopes
        assert ("Secret" in answer.text) == (status == 200)


async def test_a_task_that_is_made_completed_is_completed_and_one_that_is_opened_again_is_not(
    alice: Client, there: Receiver, sender: Sender
) -> None:
    await hook_to(alice, there, "task.completed")
    task = await alice.add("Done already", completed=True)
    await tell(sender)
    assert there.types == ["task.completed"]
    await alice.patch(f"/v1/tasks/{task['id']}", {"completed": False})
    await tell(sender)
    await alice.patch(f"/v1/tasks/{task['id']}", {"title": "Another title"})
    await tell(sender)

    assert there.types == ["task.completed"]
