"""How much is measured: all of it, or so little that it only shows that everything runs."""

from collections.abc import Callable
from dataclasses import dataclass

Tick = Callable[[], None]
SMALL, LARGE, HUGE = 1001, 1002, 1003  # users with fewer or more tasks than all others
READERS, WRITERS = range(1, 17), range(17, 33)  # one a connection


@dataclass(frozen=True, slots=True)
class Scale:
    rounds: int = 5
    """Every side has its turn in each; odd, so that one of them is the median."""
    seconds: float = 2.0
    """Of a side's turn."""
    warm_up: float = 1.0
    """Seconds of a side before the rounds of a case."""
    users: int = 200
    each: int = 1_000
    """Tasks of a user."""
    sizes: tuple[int, int, int] = (100, 10_000, 100_000)
    """Tasks of the users SMALL, LARGE and HUGE."""
    tables: tuple[int, int, int] = (10_000, 100_000, 1_000_000)
    """Tasks of all users."""
    page: int = 500
    """Of 20 tasks: the one that is compared with the first."""
    batch_rounds: int = 3
    batch: int = 1_000
    singles: int = 1_000
    growth_rounds: int = 9
    growth_requests: int = 30
    starts: int = 5

    @property
    def special(self) -> dict[int, int]:
        return dict(zip((SMALL, LARGE, HUGE), self.sizes, strict=True))

    def compared(self) -> dict[int, int]:
        """User numbers and their tasks, for the comparison."""
        return {**dict.fromkeys(range(1, self.users + 1), self.each), **self.special}

    def table(self, tasks: int) -> dict[int, int]:
        """As many users as make up a table of so many tasks; the largest has the special ones too."""
        special = self.special if tasks == self.tables[-1] else {}
        users = (tasks - sum(special.values())) // self.each
        return {**dict.fromkeys(range(1, users + 1), self.each), **special}


FULL = Scale()
QUICK = Scale(
    rounds=1,
    seconds=0.2,
    warm_up=0.1,
    users=32,
    each=40,
    sizes=(10, 200, 800),
    tables=(400, 800, 3_000),
    page=30,
    batch_rounds=1,
    batch=100,
    singles=20,
    growth_rounds=1,
    growth_requests=3,
    starts=1,
)
