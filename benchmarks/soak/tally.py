"""What was answered: by kind for the whole run, and second by second."""

from collections import Counter
from dataclasses import dataclass, field

from benchmarks.soak.client import Answer
from benchmarks.soak.histogram import Histogram

TOLD_MOST = 20  # answers that nobody meant, in full


@dataclass(slots=True)
class Kind:
    times: Histogram = field(default_factory=Histogram)
    statuses: Counter[int] = field(default_factory=Counter)
    errors: int = 0


class Tally:
    def __init__(self) -> None:
        self.kinds: dict[str, Kind] = {}
        self.errors = 0
        self.told: list[str] = []
        self._second = Histogram()

    def note(self, kind: str, answer: Answer, seconds: float, meant: tuple[int, ...]) -> None:
        found = self.kinds.setdefault(kind, Kind())
        found.times.add(seconds)
        found.statuses[answer.status] += 1
        self._second.add(seconds)
        if answer.status not in meant:
            found.errors += 1
            self.errors += 1
            if len(self.told) < TOLD_MOST:
                self.told.append(f"{kind}: {answer.status} {answer.body[:300].decode(errors='replace')}")

    def second(self) -> Histogram:
        """Those since it was asked last."""
        done, self._second = self._second, Histogram()
        return done
