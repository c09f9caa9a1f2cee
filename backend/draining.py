"""Stopping without losing a request: nothing new comes in, what has come in is answered, then the door is shut.

A listener that is closed resets the connections that wait in its queue, whose clients think they are connected and have
sent their request. So for a moment the kernel lets nobody in any more while the workers still take out who is there.
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
from contextlib import suppress
from typing import Final

import uvicorn
from uvicorn.supervisors import Multiprocess

HANDSHAKE_SECONDS: Final = 0.3  # those that are under way come into the queue meanwhile
QUEUE_SECONDS: Final = 5  # at most, to take out who waits: uvloop takes one between two rounds of requests
_LOOK_SECONDS: Final = 0.05
_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
# Classic BPF, which sees a segment from its TCP header on: byte 13 has the flags, SYN is 2 and ACK 16
# (RFC 9293, section 3.1). A SYN alone asks for a connection; the ACK that ends a handshake must pass.
_NO_NEW_ONES: Final = (
    (0x30, 0, 0, 13),  # load the byte
    (0x54, 0, 0, 0x12),  # and it
    (0x15, 0, 1, 0x02),  # equal?
    (0x06, 0, 0, 0),  # then drop
    (0x06, 0, 0, 0xFFFF),  # else keep
)


def emptying(listeners: Sequence[socket.socket]) -> Iterator[float]:
    """Lets nobody in any more; yields the seconds to wait before it is asked for the next, until nobody is left.

    For all processes that share the listeners. Who knocks hears nothing, knocks again after a second, and is refused
    then.
    """
    queues = select.poll()
    for listener in listeners:
        _refuse_new(listener)
        queues.register(listener, select.POLLIN)
    yield HANDSHAKE_SECONDS
    over = time.monotonic() + QUEUE_SECONDS
    while queues.poll(0) and time.monotonic() < over:
        yield _LOOK_SECONDS


def _refuse_new(listener: socket.socket) -> None:
    """Where the kernel has no such filter, those who knock in the moment in which the listener closes are reset."""
    if sys.platform == "linux":
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_NEW_ONES))
        given = struct.pack("HL", len(_NO_NEW_ONES), ctypes.addressof(program))  # struct sock_fprog
        with suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, given)


class Server(uvicorn.Server):
    """The only worker: it shuts its own door."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for seconds in emptying(sockets or []):
            await asyncio.sleep(seconds)
        await asyncio.sleep(0)  # uvloop tells of the last one in its next round
        await super().shutdown(sockets)


class Supervisor(Multiprocess):
    """Of several workers: they serve on until the queue is empty, and only then are told to stop.

    One that dies while it starts is replaced at once. uvicorn's own supervisor holds the worker's end of the pipe open
    as well, and so would wait for an answer that cannot come, and meanwhile replace nobody and hear no signal.
    """

    def keep_subprocess_alive(self) -> None:
        for process in self.processes:
            process.child_conn.close()
        super().keep_subprocess_alive()

    def terminate_all(self) -> None:
        for seconds in emptying(self.sockets):
            time.sleep(seconds)
        for listener in self.sockets:
            listener.close()
        super().terminate_all()
