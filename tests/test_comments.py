"""Comments on tasks, one by one and listed."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import IntegrityError
from sqlalchemy import select, text, update

from backend.errors import NotFound
from backend.schemas.comments import CommentCreate, CommentPatch
from backend.scope import Scope
from backend.services import comments, relearning
from backend.services.comment_search import COMMENTS
from backend.services.task_criteria import TASKS
from backend.state import State
from backend.wall import OWNER
from tests.client import Client, Json, Statements
from tests.download import end_account
from tests.test_door import rival, rivals_change
from tests.test_export import exported
from tests.test_input import JSON, assert_problem
from tests.test_tasks import ISO


def url(task: Json, comment: Json | str = "") -> str:
    comment_id = comment if isinstance(comment, str) else comment["id"]
    return f"/v1/tasks/{task['id']}/comments" + (f"/{comment_id}" if comment_id else "")


async def say(client: Client, task: Json, body: str, **fields: Any) -> Json:
    answer = await client.post(url(task), {"body": body, **fields})
    assert answer.status_code == 201, answer.text
    comment: Json = answer.json()
    return comment


async def listed(client: Client, task: Json, query: str = "") -> Json:
    answer = await client.get(f"{url(task)}{query}")
    assert answer.status_code == 200, answer.text
    page: Json = answer.json()
    return page


async def bodies(client: Client, task: Json, query: str = "") -> list[str]:
    return [comment["body"] for comment in (await listed(client, task, query))["items"]]


async def test_a_comment_comes_back_as_it_was_sent(alice: Client) -> None:
    task = await alice.add("Water the figs")
    answer = await alice.post(url(task), {"body": "  New leaves!\n\n  Two of them. \n"})
    comment = answer.json()

    assert answer.status_code == 201
    assert list(comment) == ["id", "task_id", "body", "version", "created_at", "updated_at"]
    assert (comment["task_id"], comment["body"]) == (task["id"], "New leaves!\n\n  Two of them.")
    assert comment["created_at"] == comment["updated_at"]
    assert ISO.fullmatch(comment["created_at"])
    assert answer.headers["Location"] == url(task, comment)
    assert answer.headers["ETag"] == f'"{comment["version"]}"'
    assert (await alice.get(answer.headers["Location"])).json() == comment
    assert (await alice.get(f"/v1/tasks/{task['id']}")).json() == task


@pytest.mark.parametrize("body", ["x", "x" * 10_000, "🍋" * 10_000, '"quoted" \\ 👩‍👩‍👧‍👦 \u2028 <b>'])
async def test_what_is_just_allowed_is_kept(alice: Client, body: str) -> None:
    task = await alice.add("figs")
    comment = await say(alice, task, body)

    assert (await alice.get(url(task, comment))).json()["body"] == body
    assert await bodies(alice, task) == [body]


REFUSED: dict[str, list[Any]] = {
    "body": ["", "  ", "\n\t", "x" * 10_001, None, 5, True, ["a"], {}, "a\0b", "a\ud800b"],
    "id": ["x", "urn:uuid:01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55", "01997f3e5a2b7c319d048b1f6f1c2a55", 7],
    **{name: ["2026-01-01T00:00:00Z"] for name in ("created_at", "updated_at", "deleted_at")},
    **{name: ["01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55"] for name in ("task_id", "deleted_with", "user_id")},
    **{name: [1] for name in ("version", "language", "search", "title")},
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in REFUSED.items() for value in values])
async def test_a_comment_that_cannot_be_meant_is_422_and_says_where(alice: Client, field: str, value: Any) -> None:
    task = await alice.add("figs")
    kept = await say(alice, task, "kept")
    wrong = json.dumps({"body": "x", field: value}).encode()

    for answer in (
        await alice.post(url(task), content=wrong, headers=JSON),
        await alice.call("PATCH", url(task, kept), content=json.dumps({field: value}).encode(), headers=JSON),
    ):
        assert [fault["loc"] for fault in assert_problem(answer, 422)["errors"]] == [["body", field]]
    assert (await listed(alice, task))["items"] == [kept]


async def test_a_client_may_bring_the_id_and_only_once(alice: Client, bob: Client) -> None:
    own, task, other = str(uuid4()), await alice.add("figs"), await alice.add("lemons")
    hers, his = await say(alice, task, "x", id=own), await say(bob, await bob.add("his"), "y", id=own)

    assert hers["id"] == his["id"] == own
    for at in (task, other):
        assert "id" in assert_problem(await alice.post(url(at), {"body": "again", "id": own}), 409)["detail"]
    await alice.delete(url(task, own))
    assert (await alice.post(url(task), {"body": "again", "id": own})).status_code == 409


async def test_a_patch_changes_the_body_and_an_empty_one_nothing(alice: Client) -> None:
    task = await alice.add("figs")
    before = await say(alice, task, "first")

    answer = await alice.patch(url(task, before), {"body": " second "})
    after = answer.json()

    assert answer.headers["ETag"] == f'"{after["version"]}"'
    assert after == {
        **before,
        "body": "second",
        "version": after["version"],
        "updated_at": after["updated_at"],
    }
    assert (after["version"], after["updated_at"]) > (before["version"], before["updated_at"])
    assert (await alice.patch(url(task, before), {})).json() == after
    assert await listed(alice, task) == {"items": [after], "next_cursor": None}


async def test_a_stale_if_match_changes_nothing(alice: Client) -> None:
    task = await alice.add("figs")
    comment = await say(alice, task, "first")
    path, stale = url(task, comment), {"If-Match": f'"{comment["version"]}"'}
    assert (await alice.patch(path, {"body": "second"}, headers=stale)).status_code == 200

    for refused in (
        await alice.patch(path, {"body": "third"}, headers=stale),
        await alice.patch(path, {}, headers=stale),
        await alice.delete(path, headers=stale),
    ):
        assert_problem(refused, 412)
    assert await bodies(alice, task) == ["second"]


async def test_of_many_changes_with_the_same_version_one_wins(alice: Client) -> None:
    task = await alice.add("figs")
    comment = await say(alice, task, "first")
    same = {"If-Match": f'"{comment["version"]}"'}

    changes = (alice.patch(url(task, comment), {"body": f"By {n}"}, headers=same) for n in range(6))
    answers = await asyncio.gather(*changes)

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5


@pytest.mark.parametrize("header", ['"{}"', 'W/"{}"', "*", '"0", "{}"'])
async def test_a_comment_that_has_not_changed_is_304_without_a_body(alice: Client, header: str) -> None:
    task = await alice.add("figs")
    comment = await say(alice, task, "same")

    answer = await alice.get(url(task, comment), headers={"If-None-Match": header.format(comment["version"])})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == f'"{comment["version"]}"'


async def refusals(client: Client, task: Json, comment: Json | str) -> list[Json]:
    """All that can be asked about a comment, each refused as not there."""
    answers = [
        await client.call(method, url(task, comment), **body, headers=headers)
        for method, body in (("GET", {}), ("PATCH", {"json": {"body": "x"}}), ("PATCH", {"json": {}}), ("DELETE", {}))
        for headers in ({}, {"If-Match": '"1"'})
    ]
    return [assert_problem(answer, 404) for answer in answers]


async def test_a_deleted_comment_is_gone_like_one_that_never_was(alice: Client) -> None:
    task, other = await alice.add("figs"), await alice.add("lemons")
    comment, elsewhere = await say(alice, task, "old"), await say(alice, other, "there")
    gone = await alice.delete(url(task, comment), headers={"If-Match": f'"{comment["version"]}"'})

    assert (gone.status_code, gone.content) == (204, b"")
    for missing in (comment, str(uuid4()), elsewhere):
        assert {problem["detail"] for problem in await refusals(alice, task, missing)} == {"There is no such comment."}
    assert await listed(alice, task) == {"items": [], "next_cursor": None}
    assert await bodies(alice, other) == ["there"]


async def test_a_task_that_is_not_there_foreign_or_in_the_trash_has_no_comments(alice: Client, bob: Client) -> None:
    foreign, deleted = await bob.add("his"), await alice.add("old")
    his, old = await say(bob, foreign, "his"), await say(alice, deleted, "old")
    await alice.delete(f"/v1/tasks/{deleted['id']}")

    for task, comment in ((foreign, his), (deleted, old), ({"id": str(uuid4())}, old)):
        answers = [await alice.get(url(task)), await alice.post(url(task), {"body": "x"})]
        problems = [assert_problem(answer, 404) for answer in answers] + await refusals(alice, task, comment)
        assert {problem["detail"] for problem in problems} == {"There is no such task."}
    assert await bodies(bob, foreign) == ["his"]


@pytest.mark.parametrize("path", ["x/comments", "batch/comments", "01997f3e-5a2b-7c31-9d04-8b1f6f1c2a55/comments/x"])
async def test_what_is_no_id_is_422(alice: Client, path: str) -> None:
    assert_problem(await alice.get(f"/v1/tasks/{path}"), 422)


@pytest.mark.parametrize(("order", "limit"), [("asc", 1), ("asc", 3), ("desc", 2), ("desc", 5), ("desc", 6)])
async def test_cursors_lead_through_every_comment_in_order(alice: Client, mine: Scope, order: str, limit: int) -> None:
    task, other = await alice.add("figs"), await alice.add("lemons")
    wanted = [(await say(alice, task, f"Comment {n}"))["body"] for n in range(5)]
    await say(alice, other, "elsewhere")
    same = {"created_at": datetime(2026, 5, 1, 12, 0, 0, 1, UTC), "version": COMMENTS.c.version + 1_000}
    some = update(COMMENTS).where(COMMENTS.c.user_id == OWNER, COMMENTS.c.body > "Comment 1")
    await mine.write(some.values(same), {})
    at_once = await bodies(alice, task, f"?order={order}")
    walked: list[str] = []
    cursor = ""

    while True:
        page = await listed(alice, task, f"?order={order}&limit={limit}{cursor}")
        walked += [comment["body"] for comment in page["items"]]
        assert len(page["items"]) <= limit
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
        assert_problem(await alice.get(f"{url(other)}?order={order}{cursor}"), 422)
        turned = "asc" if order == "desc" else "desc"
        assert_problem(await alice.get(f"{url(task)}?order={turned}{cursor}"), 422)

    assert walked == at_once
    assert sorted(walked) == wanted


async def test_the_oldest_come_first_unless_asked_otherwise(alice: Client) -> None:
    task = await alice.add("figs")
    wanted = [(await say(alice, task, f"Comment {n}"))["body"] for n in range(3)]

    assert await bodies(alice, task) == wanted
    assert await bodies(alice, task, "?order=desc") == wanted[::-1]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=", "order=up", "page=2", "limit=1&limit=1"]
)
async def test_what_the_list_cannot_be_asked_is_refused(alice: Client, query: str) -> None:
    problem = assert_problem(await alice.get(f"{url(await alice.add('figs'))}?{query}"), 422)

    assert [fault["loc"] for fault in problem["errors"]] == [["query", query.partition("=")[0]]]


async def test_a_comment_on_a_task_that_a_rival_deletes_first_is_refused(mine: Scope, alice: Client) -> None:
    task = await alice.add("figs")
    task_id, kept = UUID(task["id"]), await say(alice, task, "before")
    async with rival(mine) as connection:
        await rivals_change(connection, mine, task_id, deleted_at=text("now()"))
        waiting = [
            asyncio.create_task(comments.create(mine, task_id, CommentCreate(body="too late"))),
            asyncio.create_task(comments.edit(mine, task_id, UUID(kept["id"]), CommentPatch(body="too late"), None)),
            asyncio.create_task(comments.remove(mine, task_id, UUID(kept["id"]), None)),
        ]
        await asyncio.sleep(0.2)
        assert not any(each.done() for each in waiting)

    for each in waiting:
        with pytest.raises(NotFound, match="no such task"):
            await each
    rows = await mine.read(select(COMMENTS.c.body, COMMENTS.c.deleted_at).where(COMMENTS.c.user_id == OWNER), {})
    assert [tuple(row) for row in rows] == [("before", None)]


async def test_no_comment_stays_when_its_task_is_deleted(alice: Client, mine: Scope) -> None:
    for _ in range(5):
        task = await alice.add("figs")
        writes = [alice.post(url(task), {"body": f"Comment {n}"}) for n in range(6)]
        writes.insert(3, alice.delete(f"/v1/tasks/{task['id']}"))
        answers = await asyncio.gather(*writes)

        assert {answer.status_code for answer in answers} <= {201, 204, 404}
        late = select(COMMENTS.c.id).where(
            COMMENTS.c.user_id == OWNER,
            TASKS.c.user_id == OWNER,
            COMMENTS.c.task_id == TASKS.c.id,
            TASKS.c.deleted_at.is_not(None),
            COMMENTS.c.deleted_at.is_(None),
        )
        assert await mine.read(late, {}) == []


@pytest.mark.parametrize(
    ("values", "constraint"),
    [({"body": ""}, "comments_body_length"), ({"body": "x" * 10_001}, "comments_body_length")],
)
async def test_the_database_itself_refuses_what_no_comment_may_be(
    alice: Client, mine: Scope, values: Json, constraint: str
) -> None:
    comment = await say(alice, await alice.add("figs"), "x")
    this = update(COMMENTS).where(COMMENTS.c.user_id == OWNER).values(version=comment["version"] + 1, **values)

    with pytest.raises(IntegrityError, match=constraint):
        await mine.write(this, {})


async def test_the_database_takes_no_comment_on_another_user_s_task(alice: Client, bob: Client, mine: Scope) -> None:
    comment, his = await say(alice, await alice.add("figs"), "x"), await bob.add("his")
    this = update(COMMENTS).where(COMMENTS.c.user_id == OWNER)

    with pytest.raises(IntegrityError, match="comments_user_id_task_id_fkey"):
        await mine.write(this.values(version=comment["version"] + 1, task_id=UUID(his["id"])), {})


async def test_comments_are_in_the_export_and_end_with_the_account(alice: Client, mine: Scope, state: State) -> None:
    task = await alice.add("figs")
    comment = await say(alice, task, "first")

    (row,) = (await exported(alice))["comments.json"]
    await end_account(state, alice.user_id)

    assert {name: row[name] for name in comment} == comment
    assert await mine.read(select(COMMENTS.c.id).where(COMMENTS.c.user_id == OWNER), {}) == []


async def test_another_language_is_that_of_the_comments_too(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relearning, "BATCH", 2)
    task = await alice.add("figs")
    made = [await say(alice, task, f"Die Häuser {n}") for n in range(3)]
    assert (await alice.page(search="haus"))["total"] == 0

    await alice.patch("/v1/me", {"language": "de"})

    assert (await alice.page(search="haus"))["total"] == 1
    items = (await listed(alice, task))["items"]
    assert min(comment["version"] for comment in items) > max(comment["version"] for comment in made)


async def test_each_route_sends_what_it_has_to_and_no_more(alice: Client, statements: Statements) -> None:
    task = await alice.add("figs")
    path, other = url(task, await say(alice, task, "x")), url(task, await say(alice, task, "y"))
    under_the_lock = ["UPDATE sync_state"]

    for method, address, body, expected in (
        ("POST", url(task), {"body": "z"}, [*under_the_lock, "FROM tasks", "INSERT INTO comments"]),
        ("GET", url(task), None, ["FROM tasks"]),
        ("GET", path, None, ["FROM tasks"]),
        ("PATCH", path, {"body": "x"}, [*under_the_lock, "FROM tasks", "UPDATE comments"]),
        ("PATCH", path, {}, ["FROM tasks"]),
        ("DELETE", other, None, [*under_the_lock, "FROM tasks", "UPDATE comments"]),
    ):
        statements.clear()
        answer = await alice.call(method, address, **({"json": body} if body is not None else {}))
        assert answer.is_success
        assert len(statements) == len(expected), (method, address, statements)
        assert all(name in sql for name, sql in zip(expected, statements, strict=True)), (method, statements)
