"""Devices, a network that breaks, copies, purges and restores, at random: nothing is lost and nothing done twice.

Over HTTP and with the real client. `SYNC_EXAMPLES=1500 pytest tests/test_sync_property.py` is the long proof.
"""

import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from backend.config import Settings
from backend.state import State
from tend_client import AsyncOffline
from tests import sync_database
from tests.client import fresh_account
from tests.conftest import worker
from tests.over_tcp import listening
from tests.sync_bugs import BUGS
from tests.sync_checks import as_far_as_they_came, at_the_end
from tests.sync_world import Violation, World
from tests.wire import wire_to

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("SYNC_EXAMPLES", "20"))
STEPS = 40
SOON = 300  # examples within which each deliberate mistake is to be found
numbers = count()

Step = Callable[[World, AsyncOffline, int], Awaitable[object] | None]
STEPS_BY_NAME: dict[str, Step] = {
    **{name: getattr(World, name) for name in ("edit", "describe", "create", "complete", "delete", "move", "nest")},
    **{name: getattr(World, name) for name in ("project", "sync", "cut", "cut_commit", "together", "race", "rest")},
    **{name: getattr(World, name) for name in ("restore_from_trash", "replay", "clone", "kill")},
    **{name: getattr(sync_database, name) for name in ("purge", "back_up", "restore")},
}
OFTEN = ("edit", "edit", "edit", "create", "create", "delete", "sync", "sync", "sync", "cut", "together", "race")
NAMES = [*OFTEN, *STEPS_BY_NAME]
drawn: Any = st.tuples(st.sampled_from(NAMES), st.integers(0, 4), st.integers(0, 30))
Made = Callable[[], Awaitable[World]]


@pytest.fixture
async def made(settings: Settings, state: State, tmp_path: Path) -> AsyncIterator[Made]:
    """A world for each example, on one server: between it and its clients, and it and its database, is a wire."""
    assert settings.database_url
    async with (
        wire_to(settings.database_url) as database,
        worker(settings.model_copy(update={"database_url": database.url, "data_dir": tmp_path})) as (app, http),
        listening(app) as address,
        wire_to(address) as way,
    ):

        async def make() -> World:
            user = await fresh_account(http, state, f"user{next(numbers)}")
            await user.add_many([{"title": f"There {n}"} for n in range(4)])
            await user.project("p9")
            return World(state, state.database.engine, user, way, database)

        yield make


async def lived(made: Made, steps: list[tuple[str, int, int]]) -> None:
    """Raises Violation."""
    world = await made()
    try:
        for device in world.devices:
            await world.sync(device)
        for name, who, number in steps:
            done = STEPS_BY_NAME[name](world, world.devices[who % len(world.devices)], number)
            if done is not None:
                await done
            await as_far_as_they_came(world)
        await at_the_end(world)
    finally:
        await world.close()


@given(st.lists(drawn, min_size=STEPS // 2, max_size=STEPS))
@with_settings(max_examples=EXAMPLES)
async def test_nothing_is_lost_and_nothing_done_twice(made: Made, steps: list[tuple[str, int, int]]) -> None:
    await lived(made, steps)


@pytest.mark.parametrize("name", BUGS)
async def test_each_deliberate_mistake_is_found(made: Made, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[name](monkeypatch)
    chance, began = random.Random(name), time.monotonic()
    for tried in range(1, SOON + 1):
        steps = [(chance.choice(NAMES), chance.randrange(5), chance.randrange(31)) for _ in range(STEPS)]
        try:
            await lived(made, steps)
        except Violation as found:
            print(f"{name}: found in {time.monotonic() - began:.1f} s, {tried} examples: {found}")  # noqa: T201
            return
    pytest.fail(f"{name} was not found in {SOON} examples")
