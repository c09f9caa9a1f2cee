"""One's own account: changed, ended, kept after all, and gone for good."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import create_engine, text, update

from backend.errors import Unavailable
from backend.models import Throttle, User, table
from backend.services import housekeeping, relearning
from backend.state import State
from tests.client import Client, Json, Statements, another_session
from tests.test_access_tokens import made
from tests.test_input import assert_problem
from tests.test_walls import BODIES, hers_of

USERS, THROTTLES = table(User), table(Throttle)
ADA = {"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}
NEW = "a staple is not a horse"


@pytest.fixture
async def ada(http: httpx.AsyncClient) -> Client:
    assert (await http.post("/v1/auth/register", json=ADA)).status_code == 201
    return await signed_in(http)


async def sign_in(http: httpx.AsyncClient, password: str = ADA["password"]) -> httpx.Response:
    return await http.post("/v1/auth/token", data={"username": ADA["email"], "password": password})


async def signed_in(http: httpx.AsyncClient) -> Client:
    token = (await sign_in(http)).json()["access_token"]
    me = await http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    return Client(http, UUID(me.json()["id"]), token, ADA["email"])


async def time_passes(state: State, days: int) -> None:
    async with state.database.engine.connect() as connection:
        await connection.execute(update(USERS).values(ends_at=USERS.c.ends_at - timedelta(days=days)))


def rows_of(url: str, user_id: UUID) -> dict[str, int]:
    """In how many rows of each table somebody is, found in the catalog, so that no table is forgotten."""
    engine = create_engine(url)
    with engine.connect() as connection:
        columns = connection.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND "
                "(column_name = 'user_id' OR (table_name, column_name) = ('users', 'id'))"
            )
        ).all()
        counted = {
            table: connection.execute(
                text(f'SELECT count(*) FROM "{table}" WHERE "{column}" = :u'), {"u": user_id}
            ).scalar_one()
            for table, column in columns
        }
        counted["refresh_tokens"] = connection.execute(text("SELECT count(*) FROM refresh_tokens")).scalar_one()
    engine.dispose()
    return counted


async def test_what_is_sent_changes_and_the_rest_stays(alice: Client) -> None:
    before = (await alice.get("/v1/me")).json()

    changed = await alice.patch("/v1/me", {"name": " Alice L. ", "timezone": "Asia/Tokyo"})

    assert changed.json() == {**before, "name": "Alice L.", "timezone": "Asia/Tokyo"}
    assert (await alice.get("/v1/me")).json() == changed.json()
    assert (await alice.patch("/v1/me", {})).json() == changed.json()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": None},
        {"timezone": "Mars/Olympus"},
        {"timezone": None},
        {"language": "english"},
        *({field: "x"} for field in ("id", "email", "is_verified", "password", "password_hash", "created_at")),
        *({field: None} for field in ("disabled_at", "ends_at", "email_key", "user_id")),
    ],
)
async def test_what_is_not_theirs_to_change_is_refused(alice: Client, wrong: Json) -> None:
    before = (await alice.get("/v1/me")).json()

    assert_problem(await alice.patch("/v1/me", wrong), 422)

    assert (await alice.get("/v1/me")).json() == before


async def test_the_new_time_zone_holds_for_the_next_listing_on_every_device(alice: Client, state: State) -> None:
    other = await another_session(alice.http, state, alice.user_id, alice.email)
    await alice.add("1 May in Tokyo", due_date="2026-04-30T15:00:00Z")
    assert (await other.page(due_date="2026-05-01"))["total"] == 0

    await alice.patch("/v1/me", {"timezone": "Asia/Tokyo"})

    assert (await alice.page(due_date="2026-05-01"))["total"] == 1
    assert (await other.page(due_date="2026-05-01"))["total"] == 1


async def test_another_language_is_that_of_all_tasks_and_each_has_a_new_version(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relearning, "BATCH", 3)
    tasks = await alice.add_many([{"title": f"Die Häuser {n}"} for n in range(8)])
    assert (await alice.page(search="haus"))["total"] == 0

    answer = await alice.patch("/v1/me", {"language": "de"})

    assert answer.json()["language"] == "de"
    assert (await alice.page(search="haus"))["total"] == 8
    items = (await alice.page(limit=100))["items"]
    assert min(task["version"] for task in items) > max(task["version"] for task in tasks)
    assert len({task["version"] for task in items}) == 8
    await alice.add("Ein Haus mehr")
    assert (await alice.page(search="häuser"))["total"] == 9


async def test_ten_changes_of_language_an_hour_are_enough(alice: Client) -> None:
    for n in range(10):
        assert (await alice.patch("/v1/me", {"language": ("de", "en")[n % 2]})).status_code == 200

    assert_problem(await alice.patch("/v1/me", {"language": "de"}), 429)
    assert (await alice.patch("/v1/me", {"name": "Alice"})).status_code == 200


async def test_the_same_language_again_changes_no_task(alice: Client) -> None:
    task = await alice.add("Figs")

    await alice.patch("/v1/me", {"language": "en"})

    assert (await alice.get(f"/v1/tasks/{task['id']}")).json() == task


async def test_what_another_worker_made_meanwhile_is_relearned(alice: Client, state: State) -> None:
    await alice.add("Die Häuser")
    await alice.patch("/v1/me", {"language": "de"})
    async with state.database.engine.connect() as connection:
        await connection.execute(text("UPDATE tasks SET language = 'en', version = version + 100"))
        await connection.execute(text("UPDATE sync_state SET seq = seq + 100"))
    assert (await alice.page(search="haus"))["total"] == 0

    await state.later.settled()  # ten seconds later

    assert (await alice.page(search="haus"))["total"] == 1


async def test_a_changed_password_ends_the_other_sessions_and_leaves_this_one(
    ada: Client, http: httpx.AsyncClient
) -> None:
    other, (script, _) = await signed_in(http), await made(ada, "tasks:read")
    body = {"current_password": ADA["password"], "new_password": NEW}

    assert_problem(await ada.post("/v1/me/password", {**body, "current_password": "wrong"}), 403)
    assert_problem(await ada.post("/v1/me/password", {**body, "new_password": "password"}), 422)
    assert (await ada.post("/v1/me/password", body)).status_code == 204

    assert (await ada.get("/v1/me")).status_code == 200
    assert (await script.get("/v1/tasks")).status_code == 200
    assert_problem(await other.get("/v1/me"), 401)
    assert_problem(await sign_in(http), 401)
    assert (await sign_in(http, NEW)).status_code == 200


async def test_of_two_who_change_the_password_at_once_one_does(ada: Client) -> None:
    answers = await asyncio.gather(
        *(
            ada.post("/v1/me/password", {"current_password": ADA["password"], "new_password": f"{NEW} {n}"})
            for n in range(4)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [204, 403, 403, 403]


async def test_an_account_that_ends_is_signed_out_and_kept_for_two_weeks(ada: Client, http: httpx.AsyncClient) -> None:
    await ada.add("Figs")
    script, _ = await made(ada, "tasks:read")

    answer = await ada.delete("/v1/me")

    assert answer.status_code == 202
    assert list(answer.json()) == ["ends_at"]
    assert_problem(await ada.get("/v1/me"), 401)
    assert_problem(await script.get("/v1/tasks"), 401)
    back = await signed_in(http)
    assert await back.titles() == ["Figs"]
    assert (await script.get("/v1/tasks")).status_code == 200


async def test_who_comes_back_in_time_keeps_everything(ada: Client, http: httpx.AsyncClient, state: State) -> None:
    await ada.delete("/v1/me")
    await time_passes(state, 13)
    back = await signed_in(http)

    await time_passes(state, 20)
    await housekeeping.clean(state.database)

    assert (await back.get("/v1/me")).status_code == 200


async def test_when_the_grace_is_over_nothing_is_left_in_any_table(
    ada: Client, alice: Client, http: httpx.AsyncClient, state: State, database_url: str
) -> None:
    hers = await hers_of(ada, state)
    assert (await ada.patch("/v1/tags/secret", {"color": "#123456"})).status_code == 200
    depends = f"/v1/tasks/{hers['task_id']['id']}/dependencies/{hers['other_id']['id']}"
    assert (await ada.call("PUT", depends)).status_code == 201
    begun = await ada.post("/v1/me/second-factor")
    assert begun.status_code == 201
    assert (await ada.post("/v1/tasks", {"title": "x"}, headers={"Idempotency-Key": '"x"'})).status_code == 201
    assert (await ada.post("/v1/sync", BODIES["POST", "/v1/sync"])).status_code == 200
    async with state.database.engine.connect() as connection:
        for sql in (
            "INSERT INTO recovery_codes (user_id, digest) VALUES (:u, 'x')",
            "INSERT INTO confirmations (digest, user_id, purpose, email, expires_at) "
            "VALUES ('y', :u, 'reset', 'x', now())",
        ):
            await connection.execute(text(sql), {"u": ada.user_id})
    before = rows_of(database_url, ada.user_id)
    assert all(before.values()), before
    others = rows_of(database_url, alice.user_id)

    await ada.delete("/v1/me")
    await time_passes(state, 15)
    assert_problem(await sign_in(http), 401)
    await housekeeping.clean(state.database)

    after = rows_of(database_url, ada.user_id)
    del after["refresh_tokens"], others["refresh_tokens"]
    assert set(after.values()) == {0}, after
    assert {name: count for name, count in rows_of(database_url, alice.user_id).items() if name in others} == others


async def test_what_cannot_be_deleted_now_does_not_keep_the_rest(
    alice: Client, state: State, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(alice, "tasks:read")
    async with state.database.engine.connect() as connection:
        await connection.execute(text("UPDATE access_tokens SET expires_at = now() - interval '31 days'"))
    write = state.database.write

    async def busy(statement: Any, values: Any, **more: Any) -> Any:
        if statement is housekeeping._sessions():
            raise Unavailable("busy")
        return await write(statement, values, **more)

    monkeypatch.setattr(state.database, "write", busy)
    await housekeeping.clean(state.database)

    assert rows_of(database_url, alice.user_id)["access_tokens"] == 0


async def test_one_worker_an_hour_keeps_house(state: State) -> None:
    turns = await asyncio.gather(*(housekeeping.once_an_hour(state.database) for _ in range(5)))

    assert sorted(turns) == [False] * 4 + [True]


async def test_what_is_over_goes_and_what_is_not_stays(
    alice: Client, state: State, statements: Statements, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 1)
    for _ in range(3):
        await made(alice, "tasks:read")
    old = await another_session(alice.http, state, alice.user_id, alice.email)
    async with state.database.engine.connect() as connection:
        (first, *_) = (await alice.get("/v1/me/sessions")).json()["items"]
        await connection.execute(
            text("UPDATE sessions SET ended_at = now() - interval '31 days' WHERE id = :id"), {"id": first["id"]}
        )
        await connection.execute(text("UPDATE audit_events SET at = now() - interval '367 days'"))
        await connection.execute(text("UPDATE access_tokens SET expires_at = now() - interval '31 days'"))
        await connection.execute(text("UPDATE refresh_tokens SET used_at = now() - interval '31 days'"))
    assert (await old.get("/v1/tasks")).status_code in {200, 401}

    await housekeeping.clean(state.database)

    counted = rows_of(database_url, alice.user_id)
    assert (counted["sessions"], counted["audit_events"], counted["refresh_tokens"]) == (1, 0, 0)
    assert counted["access_tokens"] == 0
    assert len(await alice.titles()) == 0
