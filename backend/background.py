"""Work that no answer waits for."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from backend.errors import TendError

MOST_WAITING: Final = 1_000
LAST_SECONDS: Final = 5  # that a worker which stops gives to what is under way

log = logging.getLogger("tend")


class Background:
    """Bounded, and finished before the worker ends. What fails is logged: nobody is there to be told."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()

    def start(self, work: Coroutine[Any, Any, Any], *, after: float = 0) -> None:
        """In so many seconds, or when the worker stops. Lets it go, with a warning, when too much waits already."""
        if not after and len(self._tasks) >= MOST_WAITING:
            log.warning("Too much to do in the background; something was left out")
            work.close()
            return
        task = asyncio.create_task(self._run(work, after))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def waiting(self) -> int:
        return len(self._tasks)

    async def settled(self) -> None:
        """Waits for nothing to come, and until nothing is under way."""
        self._hurry.set()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._hurry.clear()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self.settled()
        except TimeoutError:
            log.warning("Stopped with %d things undone in the background", len(self._tasks))
            for task in self._tasks:
                task.cancel()

    async def _run(self, work: Coroutine[Any, Any, Any], after: float) -> None:
        try:
            if after:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), after)
            await work
        except TendError as error:  # the database is away, say: no bug, and no trace
            log.warning("Not done in the background: %s", error.detail)
        except Exception as error:
            log.error("Something failed in the background", exc_info=error)
        finally:
            work.close()


async def regularly(seconds: float, work: Callable[[], Awaitable[object]], trouble: str) -> None:
    """Again and again, as long as the worker lives. What goes wrong is told once, until it works again."""
    told = False
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
            told = False
        except Exception as error:
            if not told:
                away = isinstance(error, TendError)
                log.warning("%s: %s", trouble, error, exc_info=None if away else error)
            told = True
