"""Stopping without losing a request: nothing new comes in, what has come in is answered, then the door is shut.

A listener that is closed resets the connections that wait in its queue, whose clients think they are connected and have
sent their request. So for a moment nobody is let in any more while the workers still take out who is there.
Connections that stay open are seen to in `protocol.py`.
"""

import asyncio
import ctypes
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import uvicorn
from uvicorn.supervisors import Multiprocess

HANDSHAKE_SECONDS: Final = 0.3  # those that are under way come into the queue meanwhile
QUEUE_SECONDS: Final = 5  # at most, to take out who waits: uvloop takes one between two rounds of requests
_LOOK_SECONDS: Final = 0.05
_SO_ATTACH_REUSEPORT_CBPF: Final = 51  # asm-generic/socket.h
_IP_MINTTL: Final = 21  # linux/in.h; packets with less are dropped, and 255 is what nobody sends (RFC 5082)
_IPV6_MINHOPCOUNT: Final = 73  # linux/in6.h
_SECOND: Final = struct.pack("HBBI", 0x06, 0, 0, 1)  # classic BPF: return 1, the second of the group


@contextmanager
def closed_to_new(listeners: Sequence[socket.socket]) -> Iterator[None]:
    """For all processes that share the listeners: who knocks hears nothing, and knocks again after a second."""
    with ExitStack() as stack:
        for listener in listeners if sys.platform == "linux" else ():
            try:
                stack.enter_context(_stand_in(listener))
            except OSError:  # another user's listener, or a kernel that cannot
                listener.listen(0)  # one at a time waits
        yield


@contextmanager
def _stand_in(listener: socket.socket) -> Iterator[None]:
    """Another listener on the same address, to which everybody comes from now on, and which hears nobody.

    What was asked of the first one before still comes to it. A filter on the first (SO_ATTACH_FILTER) would do as well,
    and newer kernels (6.18, where it was tried) ask CAP_NET_ADMIN for it.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    program = ctypes.create_string_buffer(_SECOND)
    chosen = struct.pack("HL", 1, ctypes.addressof(program))  # struct sock_fprog
    with socket.socket(listener.family) as other:
        other.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, 255)
        if listener.family == socket.AF_INET6:
            other.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, 255)
            only = listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(listener.getsockname())
        other.listen(0)
        other.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, chosen)
        yield


def emptying(listeners: Sequence[socket.socket]) -> Iterator[float]:
    """The seconds to wait before it is asked for the next, until nobody is left in the listeners' queues."""
    queues = select.poll()
    for listener in listeners:
        queues.register(listener, select.POLLIN)
    yield HANDSHAKE_SECONDS
    over = time.monotonic() + QUEUE_SECONDS
    while queues.poll(0) and time.monotonic() < over:
        yield _LOOK_SECONDS


class Server(uvicorn.Server):
    """The only worker: it shuts its own door. `signals`: those that came before it heard them itself."""

    def __init__(self, config: uvicorn.Config, signals: Sequence[int]) -> None:
        super().__init__(config)
        self._signals = signals

    async def main_loop(self) -> None:
        if not self._signals:
            await super().main_loop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        with closed_to_new(sockets or []):
            for seconds in emptying(sockets or []):
                await asyncio.sleep(seconds)
            await asyncio.sleep(0)  # uvloop tells of the last one in its next round
            await super().shutdown(sockets)


class Supervisor(Multiprocess):
    """Of several workers: they serve on until the queue is empty, and only then are told to stop.

    One that dies while it starts is replaced at once. uvicorn's own supervisor holds the worker's end of the pipe open
    as well, and so would wait for an answer that cannot come, and meanwhile replace nobody and hear no signal.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], signals: Sequence[int]) -> None:
        super().__init__(config, sockets=sockets)  # hears them itself from here on
        self._until_joined = ExitStack()
        if signals:
            self.should_exit.set()

    def keep_subprocess_alive(self) -> None:
        for process in self.processes:
            process.child_conn.close()
        super().keep_subprocess_alive()

    def terminate_all(self) -> None:
        self._until_joined.enter_context(closed_to_new(self.sockets))
        for seconds in emptying(self.sockets):
            time.sleep(seconds)
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def join_all(self) -> None:
        with self._until_joined:
            super().join_all()
