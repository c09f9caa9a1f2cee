"""What a change is called to an address that is told of it, and when one that failed is tried again."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Final, NamedTuple

NOUNS: Final = ("task", "project", "comment", "filter", "dependency", "tag")
DEEDS: Final = ("created", "updated", "completed", "deleted")
EVERYTHING: Final = "*"
RESET, TEST = "reset", "test"
"""Types that come unasked."""
TYPES: Final = tuple(f"{noun}.{deed}" for noun in NOUNS for deed in DEEDS if deed != "completed" or noun == "task")
PATTERNS: Final = (EVERYTHING, *(f"{noun}.*" for noun in NOUNS), *TYPES)
"""What an address can ask for."""


class Change(NamedTuple):
    """What a row has come to, with the versions at which it was created and, if it is, completed: None for unknown."""

    version: int
    deleted: bool
    created_version: int | None
    completed_version: int | None


FIRST: Final = timedelta(seconds=5)
LONGEST: Final = timedelta(hours=6)
GIVEN_UP: Final = timedelta(days=5)
FEWEST_FAILURES: Final = 5
"""An address that has taken nothing for so long, and was asked so often, is switched off."""


def type_of(noun: str, change: Change, settled: int, wanted: Collection[str]) -> str | None:
    """None when it is not wanted. `settled` is the version at which nothing was left to tell.

    A row that was changed again while there was, may have been told of or have escaped to the end: then it is better
    called new twice than never.
    """
    for deed in _deeds(change, settled):
        if not {f"{noun}.{deed}", f"{noun}.*", EVERYTHING}.isdisjoint(wanted):
            return f"{noun}.{deed}"
    return None


def _deeds(change: Change, settled: int) -> Iterator[str]:
    """What it can be called, the most telling first."""
    if change.deleted:
        yield "deleted"
        return
    created = (change.created_version or 0) > settled
    if created:
        yield "created"
    if (change.completed_version or 0) > settled:
        yield "completed"
    if change.version != change.created_version:
        yield "updated"


def wait_after(failures: int) -> timedelta:
    """Before the next try, after so many that failed: four times as long each time."""
    times: int = 4 ** min(failures - 1, 10)
    return min(LONGEST, FIRST * times)
