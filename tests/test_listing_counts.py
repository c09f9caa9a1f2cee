"""What a listing tells beside its page: facets, and totals that are estimates."""

from collections import Counter
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from backend.main import create_app
from backend.services.task_counts import EXACT_MOST, FACET_MOST
from backend.state import State
from tests.client import Client, Json, Statements, fresh_account
from tests.conftest import settings_for

numbers = count()
ALL_FACETS = "tag,priority,status,project"
RANKED = ["high", "medium", "low"]
TAGS = ["home", "Home", "a b", "ä", "z"]

tasks = st.fixed_dictionaries(
    {
        "title": st.sampled_from(["figs", "lemons", "figs lemons"]),
        "priority": st.sampled_from(RANKED),
        "tags": st.lists(st.sampled_from(TAGS), unique=True, max_size=3),
        "completed": st.booleans(),
        "project_id": st.none() | st.sampled_from(["Home", "Work"]),
    }
)
FITS: dict[str, Any] = {
    "{}": lambda task: True,
    "{'search': 'figs'}": lambda task: "figs" in task["title"],
    "{'search': 'figs -lemons'}": lambda task: task["title"] == "figs",
    "{'search': 'palms'}": lambda task: False,
    "{'tags': 'home'}": lambda task: "home" in task["tags"],
    "{'filter': 'tag:home or priority:low'}": lambda task: "home" in task["tags"] or task["priority"] == "low",
    "{'filter': '-figs', 'status': 'pending'}": lambda task: "figs" not in task["title"] and not task["completed"],
    "{'search': 'figgs', 'fuzzy': 'true'}": lambda task: "figs" in task["title"],
}


def counted(tasks: list[Json]) -> Json:
    """The facets of these tasks."""
    tags = Counter(tag for task in tasks for tag in task["tags"])
    priorities = Counter(task["priority"] for task in tasks)
    completed = sum(task["completed"] for task in tasks)
    projects = Counter(task["project_id"] or "inbox" for task in tasks)
    return {
        "tag": most(tags),
        "priority": [{"value": name, "count": priorities[name]} for name in RANKED],
        "status": [
            {"value": "pending", "count": len(tasks) - completed},
            {"value": "completed", "count": completed},
        ],
        "project": most(projects),
    }


def most(counts: Counter[str]) -> list[Json]:
    return [
        {"value": value, "count": count}
        for value, count in sorted(counts.items(), key=lambda x: (-x[1], x[0].encode()))
    ]


@given(
    some=st.lists(tasks, min_size=1, max_size=12),
    gone=st.integers(0, 3),
    names=st.permutations(ALL_FACETS.split(",")).flatmap(lambda names: st.sampled_from([names, names[:1]])),
    asked=st.sampled_from(list(FITS)),
    limit=st.integers(1, 3),
)
@settings(max_examples=25)
async def test_facets_count_what_is_found_on_all_pages(
    http: httpx.AsyncClient, state: State, some: list[Json], gone: int, names: list[str], asked: str, limit: int
) -> None:
    client = await fresh_account(http, state, f"user{next(numbers)}")
    projects = {name: (await client.project(name))["id"] for name in ("Home", "Work")}
    made = await client.add_many([{**task, "project_id": projects.get(task["project_id"])} for task in some])
    for task in made[:gone]:
        await client.delete(f"/v1/tasks/{task['id']}")
    expected = counted([task for task in made[gone:] if FITS[asked](task)])

    page = await client.page(**eval(asked), facets=",".join(names), limit=limit)

    assert list(page["facets"]) == names
    assert page["facets"] == {name: expected[name] for name in names}


async def test_facets_are_counted_in_the_listings_one_statement(alice: Client, statements: Statements) -> None:
    await alice.add("figs", tags=["home"])
    for extra in ({}, {"search": "figs", "highlight": "true"}, {"search": "figgs", "fuzzy": "true"}, {"page": 9}):
        statements.clear()
        page = await alice.page(facets=ALL_FACETS, filter="tag:home", **extra)

        assert len(statements) == 1, statements
        assert page["facets"]["tag"] == [{"value": "home", "count": 1}]


async def test_facets_go_with_a_cursor_and_stay_the_same_on_the_way(alice: Client) -> None:
    await alice.add_many([{"title": "figs", "tags": ["home"]}] * 3)
    first = await alice.page(facets=ALL_FACETS, limit=1)

    second = await alice.page(facets=ALL_FACETS, limit=1, cursor=first["next_cursor"])

    assert second["facets"] == first["facets"]


async def test_facets_of_nothing_are_nothing_and_zeros(alice: Client, bob: Client) -> None:
    await bob.add("figs", tags=["home"])

    page = await alice.page(facets=ALL_FACETS)

    assert page["facets"] == counted([])


async def test_facets_are_there_only_when_asked_for(alice: Client) -> None:
    assert "facets" not in await alice.page()


async def test_of_many_tags_the_hundred_most_used_are_counted_in_order(alice: Client) -> None:
    most = [{"title": "figs", "tags": [f"tag{n:03}" for n in range(start, start + 20)]} for start in range(0, 120, 20)]
    await alice.add_many([*most, {"title": "figs", "tags": ["tag119", "tag050"]}, {"title": "x", "tags": ["tag119"]}])

    tags = (await alice.page(facets="tag"))["facets"]["tag"]

    assert [(tag["value"], tag["count"]) for tag in tags[:3]] == [("tag119", 3), ("tag050", 2), ("tag000", 1)]
    assert len(tags) == FACET_MOST == 100
    assert tags[-1] == {"value": "tag098", "count": 1}


@pytest.mark.parametrize(
    ("query", "loc"),
    [
        ("facets=", ["query", "facets", 0]),
        ("facets=colour", ["query", "facets", 0]),
        ("facets=tag,", ["query", "facets", 1]),
        ("facets=tag, priority", ["query", "facets", 1]),
        ("facets=Tag", ["query", "facets", 0]),
        ("facets=tag,tag", ["query", "facets"]),
        ("facets=tag&facets=priority", ["query", "facets"]),
        ("facets=tag%00", ["query", "facets", 0]),
        ("count=all", ["query", "count"]),
        ("count=", ["query", "count"]),
        ("count=none&count=none", ["query", "count"]),
    ],
)
async def test_what_cannot_be_counted_is_refused_by_name(alice: Client, query: str, loc: list[str | int]) -> None:
    answer = await alice.get(f"/v1/tasks?{query}")

    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [loc]


async def test_an_estimate_is_exact_where_there_is_little_to_count(alice: Client, statements: Statements) -> None:
    await alice.add_many([{"title": "figs"}] * 3)
    statements.clear()

    page = await alice.page(count="estimate", limit=1)

    assert (page["total"], page["estimated"]) == (3, False)
    assert len(statements) == 1


async def test_only_an_estimate_says_whether_it_is_one(alice: Client) -> None:
    for asked in ({}, {"count": "exact"}, {"count": "none"}):
        assert "estimated" not in await alice.page(**asked)


async def test_a_listing_that_is_not_counted_has_no_total(alice: Client) -> None:
    await alice.add_many([{"title": "figs"}] * 3)

    page = await alice.page(count="none", limit=2)

    assert page["total"] is None
    assert len(page["items"]) == 2
    assert page["next_cursor"]


MANY = 40_000
# Versions from 1, with every 20th in the trash, and filters that hit evenly, in stripes, early or late.
FILL = f"""
INSERT INTO tasks (user_id, id, version, title, title_key, priority, due_date, tags, completed, completed_at,
                   created_at, updated_at, deleted_at)
SELECT :owner, gen_random_uuid(), n, 'figs', 'figs',
       (ARRAY['low', 'medium', 'high'])[1 + n % 3]::priority,
       CASE WHEN n > {MANY} / 2 THEN timestamptz '2031-01-01Z' + n * interval '1 minute' END,
       CASE WHEN n / 1000 % 2 = 0 THEN '["striped"]'::jsonb ELSE '[]' END,
       n % 2 = 0, CASE WHEN n % 2 = 0 THEN now() END, now(), now(), CASE WHEN n % 20 = 0 THEN now() END
FROM generate_series(1, {MANY}) n
"""
ESTIMATED: list[Json] = [
    {},
    {"status": "pending"},
    {"filter": "tag:striped"},
    {"filter": "due:none"},
    {"filter": "has:due is:pending or priority:low"},
]
# What the counter and the versions may look like after years; each is done to what was there before.
YEARS = {
    "as made": "SELECT 1",
    "numbers burned after the last": "UPDATE sync_state SET seq = 1000000000",
    "half changed once more": "UPDATE tasks SET version = version + 40000 WHERE version & 1 = 0",
    "all moved far ahead": "UPDATE tasks SET version = version + 50000000",
}


@pytest.fixture
async def owner_of_many(empty_database: str, tmp_path: Path) -> AsyncIterator[tuple[Client, State]]:
    app = create_app(settings_for(empty_database, tmp_path))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://tend") as http:
            state: State = app.state.tend
            client = await fresh_account(http, state, "many")
            async with state.database.engine.connect() as connection:
                # All that an estimate uses is the index of versions; filling the others would take longest.
                await connection.exec_driver_sql(
                    "DROP INDEX tasks_search, tasks_tags, tasks_created, tasks_title, tasks_priority, tasks_due, "
                    "tasks_due_falling"
                )
                await connection.execute(
                    text(FILL.replace(" :owner", f" '{client.user_id}'")).execution_options(crosses_users="fills")
                )
                await connection.exec_driver_sql(f"UPDATE sync_state SET seq = {MANY}")
                await connection.exec_driver_sql("VACUUM ANALYZE tasks")
            yield client, state


async def test_above_ten_thousand_a_total_is_an_estimate_that_says_so_and_is_near(
    owner_of_many: tuple[Client, State],
) -> None:
    client, state = owner_of_many
    for years, change in YEARS.items():
        async with state.database.engine.connect() as connection:
            await connection.exec_driver_sql(change)
        for asked in ESTIMATED:
            exact = (await client.page(**asked, limit=1))["total"]
            page = await client.page(**asked, limit=1, count="estimate")

            assert exact > EXACT_MOST
            assert isinstance(page["total"], int)
            assert page["estimated"] is True
            assert page["total"] == pytest.approx(exact, rel=0.15), (years, asked)

    few: Json = {"filter": "-tag:striped is:done priority:high due:none"}
    page = await client.page(**few, count="estimate")
    assert (page["total"], page["estimated"]) == (len(await client.walk(**few, limit=200)), False)


async def test_no_page_is_called_the_last_when_the_total_is_an_estimate(
    owner_of_many: tuple[Client, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, state = owner_of_many
    async with state.database.engine.connect() as connection:  # nothing in any slice: the least that it can be
        await connection.exec_driver_sql("UPDATE tasks SET version = version + 40000000 WHERE version > 256")

    answer = await client.get("/v1/tasks", params={"count": "estimate", "filter": "has:due"})

    assert answer.json()["total"] == EXACT_MOST + 1
    assert 'rel="last"' not in answer.headers["Link"]
