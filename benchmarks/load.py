"""The load: as many requests as the connections carry, from a process of its own.

HTTP/1.1 with keep-alive over asyncio, and no more parsing than status and Content-Length, so that it costs a fraction
of what any of the servers does. Jobs come as JSON, a line each, on standard input, and results leave likewise.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from types import TracebackType
from typing import Self, cast

CONNECTIONS = 16
STALLED_SECONDS = 60  # for one answer; a server that does not answer for so long is broken


@dataclass(frozen=True, slots=True)
class Job:
    port: int
    requests: list[str]
    """As sent. Connection n of N takes n, n + N, n + 2N, … and begins again."""
    connections: int = CONNECTIONS
    seconds: float = 1.0
    """At the longest; every connection gets one answer at least."""
    at_most: int = 0
    """Requests in all; 0 for as many as there is time for."""


@dataclass(frozen=True, slots=True)
class Result:
    answers: int
    seconds: float
    median_ms: float
    p99_ms: float
    failure: str

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def request(method: str, target: str, token: str, body: str = "") -> str:
    head = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}"]
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"]
    return "\r\n".join([*head, "", body])


class Broken(Exception):
    """An answer that was no success: what would be measured is not what was meant."""


class Load:
    """The process that makes the load; it lives as long as the block."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            self._process.kill()

    def run(self, job: Job) -> Result:
        """Raises Broken."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        result = Result(**json.loads(self._process.stdout.readline()))
        if result.failure:
            raise Broken(result.failure)
        return result


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Sequence[bytes], run: "_Run") -> None:
        self._requests, self._run, self._next = requests, run, 0
        self._received = bytearray()
        self._whole = 0  # bytes of the answer that is coming, once its head is there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._requests[self._next])
        self._next = (self._next + 1) % len(self._requests)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._whole:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._received[:end]).lower()
            start = head.find(b"\r\ncontent-length:")
            self._whole = end + 4 + (int(head[start + 17 :].split(b"\r\n", 1)[0]) if start >= 0 else 0)
        if len(self._received) < self._whole:
            return
        if self._received[9:10] != b"2":
            self._run.fail(self._received.decode(errors="replace"))
            return
        self._received.clear()
        self._whole = 0
        if self._run.go_on(self._sent):
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._run.leave(error)


class _Run:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.latencies: list[float] = []  # seconds
        self.failure = ""
        self.begun = self.ended = time.perf_counter()
        self._open = job.connections
        self.done = asyncio.Event()

    def go_on(self, sent: float) -> bool:
        """Notes an answer; whether there is time, and need, for another."""
        self.ended = time.perf_counter()
        self.latencies.append(self.ended - sent)
        enough = bool(self.job.at_most) and len(self.latencies) + self._open > self.job.at_most
        return not enough and self.ended - self.begun < self.job.seconds

    def fail(self, answer: str) -> None:
        self.failure = self.failure or answer[:2000]
        self.done.set()

    def leave(self, error: Exception | None) -> None:
        self._open -= 1
        if error or not self.latencies:
            self.fail(f"The server closed the connection. {error or ''}")
        if not self._open:
            self.done.set()


async def _run(job: Job) -> Result:
    requests = [text.encode() for text in job.requests]
    run = _Run(job)
    transports = []
    for number in range(job.connections):
        mine = [requests[n % len(requests)] for n in range(number, max(len(requests), number + 1), job.connections)]
        protocol = lambda mine=mine: _Connection(mine, run)  # noqa: E731
        transports.append((await asyncio.get_running_loop().create_connection(protocol, "127.0.0.1", job.port))[0])
    try:
        async with asyncio.timeout(job.seconds + STALLED_SECONDS):
            await run.done.wait()
    except TimeoutError:
        run.failure = f"No answer for {STALLED_SECONDS} s."
    for transport in transports:
        transport.abort()
    times = sorted(run.latencies) or [0.0]
    p99 = quantiles(times, n=100)[98] if len(times) > 1 else times[0]
    return Result(len(run.latencies), run.ended - run.begun, median(times) * 1000, p99 * 1000, run.failure)


async def _serve() -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        result = await _run(Job(**json.loads(line)))
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve())
    else:
        uvloop.run(_serve())
