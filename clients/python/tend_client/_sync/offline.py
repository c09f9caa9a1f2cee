# Made of ../_async by `make client`: what is changed here is lost.
"""Work without a connection: a store, and how it is brought up to date."""

from collections.abc import Generator
from contextlib import closing

from tend_client._sync.client import Tend
from tend_client.errors import OutOfStep, TendError
from tend_client.store import Report, Store
from tend_client.waiting import Lock

FORKS = 3


class Offline:
    """A store of one account, and the server that it follows. Read and write by `store`, whenever you like.

    `limit` is how many changes come with one answer, 500 at most.
    """

    def __init__(self, tend: Tend, store: Store, *, limit: int = 500) -> None:
        self.tend = tend
        self.store = store
        self._limit = limit
        self._turn = Lock()

    def follow(self) -> Generator[Report]:
        """Synchronises now, and again whenever something has changed elsewhere: what each of them did. Without end.

        What is done to the store meanwhile goes out with the next one: call `sync` for it to go at once.
        """
        with closing(self.tend.events()) as events:
            for _ in events:
                yield self.sync()

    def sync(self) -> Report:
        """Sends what waits and takes what is new, page by page, until neither is left.

        May be broken off anywhere, and called again: what was stored is whole, and what was not is asked for again.
        Raises Problem and Unreachable; what waits, waits on.
        """
        report = Report()
        with self._turn:
            while True:
                outgoing = self.store.outgoing()
                try:
                    answer = self.tend.synchronise({**outgoing.body, "limit": self._limit})
                except OutOfStep:
                    report.forks += 1
                    if report.forks > FORKS:
                        raise
                    self.store.fork(outgoing)
                    continue
                taken = self.store.take(outgoing, answer)
                if not taken:  # another one that has the same store was quicker
                    continue
                report.sent += len(outgoing.body["operations"])
                report.received += len(answer["changes"])
                report.resets += answer["reset"]
                if not answer["has_more"] and not self.store.pending():
                    return report
                if outgoing.body["operations"] and answer["last_n"] < outgoing.body["operations"][0]["n"]:
                    raise TendError("The server answered without doing what was sent.")
