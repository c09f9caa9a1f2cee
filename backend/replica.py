"""A copy of the database that follows it: reads that do not need the newest state may go there."""

import time
from typing import Final

from backend.config import Settings
from backend.db import Database

REST_SECONDS: Final = 5  # that a replica which failed is not asked


class Behind(Exception):
    """The replica has not come to what the request has seen. The primary is asked then; never leaves `scope.py`."""


class Replica:
    """Connections of its own, and half of the patience: there is somebody else to ask."""

    def __init__(self, settings: Settings, url: str) -> None:
        seconds = settings.database_timeout_seconds / 2
        there = settings.model_copy(update={"database_url": url, "database_timeout_seconds": seconds})
        self.database = Database(there, waits=False)
        self._rests_until = 0.0
        self.served = self.behind = self.failed = 0  # requests that it was asked

    @property
    def is_up(self) -> bool:
        return time.monotonic() >= self._rests_until

    def rest(self) -> None:
        self.failed += 1
        self._rests_until = time.monotonic() + REST_SECONDS
