"""The time that listings are asked at, for tests: the listing's own clock and no other."""

from datetime import UTC, datetime
from typing import Any

import pytest

from backend.services import listing


def stop_at(patch: pytest.MonkeyPatch, moment: str) -> None:
    """`moment` is ISO 8601 with an offset; again with another moment lets time pass."""
    there = datetime.fromisoformat(moment).astimezone(UTC)

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return there.astimezone(tz)

    patch.setattr(listing, "datetime", Stopped)
