"""The ledger beside the database, row by row, when everything is well again."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import psycopg

from backend.connection import arguments
from tests.faults.load import Hand
from tests.faults.people import Person


@dataclass
class Compared:
    acknowledged: int = 0  # writes of a row
    found: int = 0
    doubled: int = 0
    said: tuple[str, ...] = ()

    @property
    def lost(self) -> int:
        return self.acknowledged - self.found


def compare(url: str, people: list[Person], hands: list[Hand], maybe: list[list[str]]) -> Compared:
    """`maybe`: the titles of each request whose answer its client did not wait for. All of them are there, or none."""
    with psycopg.connect(**arguments(url), autocommit=True) as connection:
        rows = connection.execute("SELECT user_id, id, title, description, version, deleted_at FROM tasks").fetchall()
        counters = dict(connection.execute("SELECT user_id, seq FROM sync_state").fetchall())
    there = {str(row[1]): row for row in rows}
    titles = Counter(row[2] for row in rows)
    compared = Compared()
    said: list[str] = []
    for hand in hands:
        for task in hand.tasks.values():
            row = there.pop(task.id, None)
            compared.acknowledged += task.writes
            if row is None or row[2:4] != (task.title, task.description) or (row[5] is not None) != task.deleted:
                said.append(f"acknowledged {task}, found {row}")
            else:
                compared.found += task.writes
                if not task.deleted and task.version is not None and row[4] != task.version:
                    said.append(f"changed once more than acknowledged: {task}, found {row}")
                    compared.doubled += 1
    compared.doubled += sum(count - 1 for count in titles.values())
    allowed = {title for group in maybe for title in group}
    extra = [row for row in there.values() if row[2] not in allowed and titles[row[2]] == 1]
    compared.doubled += len(extra)
    said += [f"nobody's: {row}" for row in extra]
    for group in maybe:
        if sum(title in titles for title in group) not in {0, len(group)}:
            said.append(f"half of a request is there: {group}")
            compared.doubled += 1
    said += _of_the_counters(rows, counters, {person.id for person in people})
    compared.said = tuple(said)
    return compared


def _of_the_counters(rows: list[Any], counters: dict[Any, int], people: set[str]) -> list[str]:
    said = []
    versions = Counter((row[0], row[4]) for row in rows)
    said += [f"two rows of one user have the version {version}" for (_, version), n in versions.items() if n > 1]
    said += [f"{row} is newer than its counter" for row in rows if row[4] > counters[row[0]]]
    said += [f"{person} is gone" for person in people - {str(user) for user in counters}]
    return said
