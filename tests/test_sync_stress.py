"""Threads with the blocking client while connections are killed, directly and through PgBouncer."""

from pathlib import Path

import pytest

from tests.pooler import PROGRAM, needs_pgbouncer
from tests.sync_stress import serving_on, stress

pytestmark = pytest.mark.long


@pytest.mark.parametrize("pooler", ["", pytest.param(PROGRAM, marks=needs_pgbouncer)], ids=["direct", "pgbouncer"])
def test_devices_that_synchronise_while_connections_are_killed_lose_and_double_nothing(
    tmp_path: Path, pooler: str
) -> None:
    with serving_on(pooler or None, workers=2) as (served, postgres):
        found = stress(served.url, postgres, users=3, devices=2, seconds=5, kills=True, folder=tmp_path)

    assert found.wrong == []
    assert found.operations > 50
    assert found.kills > 0
