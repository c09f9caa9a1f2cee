"""A task of a thousand parts, in a database without statistics of them: Postgres does not read all for each part."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine

from backend import statements
from backend.services import falling, task_family, trash_list
from tests.client import Client
from tests.test_plans import Plan, nodes, plan_for_values

PARTS = 1000
LIVING = {
    "subtasks": task_family.subtasks(False),
    "below": task_family.below(),
    "with_tasks": falling.with_tasks(),
}
IN_TRASH = {
    "back_with_task": falling.back_with_task(),
    "within": trash_list.listed(True, False),
    "trash": trash_list.listed(False, False),
}


def looked_at(plan: Plan) -> float:
    """Rows: those that were found, and those that did not fit."""
    counted = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    return sum(float(node["Actual Loops"] * node.get(each, 0)) for node in nodes(plan) for each in counted)


async def test_a_tree_is_read_part_by_part(alice: Client, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "checked", lambda statement: statement)
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
    top = await alice.add("Top")
    await alice.add_many([{"title": "Part", "parent_id": top["id"]} for _ in range(PARTS)])
    named = UUID(top["id"])
    values: dict[str, Any] = {"owner": alice.user_id, "row_id": named, "ids": [named], "within": named, "in_limit": 101}
    seen = {}
    with engine.connect() as connection:
        for wanted in (LIVING, IN_TRASH):
            for name, statement in wanted.items():
                plan = plan_for_values(connection, statement, explain_by="ANALYZE, FORMAT JSON", **values)
                seen[name] = looked_at(plan)
            assert (await alice.delete(f"/v1/tasks/{top['id']}")).status_code == (204 if wanted is LIVING else 404)
    engine.dispose()

    # All may be read for each of a page's hundred rows, where Postgres takes one index to be as good as the other.
    assert {name: rows for name, rows in seen.items() if rows > 300 * PARTS} == {}
    assert all(rows >= PARTS for rows in seen.values()), seen
