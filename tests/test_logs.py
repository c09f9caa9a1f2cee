"""Log lines: what they tell of a request, and what they never do."""

import json
import logging
import re
import sys
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.exc import DataError

from backend.config import Settings
from backend.state import State
from backend.telemetry import logs
from tests.client import Client, fresh_account
from tests.conftest import settings_for, worker
from tests.logged import Lines, lines, listening

__all__ = ["lines"]


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/tags", "/v1/tasks/x", "/nothing", "/health/live", "/docs"])
async def test_every_answer_names_its_request(alice: Client, path: str) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        first, second = [(await alice.call(method, path)).headers.get_list("X-Request-ID") for _ in range(2)]
        assert len(first) == len(second) == 1
        assert re.fullmatch(r"[0-9a-f]{32}", first[0])
        assert first != second


@pytest.mark.parametrize("sent", ["a-proxy.s_own-ID", "x" * 8, "y" * 64])
async def test_a_name_that_a_proxy_gave_is_kept(http: httpx.AsyncClient, sent: str) -> None:
    assert (await http.get("/health/live", headers={"X-Request-ID": sent})).headers["X-Request-ID"] == sent


@pytest.mark.parametrize(
    "sent", ["", "short", "z" * 65, "two words here", "$(reboot)$(reboot)", 'a"b"c"d"e"f', "é" * 9]
)
async def test_a_name_that_could_do_harm_where_it_is_written_is_not_taken(http: httpx.AsyncClient, sent: str) -> None:
    answer = await http.get("/health/live", headers=[(b"X-Request-ID", sent.encode())])

    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


async def test_all_lines_of_a_request_have_its_name(http: httpx.AsyncClient, state: State, lines: Lines) -> None:
    """Those too that are written when it was answered."""
    form = {"username": "nobody@example.com", "password": "wrong"}
    answer = await http.post("/v1/auth/token", data=form)
    await state.later.settled()

    (told,) = lines.of("tend.audit")
    assert told["request_id"] == answer.headers["X-Request-ID"]


@pytest.fixture
def lined(database_url: str, tmp_path: Path) -> Settings:
    return settings_for(database_url, tmp_path, access_log=True)


async def test_a_request_s_line_has_its_figures_and_no_words_of_people(
    lined: Settings, state: State, lines: Lines
) -> None:
    async with worker(lined) as (_, http):
        alice = await fresh_account(http, state, "alice")
        task = await alice.add("Water the figs")
        written = [
            await alice.get("/v1/tasks", params={"search": "figs", "tags": "secret"}),
            await alice.get(f"/v1/tasks/{task['id']}"),
            await alice.call("HEAD", f"/v1/tasks/{task['id']}"),
            await http.get("/figs/of/lovelace"),
            await http.request("FIGS", "/v1/tasks"),
        ]
        told = lines.of("tend.access")[1:]

    assert [(line["method"], line["route"], line["status"]) for line in told] == [
        ("GET", "/v1/tasks", 200),
        ("GET", "/v1/tasks/{task_id}", 200),
        ("HEAD", "/v1/tasks/{task_id}", 200),
        ("GET", "unknown", 404),
        ("OTHER", "/v1/tasks", 405),
    ]
    figures = {"ms", "statements", "statement_ms", "bytes", "user", "method", "route", "status"}
    assert set(told[0]) == figures | {"at", "level", "logger", "event", "request_id"}
    assert [line["bytes"] for line in told] == [len(answer.content) for answer in written]
    assert told[1]["statements"] == 1
    assert told[1]["ms"] > told[1]["statement_ms"] > 0
    assert told[3]["statements"] == 0
    access = "\n".join(map(json.dumps, told))
    for words in ("figs", "secret", "lovelace", task["id"], str(alice.user_id), alice.user_id.hex, alice.token):
        assert words not in access


async def test_a_user_has_one_pseudonym_under_one_secret(
    database_url: str, tmp_path: Path, lined: Settings, state: State, lines: Lines
) -> None:
    other = Settings(_env_file=None, **{**lined.model_dump(), "jwt_secret": "another secret of the tests, long enough"})
    async with worker(lined) as (_, http):
        alice, bob = [await fresh_account(http, state, name) for name in ("alice", "bob")]
        for each in (alice, alice, bob):
            await each.get("/v1/me")
        script = (await alice.post("/v1/me/tokens", {"name": "x", "scopes": ["tasks:read"]})).json()
    async with worker(other) as (_, http):
        await Client(http, alice.user_id, script["token"], alice.email).get("/v1/tasks")

    mine, again, theirs, _, elsewhere = [line["user"] for line in lines.of("tend.access")]
    assert mine == again
    assert len({mine, theirs, elsewhere}) == 3


async def test_without_the_setting_a_request_leaves_no_line(alice: Client, lines: Lines) -> None:
    await alice.get("/v1/tasks")

    assert lines.of("tend.access") == []


WORDS = "The figs of Ada"


def broken(app: FastAPI, state: State) -> None:
    """A route that fails as one with a bug would, with people's words in each error."""

    async def route() -> None:
        try:
            async with state.database.engine.connect() as connection:
                await connection.exec_driver_sql(f"SELECT '{WORDS}'::uuid")
        except DataError as error:
            raise ValueError(WORDS) from error.orig

    app.add_api_route("/broken", route)


async def test_an_unexpected_error_is_logged_with_its_trace_and_without_words(
    lined: Settings, state: State, lines: Lines
) -> None:
    async with worker(lined) as (app, http):
        broken(app, state)
        answer = await http.get("/broken?figs=figs")
    (told,) = lines.of("tend")

    assert answer.status_code == 500
    assert told["request_id"] == answer.headers["X-Request-ID"]
    assert told["level"] == "error"
    assert "in route" in told["exception"]
    assert "ValueError" in told["exception"]
    assert "psycopg.errors.InvalidTextRepresentation: 22P02" in told["exception"]
    assert "figs" not in lines.text


async def test_an_error_that_was_answered_is_not_raised_again_for_the_server_to_log(
    lined: Settings, state: State
) -> None:
    async with worker(lined) as (app, _):
        broken(app, state)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tend") as http:
            assert (await http.get("/broken")).status_code == 500


async def test_development_shows_what_an_error_says(lined: Settings, state: State) -> None:
    with listening(words=True) as lines:
        async with worker(lined) as (app, http):
            broken(app, state)
            await http.get("/broken")

        assert f"ValueError: {WORDS}" in lines.of("tend")[0]["exception"]


def test_of_a_group_of_errors_each_is_named() -> None:
    group = ExceptionGroup("figs", [ValueError("figs"), KeyError("figs")])

    told = logs.without_values((type(group), group, None))

    assert "ValueError" in told
    assert "KeyError" in told
    assert "figs" not in told


@pytest.mark.parametrize(
    ("given", "as_json", "words"),
    [
        ({}, False, True),
        ({"log_format": "json"}, True, True),
        ({"environment": "production"}, True, False),
        ({"environment": "production", "log_format": "text"}, False, False),
    ],
)
def test_production_writes_json_and_development_lines_for_people(
    tmp_path: Path, given: dict[str, str], as_json: bool, words: bool
) -> None:
    config = logs.config(settings_for("postgresql://x@127.0.0.1/x", tmp_path, **given))
    chosen = {**config["formatters"]["default"]}

    assert chosen.pop("()") == "backend.telemetry.logs.formatter"
    assert chosen == {"as_json": as_json, "words": words}


def test_a_line_of_any_logger_is_one_json_object_whatever_it_holds() -> None:
    try:
        raise RuntimeError(WORDS)
    except RuntimeError:
        raised = sys.exc_info()
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, 'one\n"two" %s', ("\u2028 \x00",), raised)

    line = logs.formatter(as_json=True, words=False).format(record)

    assert "\n" not in line
    told = json.loads(line)
    assert (told["logger"], told["level"], told["event"]) == ("uvicorn.error", "error", 'one\n"two" \u2028 \x00')
    assert "RuntimeError" in told["exception"]
    assert WORDS not in line
