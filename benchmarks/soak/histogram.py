"""Times in buckets of equal ratio: a fixed amount of memory however many there are, at an error of 2 % at most."""

from math import ceil, log

RATIO = 1.04
SMALLEST = 0.0001  # seconds; what is faster counts as this
BUCKETS = 400  # up to 10 minutes
_STEP = log(RATIO)


class Histogram:
    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.total = 0
        self.most = 0.0

    def add(self, seconds: float) -> None:
        bucket = int(log(seconds / SMALLEST) / _STEP) if seconds > SMALLEST else 0
        self.counts[min(bucket, BUCKETS - 1)] += 1
        self.total += 1
        self.most = max(self.most, seconds)

    def merge(self, other: "Histogram") -> None:
        self.counts = [mine + more for mine, more in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.most = max(self.most, other.most)

    def at(self, share: float) -> float:
        """The time, in seconds, that so large a share of all did not exceed; 0 when there is none."""
        wanted = ceil(share * self.total)
        passed = 0
        for bucket, count in enumerate(self.counts):
            passed += count
            if count and passed >= wanted:
                return min(self.most, SMALLEST * float(RATIO ** (bucket + 0.5)))
        return 0.0
