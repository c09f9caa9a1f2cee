"""The faults by name, in the order in which they run."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from tests.faults.stage import Run

Work = Callable[[Run], Awaitable[None]]


class Fault(NamedTuple):
    name: str
    title: str
    attempts: int
    work: Work


FAULTS: Final[dict[str, Fault]] = {}


def fault(name: str, title: str, attempts: int) -> Callable[[Work], Work]:
    def known(work: Work) -> Work:
        FAULTS[name] = Fault(name, title, attempts, work)
        return work

    return known
