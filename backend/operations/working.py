"""A command at work on the database, for as long as it takes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from backend.state import State
from backend.terminal import database

T = TypeVar("T")


def with_state(work: Callable[[State], Awaitable[T]]) -> T:
    async def run() -> T:
        state = State(settings)
        try:
            return await work(state)
        finally:
            await state.close()

    with database() as settings:
        return asyncio.run(run())
