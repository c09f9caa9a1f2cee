"""What a running service takes of the machine, looked at from outside once a second."""

import math
from dataclasses import dataclass

import psutil

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Look:
    """Megabytes; shares are of one core. Postgres is counted once for what its processes share (PSS)."""

    worker: float
    postgres: float
    worker_cores: float
    postgres_cores: float
    files: int
    """That the worker has open: connections of clients and to the database, mostly."""


class Watch:
    def __init__(self, worker: int, postmaster: int) -> None:
        self._workers = [psutil.Process(worker), *psutil.Process(worker).children(recursive=True)]
        self._workers = [each for each in self._workers if "python" in each.name()]
        self._postmaster = psutil.Process(postmaster)
        self._spent: dict[int, float] = {}

    def look(self, seconds: float) -> Look:
        """`seconds` since the last one."""
        postgres = [self._postmaster, *self._postmaster.children(recursive=True)]
        return Look(
            worker=sum(each.memory_info().rss for each in self._workers) / MEGABYTE,
            postgres=sum(_share(each) for each in postgres) / MEGABYTE,
            worker_cores=sum(self._cpu(each) for each in self._workers) / seconds,
            postgres_cores=sum(self._cpu(each) for each in postgres) / seconds,
            files=sum(each.num_fds() for each in self._workers),
        )

    def _cpu(self, process: psutil.Process) -> float:
        """Seconds of a core since the last look."""
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        spent = times.user + times.system
        before, self._spent[process.pid] = self._spent.get(process.pid, spent), spent
        return float(spent - before)


def _share(process: psutil.Process) -> float:
    """The proportional set size; the resident one where the system does not tell."""
    try:
        full = process.memory_full_info()
        return float(getattr(full, "pss", 0) or full.rss)
    except psutil.AccessDenied:
        return float(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0.0


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares, in units of y by unit of x; `nan` of fewer than two."""
    count = len(points)
    if count < 2:
        return math.nan
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
