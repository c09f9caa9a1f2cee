"""What a change is called to an address that is told of it, and when one that failed is tried again."""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

NOUNS: Final = ("task", "project", "comment", "filter", "dependency", "tag")
DEEDS: Final = ("created", "updated", "completed", "deleted")
EVERYTHING: Final = "*"
RESET, TEST = "reset", "test"
"""Types that come unasked."""
TYPES: Final = tuple(
    f"{noun}.{deed}"
    for noun in NOUNS
    for deed in DEEDS
    if (deed != "completed" or noun == "task") and (deed != "updated" or noun != "dependency")
)
PATTERNS: Final = (EVERYTHING, *(f"{noun}.*" for noun in NOUNS), *TYPES)
"""What an address can ask for."""

FIRST: Final = timedelta(seconds=5)
LONGEST: Final = timedelta(hours=6)
GIVEN_UP: Final = timedelta(days=5)
"""An address that has taken nothing for so long is switched off."""


def type_of(noun: str, row: Mapping[str, Any] | None, told_at: str, wanted: Collection[str]) -> str | None:
    """Of a row that changed after all that was told, None when it is not wanted.

    A row is as the API shows it, None when it was deleted; `told_at` is the latest `updated_at` that was told of.
    Nothing is written at a time that is older than what was written before it, so a row was created, or completed,
    since then, if that stands behind `told_at`; or at its last change, if a page ended between two of the same time.
    """
    for deed in _deeds(row, told_at):
        if not {f"{noun}.{deed}", f"{noun}.*", EVERYTHING}.isdisjoint(wanted):
            return f"{noun}.{deed}"
    return None


def _deeds(row: Mapping[str, Any] | None, told_at: str) -> Iterator[str]:
    """What it can be called, the most telling first."""
    if row is None:
        yield "deleted"
        return
    created = _is_new(row, "created_at", told_at)
    if created:
        yield "created"
    if row.get("completed") and _is_new(row, "completed_at", told_at):
        yield "completed"
    if not created:
        yield "updated"


def _is_new(row: Mapping[str, Any], field: str, told_at: str) -> bool:
    """Times are in the one form of the API, which sorts as they do."""
    at = str(row[field])
    return at > told_at or at == row["updated_at"]


def wait_after(failures: int) -> timedelta:
    """Before the next try, after so many that failed: four times as long each time."""
    times: int = 4 ** min(failures - 1, 10)
    return min(LONGEST, FIRST * times)
