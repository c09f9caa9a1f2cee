"""Everything that is kept about a user, as a ZIP: all of it, nobody else's, no secret, and never half of it for all."""

import base64
import io
import json
import re
from datetime import datetime
from typing import Any
from uuid import UUID
from zipfile import ZipFile
from zoneinfo import ZoneInfo

import httpx
import pytest
from sqlalchemy import LargeBinary, create_engine, inspect, text
from sqlmodel import SQLModel

from backend.services import export
from backend.state import State
from tests.client import Client, Json, Statements, settled_in
from tests.download import end_account
from tests.test_input import assert_problem

PATH = "/v1/me/export"
SECRETS = {"digest", "hash", "secret", "password_hash", "token"}
HARMLESS = {"activity.token_id"}  # which one it was; nobody is let in with that


async def exported(client: Client) -> dict[str, Any]:
    answer = await client.get(PATH)
    assert answer.status_code == 200, answer.text
    return {name: json.loads(content) for name, content in files_of(answer.content).items()}


def files_of(archive: bytes) -> dict[str, bytes]:
    with ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


async def test_it_is_a_zip_of_json_with_a_file_a_table_and_a_row_a_line(alice: Client) -> None:
    await alice.add("Water the figs", tags=["garden"])
    await alice.add("Prune them", due_date="2026-12-01T18:00:00+01:00")
    await alice.save("Garden", "#garden")

    answer = await alice.get(PATH)

    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Cache-Control"] == "no-store"
    assert re.fullmatch(
        r'attachment; filename="tend-export-\d{4}-\d\d-\d\d\.zip"', answer.headers["Content-Disposition"]
    )
    files = files_of(answer.content)
    assert next(iter(files)) == "account.json"
    assert {"account.json", "filters.json", "sessions.json", "tasks.json"} <= set(files)
    account = json.loads(files["account.json"])
    assert {**account, **(await alice.get("/v1/me")).json()} == account
    assert json.loads(files["filters.json"])[0]["filter"] == "#garden"
    lines = files["tasks.json"].decode().splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("[", "]", 4)
    assert {json.loads(line.rstrip(","))["title"] for line in lines[1:-1]} == {"Water the figs", "Prune them"}


async def test_times_are_written_as_everywhere(alice: Client) -> None:
    task = await alice.add("Prune", due_date="2026-12-01T18:00:00+01:00")

    (row,) = (await exported(alice))["tasks.json"]

    assert row["due_date"] == "2026-12-01T17:00:00.000000Z"
    assert {name: row[name] for name in task} == task


async def test_an_account_with_nothing_in_it_has_empty_files(alice: Client) -> None:
    files = await exported(alice)

    assert (files["tasks.json"], files["filters.json"]) == ([], [])
    assert [session["user_id"] for session in files["sessions.json"]] == [str(alice.user_id)]


async def test_every_task_is_there_once_whatever_it_is_written_in_and_in_the_trash_too(alice: Client) -> None:
    titles = [f'{n} Übersicht 📝 "quoted" \\ עברית \u2028 \t' for n in range(2_500)]
    added: list[Json] = []
    for first in range(0, 2_500, 500):
        added += await alice.add_many([{"title": title} for title in titles[first : first + 500]])
    trash = {task["id"] for task in added[::7]}
    assert (await alice.post("/v1/tasks/batch/delete", {"ids": sorted(trash)})).status_code == 200

    rows = (await exported(alice))["tasks.json"]

    assert sorted(row["id"] for row in rows) == sorted(task["id"] for task in added)
    assert {row["id"]: row["title"] for row in rows} == {task["id"]: task["title"] for task in added}
    assert {row["id"] for row in rows if row["deleted_at"]} == trash


async def test_nothing_of_another_user_is_in_it(alice: Client, bob: Client) -> None:
    await alice.add("Secret", description="secret")
    await alice.save("Secret", "secret")
    await bob.add("Figs")

    hers, his = [(await client.get(PATH)).content for client in (alice, bob)]

    for name, content in files_of(his).items():
        assert str(bob.user_id).encode() in content or content == b"[\n]\n", name
        assert str(alice.user_id).encode() not in content
        assert b"secret" not in content.lower()
    assert str(bob.user_id).encode() not in b"".join(files_of(hers).values())


async def test_no_secret_is_in_it(http: httpx.AsyncClient, state: State) -> None:
    password = "correct horse battery"
    account = {"email": "Ada@EXAMPLE.com", "password": password, "name": "Ada"}
    user_id = (await http.post("/v1/auth/register", json=account)).json()["id"]
    form = {"username": account["email"], "password": password}
    tokens = (await http.post("/v1/auth/token", data=form)).json()
    tokens = (await http.post("/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})).json()
    ada = Client(http, UUID(user_id), tokens["access_token"], account["email"])
    await ada.add("Water the figs")

    everything = b"".join(files_of((await ada.get(PATH)).content).values()).lower()

    async with state.database.engine.connect() as connection:
        hashed = (await connection.execute(text("SELECT password_hash FROM users"))).scalar_one()
        digests = (await connection.execute(text("SELECT digest FROM refresh_tokens"))).scalars().all()
    assert len(digests) == 2
    assert b"water the figs" in everything
    for secret in (hashed, hashed.rsplit("$")[-1], password, tokens["refresh_token"], tokens["access_token"]):
        assert secret.lower().encode() not in everything
    for digest in digests:
        assert digest.hex().encode() not in everything
        assert base64.b64encode(digest).lower() not in everything
    for internal in (b"hash", b"digest", b"_key", b'"search"', b"epoch"):
        assert internal not in everything


def test_every_table_and_every_column_that_looks_like_a_secret_says_whether_it_is_shown(database_url: str) -> None:
    """A new table of a user's is in the export by itself; a new secret is marked, or this fails."""
    shown = {each.name: {column.name for column in export.columns(each)} for each in export.tables()}
    engine = create_engine(database_url)
    catalog = inspect(engine)
    of_users = {
        name
        for name in catalog.get_table_names()
        if any(column["name"] == "user_id" for column in catalog.get_columns(name))
    }
    unmarked = [
        f"{name}.{column['name']}"
        for name, columns in shown.items()
        for column in catalog.get_columns(name)
        if column["name"] in columns
        if SECRETS & {column["name"], *column["name"].split("_")} or isinstance(column["type"], LargeBinary)
    ]
    engine.dispose()

    assert set(unmarked) == HARMLESS
    marked = {name for name, each in SQLModel.metadata.tables.items() if each.info.get("export") is False}
    assert of_users - marked == set(shown) - {"users"}
    assert next(iter(shown)) == "users"


def test_a_table_s_key_may_have_any_number_of_columns() -> None:
    keys = {each.name: [column.name for column in export._keys(each)] for each in export.tables()}

    assert keys["users"] == []
    assert keys["sessions"] == keys["tasks"] == ["id"]
    assert keys["activity"] == ["version"]
    for each in export.tables():  # the wall reads them
        export._page(each, False)
        if keys[each.name]:
            export._page(each, True)


async def test_a_stranger_and_whose_account_is_gone_are_401(
    http: httpx.AsyncClient, alice: Client, state: State
) -> None:
    assert_problem(await http.get(PATH), 401)
    assert (await alice.get(PATH)).status_code == 200
    await end_account(state, alice.user_id)

    assert_problem(await alice.get(PATH), 401)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_the_file_is_named_after_the_user_s_own_day(alice: Client, state: State, zone: str) -> None:
    alice = await settled_in(state, alice, zone, "en")

    before = datetime.now(ZoneInfo(zone)).date()
    answer = await alice.get(PATH)
    after = datetime.now(ZoneInfo(zone)).date()

    named = answer.headers["Content-Disposition"].split("tend-export-")[1].split(".")[0]
    assert named in {str(before), str(after)}
    with ZipFile(io.BytesIO(answer.content)) as archive:
        assert "{:04}-{:02}-{:02}".format(*archive.infolist()[0].date_time) == named


async def test_it_asks_once_for_a_thousand_rows_of_a_table(alice: Client, state: State, statements: Statements) -> None:
    others = len(export.tables()) - 3
    for tasks, pages in ((0, 1), (999, 1), (1, 2), (1, 2)):  # 0, then 999, 1,000 and 1,001 of them
        if tasks:
            await alice.add_many([{"title": f"Task {n}"} for n in range(tasks)])
        await alice.get("/v1/me")  # the token is remembered
        statements.clear()

        await exported(alice)

        account = sum("FROM users" in sql for sql in statements)
        assert account == 2  # at the end again, lest it went away meanwhile
        assert sum("FROM tasks" in sql for sql in statements) == pages
        assert sum("FROM activity" in sql for sql in statements) == pages  # each of them was created
        assert len(statements) == account + others + 2 * pages
