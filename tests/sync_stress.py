"""Devices of many users synchronise at once while connections are killed: `make stress`, or `--help`.

Every device is a thread with the blocking client and a store in a file. In the end all devices of a user must have come
to the same, and each change must have been done once, or its device told why not.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import make_url

from backend.connection import arguments
from tend_client import Offline, Problem, Store, Tend, Unreachable
from tests.faults.stage import SECRET, Postgres
from tests.pooler import PROGRAM, pgbouncer
from tests.served import Served, serving
from tests.sync_checks import rows_of

KILL_SECONDS = 0.4
AT_ONCE = 8  # operations between two synchronisations, at most
PASSWORD = "three words, and unusual ones"
GIVEN = """SELECT changes->'title'->>1, count(*) FROM activity WHERE changes->'title' IS NOT NULL GROUP BY 1"""
console = Console(highlight=False)


@dataclass
class Found:
    operations: int = 0
    seconds: float = 0.0
    kills: int = 0
    broken: int = 0  # synchronisations that were broken off, and went on later
    wrong: list[str] = field(default_factory=list)


class Hand(threading.Thread):
    """One device."""

    def __init__(self, name: str, tend: Tend, store: Store) -> None:
        super().__init__(name=name)
        self.offline = Offline(tend, store)
        self.ends = 0.0  # monotonic
        self.chance = random.Random(name)
        self.values: set[str] = set()
        self.created: dict[str, str] = {}
        self.done = self.broken = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while time.monotonic() < self.ends:
                for _ in range(self.chance.randint(1, AT_ONCE)):
                    self.act()
                self.synchronise()
        except Exception as error:
            self.failure = error

    def act(self) -> None:
        store, value = self.offline.store, f"{self.name}.{len(self.values)}"
        tasks = store.all("tasks")
        what = self.chance.random()
        if what < 0.3 or not tasks:
            self.created[store.create("tasks", title=value)] = value
            self.values.add(value)
        elif what < 0.8:
            store.update("tasks", self.chance.choice(tasks)["id"], title=value)
            self.values.add(value)
        elif what < 0.95:
            store.complete(self.chance.choice(tasks)["id"])
        else:
            store.delete("tasks", self.chance.choice(tasks)["id"])

    def synchronise(self) -> int:
        try:
            report = self.offline.sync()
        except (Problem, Unreachable) as error:
            if isinstance(error, Problem) and error.status != 503:
                raise
            self.broken += 1
            return 1
        self.done += report.sent
        return report.received


def stress(url: str, postgres: Postgres, users: int, devices: int, seconds: float, kills: bool, folder: Path) -> Found:
    """`url` is where Tend is."""
    found, hands = Found(), list[Hand]()
    with ExitStack() as stack:
        hands += _hands(url, users, devices, folder, stack)
        _worked(found, hands, postgres, seconds, kills)
        _settled(found, hands, users)
        found.wrong += list(wrong_with(hands, postgres))
    return found


def _hands(url: str, users: int, devices: int, folder: Path, stack: ExitStack) -> Iterator[Hand]:
    for user in track(range(users), f"{users} accounts", console=console, transient=True):
        email = f"stress{user}.{time.monotonic_ns()}@example.com"
        for device in range(devices):
            tend = stack.enter_context(Tend(url, tries=2))
            if device == 0:
                tend.register(email, PASSWORD, "Stress")
            tend.sign_in(email, PASSWORD)
            store = Store(folder / f"{users}.{user}.{device}.sqlite")
            stack.callback(store.close)
            yield Hand(f"{users}x{user}-{device}", tend, store)


def _worked(found: Found, hands: list[Hand], postgres: Postgres, seconds: float, kills: bool) -> None:
    began = time.monotonic()
    for hand in hands:
        hand.ends = began + seconds
        hand.start()
    while kills and time.monotonic() < began + seconds:
        time.sleep(KILL_SECONDS)
        found.kills += postgres.terminate()
    for hand in hands:
        hand.join()
    found.seconds = time.monotonic() - began
    found.operations = sum(hand.done for hand in hands)
    found.broken = sum(hand.broken for hand in hands)
    found.wrong += [f"{hand.name}: {hand.failure!r}" for hand in hands if hand.failure]


def _settled(found: Found, hands: list[Hand], users: int) -> None:
    for user in range(users):
        theirs = [hand for hand in hands if hand.name.startswith(f"{users}x{user}-")]
        while any([hand.synchronise() or hand.offline.store.pending() for hand in theirs]):  # noqa: C419 - each of them
            pass
        if len({str(rows_of(hand.offline.store)) for hand in theirs}) != 1:
            found.wrong.append(f"the devices of user {user} have come to different states")


def wrong_with(hands: list[Hand], postgres: Postgres) -> Iterator[str]:
    """What was lost or doubled, by what the activity tells."""
    with psycopg.connect(**arguments(postgres.cluster.url) | {"dbname": "stress"}, autocommit=True) as connection:
        times = Counter(dict(connection.execute(GIVEN).fetchall()))
        there = {str(row[0]) for row in connection.execute("SELECT id FROM tasks").fetchall()}
    for hand in hands:
        notices = hand.offline.store.notices()
        told = {notice["lost"].get("title") for notice in notices if notice["kind"] == "conflict"}
        told |= {notice["operation"]["set"].get("title") for notice in notices if notice["kind"] == "rejected"}
        made = {value for row_id, value in hand.created.items() if row_id in there}
        for value in hand.values:
            if times[value] > 1:
                yield f"{value} was done {times[value]} times"
            if not times[value] and value not in told | made:
                yield f"{value} was neither done nor told of"


@contextmanager
def serving_on(pooler: str | None, workers: int) -> Iterator[tuple[Served, Postgres]]:
    """Tend on a Postgres of its own, in a temporary folder."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tend-stress-")))
        folder.chmod(0o711)  # for PgBouncer, where root runs this and it runs as nobody
        (data := folder / "tend").mkdir()
        postgres = Postgres(folder)
        postgres.start()
        stack.callback(postgres.stop, "immediate")
        with psycopg.connect(**arguments(postgres.cluster.url), autocommit=True) as connection:
            connection.execute("CREATE DATABASE stress")
        direct = make_url(postgres.cluster.url).set(database="stress")
        where = {"DIRECT_DATABASE_URL": direct.render_as_string(hide_password=False)}
        where |= {"DATABASE_URL": where["DIRECT_DATABASE_URL"], "WEB_CONCURRENCY": str(workers)}
        if pooler:
            bouncer = stack.enter_context(pgbouncer(pooler, where["DIRECT_DATABASE_URL"]))
            where["DATABASE_URL"] = bouncer.url(where["DIRECT_DATABASE_URL"])
        yield stack.enter_context(serving(data, command=None, JWT_SECRET=SECRET, **where)), postgres


def main() -> int:
    parser = argparse.ArgumentParser(prog="make stress", description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[1, 16], help="how many at once; several: one by one")
    parser.add_argument("--devices", type=int, default=2, help="of each user")
    parser.add_argument("--seconds", type=float, default=20, help="of each round")
    parser.add_argument("--workers", type=int, default=1, help="of the server")
    parser.add_argument("--pooler", default=PROGRAM, help="pgbouncer's path; empty: only directly")
    parser.add_argument("--calm", action="store_true", help="nothing is killed")
    asked = parser.parse_args()
    table = Table("way", "users", "operations/s", "broken off", "killed", "lost or doubled")
    wrong: list[str] = []
    for pooler in [None, asked.pooler] if asked.pooler else [None]:
        with tempfile.TemporaryDirectory() as name, serving_on(pooler, asked.workers) as (served, postgres):
            for users in asked.users:
                way = "PgBouncer" if pooler else "direct"
                with console.status(f"{way}, {users} users, {asked.seconds:g} s"):
                    found = stress(
                        served.url, postgres, users, asked.devices, asked.seconds, not asked.calm, Path(name)
                    )
                rate = f"{found.operations / found.seconds:.0f}"
                table.add_row(way, str(users), rate, str(found.broken), str(found.kills), str(len(found.wrong)))
                wrong += found.wrong
    console.print(table)
    for each in wrong[:20]:
        console.print(each)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
