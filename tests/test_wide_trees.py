"""Wide trees in a database without statistics of them: Postgres does not read all of them for each part."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine

from backend.services import falling, projects, task_family, trash_list
from tests.client import Client, fresh_account
from tests.conftest import settings_for, worker
from tests.test_plans import Plan, nodes, plan_for_values

pytestmark = pytest.mark.long  # it makes thousands of rows, one in another

PARTS = 1000
LIVING = {
    "subtasks": task_family.subtasks(False),
    "below": task_family.below(),
    "with_tasks": falling.with_tasks(),
    "nested": projects.nested(),
    "with_projects": falling.with_projects(),
}
IN_TRASH = {
    "back_with_task": falling.back_with_task(),
    "back_with_project": falling.back_with_project(),
    "within": trash_list.listed(True, False),
    "trash": trash_list.listed(False, False),
}


def looked_at(plan: Plan) -> float:
    """Rows: those that were found, and those that did not fit."""
    counted = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    return sum(float(node["Actual Loops"] * node.get(each, 0)) for node in nodes(plan) for each in counted)


@pytest.mark.parametrize("kind", ["tasks", "projects"])
async def test_a_tree_is_read_part_by_part(empty_database: str, tmp_path: Path, kind: str) -> None:
    """In a database of its own: what other tests left in the statistics would decide."""
    async with worker(settings_for(empty_database, tmp_path)) as (app, http):
        await _read_part_by_part(await fresh_account(http, app.state.tend, "alice"), empty_database, kind)


async def _read_part_by_part(alice: Client, database_url: str, kind: str) -> None:
    name = "title" if kind == "tasks" else "name"
    top = (await alice.post(f"/v1/{kind}", {name: "Top"})).json()
    parts = [{name: f"Part {n}", "parent_id": top["id"]} for n in range(PARTS if kind == "tasks" else PARTS // 2)]
    if kind == "tasks":
        await alice.add_many(parts)
    else:
        for part in parts:
            await alice.post("/v1/projects", part)
    named = UUID(top["id"])
    values: dict[str, Any] = {"owner": alice.user_id, "row_id": named, "ids": [named], "within": named, "in_limit": 101}
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:

        def rows(statements: Mapping[str, Any]) -> dict[str, float]:
            by = "ANALYZE, FORMAT JSON"
            return {
                name: looked_at(plan_for_values(connection, statement, explain_by=by, **values))
                for name, statement in statements.items()
            }

        seen = rows(LIVING)
        assert (await alice.delete(f"/v1/{kind}/{top['id']}")).status_code == 204
        seen |= rows(IN_TRASH)
    engine.dispose()

    # All may be read for each of a page's hundred rows, where Postgres takes one index to be as good as the other.
    assert {name: count for name, count in seen.items() if count > 150 * len(parts)} == {}
    assert sum(count >= len(parts) for count in seen.values()) > len(seen) / 2, seen
