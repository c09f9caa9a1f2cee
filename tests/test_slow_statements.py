"""Slow statements: told of with their plan, seldom, and never with what people wrote."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Text, and_, bindparam, func, select, update

from backend.db import EXPLAIN, Values
from backend.errors import Unavailable
from backend.models import Task, table
from backend.sql import Sql, sql_of
from backend.state import State
from backend.telemetry import slow
from backend.telemetry.exchange import Exchange, current
from backend.telemetry.slow import lines_of
from backend.wall import OWNER
from tests.client import Client
from tests.conftest import settings_for, worker
from tests.logged import Lines, lines

__all__ = ["lines"]

TASKS = table(Task)
WORDS = "The figs of Ada"


@pytest.fixture
async def own(database_url: str, tmp_path: Path) -> Any:
    async with worker(settings_for(database_url, tmp_path, slow_statement_ms=100, database_timeout_seconds=2)) as found:
        state: State = found[0].state.tend
        yield state


def slowly(seconds: float = 0.15) -> Any:
    """Sleeps once for each task of that title."""
    mine = and_(TASKS.c.user_id == OWNER, TASKS.c.title == bindparam("wanted", type_=Text()))
    return select(func.pg_sleep(seconds)).select_from(TASKS).where(mine)


@pytest.fixture
async def hers(alice: Client) -> dict[str, Any]:
    await alice.add(WORDS)
    return {"owner": alice.user_id, "wanted": WORDS}


async def test_a_slow_statement_is_told_with_its_plan_and_its_request(
    own: State, hers: dict[str, Any], lines: Lines
) -> None:
    before = current.set(Exchange("the-request", "GET", "/v1/tasks", 0.0))
    try:
        await own.database.read(slowly(), hers)
    finally:
        current.reset(before)
    await own.later.settled()

    (told,) = lines.of("tend.slow")
    assert told["event"] == "slow_statement"
    assert told["ms"] >= 150
    assert (told["route"], told["request_id"]) == ("/v1/tasks", "the-request")
    assert "pg_sleep($1" in told["text"]
    assert any("Scan" in line and " on tasks" in line for line in told["plan"])
    assert WORDS not in lines.text
    assert str(hers["owner"]) not in lines.text


async def test_the_plan_is_the_one_for_the_values_and_keeps_none(own: State, hers: dict[str, Any]) -> None:
    """Postgres's own has them: this is what a line must not show."""
    database = own.database
    plan = await database.explain(sql_of(slowly()), hers)

    assert WORDS in str(plan)
    shown = "\n".join(lines_of(plan))
    assert "Scan" in shown
    assert WORDS not in shown
    assert str(hers["owner"]) not in shown


SEARCHES: list[dict[str, str]] = [
    {"search": "figs", "sort": "relevance", "highlight": "true"},
    {"search": '"water figs" or -figs'},
    {"tags": "figs", "any_tags": "figs", "not_tags": "figs", "sort": "title"},
    {"filter": '"figs" or tag:figs', "sort": "due_date"},
]


async def test_searches_have_plans_without_their_words(
    own: State, alice: Client, hers: dict[str, Any], state: State
) -> None:
    """The words stand in conditions, in sorts, and in functions that are read from."""
    seen: list[tuple[Sql, Values]] = []
    state.database.ended.append(watch := lambda sql, values, _seconds, _failure: seen.append((sql, values)))
    for parameters in SEARCHES:
        answer = await alice.get("/v1/tasks", params=parameters)
        assert answer.status_code == 200, answer.text
    state.database.ended.remove(watch)

    plans = [await own.database.explain(sql, values) for sql, values in seen]

    assert len([plan for plan in plans if "fig" in str(plan)]) > 1
    assert not any("fig" in line for plan in plans for line in lines_of(plan))


async def test_a_change_is_planned_and_not_made_again(own: State, hers: dict[str, Any], lines: Lines) -> None:
    twice = update(TASKS).where(TASKS.c.user_id == OWNER).values(version=TASKS.c.version + 1)
    slept = select(func.pg_sleep(0.15).label("nap")).cte("nap")
    await own.database.write(twice.where(select(slept.c.nap).exists()), hers)
    await own.later.settled()

    (row,) = await own.database.read(select(TASKS.c.version).where(TASKS.c.user_id == OWNER), hers)
    assert row.version == 2
    assert any("Update" in line for line in lines.of("tend.slow")[0]["plan"])


async def test_a_statement_s_text_and_plan_come_once_a_minute(own: State, hers: dict[str, Any], lines: Lines) -> None:
    planned = 0

    def count(sql: Sql, *_: Any) -> None:
        nonlocal planned
        planned += sql.text.startswith(EXPLAIN)

    own.database.ended.append(count)
    for _ in range(3):
        await own.database.read(slowly(), hers)
    await asyncio.gather(*(own.database.read(slowly(0.16 + n / 100), hers) for n in range(3)))
    await own.later.settled()

    told = lines.of("tend.slow")
    assert len(told) == 6  # the seconds are a value, and so it is one text
    assert len({line["statement"] for line in told}) == 1
    assert [set(line) & {"text", "plan"} for line in told].count(set()) == 5
    assert planned == 1


async def test_a_plan_is_left_out_where_others_are_being_made(
    own: State, hers: dict[str, Any], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow, "MOST_PLANNING", 0)
    await own.database.read(slowly(), hers)
    await own.later.settled()

    (told,) = lines.of("tend.slow")
    assert "text" in told
    assert "plan" not in told


async def test_only_so_many_statements_are_remembered(
    own: State, hers: dict[str, Any], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow, "MOST_KNOWN", 1)
    for each in (slowly(), slowly().limit(10), slowly()):
        await own.database.read(each, hers)
    await own.later.settled()

    assert ["text" in line for line in lines.of("tend.slow")] == [True, True, True]


async def test_what_never_came_back_is_told_as_well(own: State, hers: dict[str, Any], lines: Lines) -> None:
    with pytest.raises(Unavailable):
        await own.database.read(slowly(5), hers)
    await own.later.settled()

    (told,) = lines.of("tend.slow")
    assert told["ms"] >= 1500
    assert told["plan"]


async def test_zero_turns_it_off(database_url: str, tmp_path: Path, hers: dict[str, Any], lines: Lines) -> None:
    async with worker(settings_for(database_url, tmp_path, slow_statement_ms=0)) as (app, _):
        await app.state.tend.database.read(slowly(0.6), hers)

    assert lines.of("tend.slow") == []
