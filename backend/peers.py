"""The connections of one worker: how many, whose, and how long each may take. One look a second at all of them.

A timer for each would cost at every request; the looks cost a thousand idle connections a millisecond a second.
"""

import asyncio
import logging
import resource
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl

from backend.config import Settings

RATE: Final = 1024  # bytes a second that a client sends or takes at least, once its patience is over
BODY_PATIENCE: Final = 15  # times the patience: so long may a body take at any rate
RESERVED_FILES: Final = 64  # for the database, the log, threads and what else a worker opens
LOOK_SECONDS: Final = 1.0

log = logging.getLogger("tend")


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator says of it; seconds."""

    most: int = 1_000
    most_of_one: int = 500
    patience: float = 20
    keep_alive: float = 65
    proxies: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        most = settings.max_connections
        return cls(
            most,
            settings.max_connections_per_address or max(1, most // 2),
            settings.client_timeout_seconds,
            settings.keep_alive_seconds,
            settings.trusted_proxies,
        )


def raise_file_limit() -> None:
    """To what this process may have; many systems give 1,024 until somebody asks."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS says that there is no limit, and refuses none
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Phase(Enum):
    IDLE = 1  # nothing was begun
    HEAD = 2
    BODY = 3
    ANSWER = 4  # the whole request is here


class Peer:
    """One connection, from `host`, which counts among those of `address` (of IPv6 a network).

    `end` is called with 408 when a request was begun in time and not sent in time.
    """

    __slots__ = ("_left", "_left_since", "address", "end", "flow", "host", "phase", "received", "since", "transport")

    def __init__(
        self, transport: asyncio.Transport, flow: FlowControl, address: str, host: str, end: Callable[[int], None]
    ) -> None:
        self.transport, self.flow, self.address, self.host, self.end = transport, flow, address, host, end
        self.phase = Phase.IDLE
        self.since = 0.0  # when it fell idle, or when the request was begun
        self.received = 0  # bytes of the body, since then
        self._left = 0  # bytes of answers that the peer has not taken
        self._left_since = 0.0

    def look(self, now: float, limits: Limits) -> None:
        left = self.transport.get_write_buffer_size()
        if left:
            self._look_at_reader(left, now, limits)
            return
        self._left = 0
        waited = now - self.since
        match self.phase:
            case Phase.IDLE if waited > limits.keep_alive:
                self.transport.close()
            case Phase.HEAD if waited > limits.patience:
                self.end(408)
            case Phase.BODY if self.flow.read_paused:  # by the application: nothing can be sent
                self.since, self.received = now, 0
            case Phase.BODY if waited > limits.patience and (
                self.received < RATE * waited or waited > limits.patience * BODY_PATIENCE
            ):
                self.end(408)

    def _look_at_reader(self, left: int, now: float, limits: Limits) -> None:
        """An answer that is not taken would stay in memory, and hold the export that waits for it."""
        if left > self._left:
            self._left, self._left_since = left, now
        waited = now - self._left_since
        if waited > limits.patience and self._left - left < RATE * waited:
            self.transport.abort()


class Peers:
    """`now` is the time of the last look: what happened is noted with it, at no cost."""

    def __init__(self, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self.limits = limits
        self.now = loop.time()
        self._loop = loop
        self._peers: set[Peer] = set()
        self._of: Counter[str] = Counter()
        self._looking: asyncio.TimerHandle | None = None
        self._refused = 0
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = max(1, min(limits.most, files - RESERVED_FILES))

    def admit(self, peer: Peer) -> bool:
        """Whether there is room, after the one that was idle longest had to go for it."""
        full = len(self._peers) >= self._most
        if self._has_its_share(peer) or (full and not self._make_room()):
            self._refused += 1
            return False
        if self._looking is None:
            self.now = self._loop.time()
            self._looking = self._loop.call_later(LOOK_SECONDS, self._look)
        peer.since = self.now
        self._peers.add(peer)
        self._of[peer.address] += 1
        return True

    def leave(self, peer: Peer) -> None:
        if peer in self._peers:
            self._peers.discard(peer)
            self._of[peer.address] -= 1
            if not self._of[peer.address]:
                del self._of[peer.address]

    def _has_its_share(self, peer: Peer) -> bool:
        if self._of[peer.address] < self.limits.most_of_one:
            return False
        try:
            parsed = ip_address(peer.host)
        except ValueError:  # a Unix socket
            return True
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed  # as a socket for IPv6 names IPv4
        return not any(parsed in ip_network(proxy) for proxy in self.limits.proxies)

    def _make_room(self) -> bool:
        idle = [peer for peer in self._peers if peer.phase is Phase.IDLE and not peer.transport.is_closing()]
        if not idle:
            return False
        oldest = min(idle, key=lambda peer: peer.since)
        oldest.transport.close()
        self.leave(oldest)
        return True

    def _look(self) -> None:
        self.now = self._loop.time()
        if self._refused:
            log.warning("%d connections were refused: too many at once, or of one address.", self._refused)
            self._refused = 0
        for peer in tuple(self._peers):
            peer.look(self.now, self.limits)
        self._looking = self._loop.call_later(LOOK_SECONDS, self._look) if self._peers else None
