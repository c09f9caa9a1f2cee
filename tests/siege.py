"""Hundreds of clients that mean no good, and one that wants its tasks: `make siege`, or `python -m tests.siege --help`.

Each siege comes from many addresses of this machine (127.1.0.1 …, Linux alone), so that the share of one address does
not end it. What is looked at: does the one client get its answers, what memory does the worker take, and are they gone
in the end.
"""

import argparse
import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from tests.served import Served, serving

LIVE = b"GET /health/live HTTP/1.1\r\nHost: tend\r\n"
POST = b"POST /v1/auth/register HTTP/1.1\r\nHost: tend\r\nContent-Type: application/json\r\n"
BODY = POST + b"Content-Length: 1000000\r\n\r\n"
LARGE = b"GET /openapi.json HTTP/1.1\r\nHost: tend\r\n\r\n" * 50
ADA = {"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}
PAUSE = 0.05  # seconds between what the one client asks
OF_AN_ADDRESS = 50
console = Console(highlight=False)


@dataclass(frozen=True)
class Siege:
    name: str
    begin: bytes
    drop: Callable[[int], bytes]
    """What the nth second brings."""
    reads: bool = True
    share: float = 1  # of the clients


SIEGES = (
    Siege("nobody", b"", lambda _: b"", share=0),
    Siege("heads, a line a second", LIVE, lambda n: b"A: %d\r\n" % n),
    Siege("bodies, 900 KB at once and then a byte a second", BODY + b" " * 900_000, lambda _: b" "),
    Siege("connections without a word", b"", lambda _: b""),
    Siege("answers that nobody reads", LARGE, lambda _: b"", reads=False, share=0.1),  # or making them is the siege
)


async def besiege(port: int, number: int, siege: Siege, ends: float) -> bool:
    """One of them, until it is closed or it ends; whether it was closed."""
    peer = socket.socket()
    peer.setblocking(False)
    if not siege.reads:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    place = number // OF_AN_ADDRESS
    peer.bind((f"127.1.{place >> 8}.{1 + place & 255}", 0))
    loop = asyncio.get_running_loop()
    with peer, suppress(OSError, TimeoutError):
        await loop.sock_connect(peer, ("127.0.0.1", port))
        async with asyncio.timeout(max(0.1, ends - time.monotonic())):
            await loop.sock_sendall(peer, siege.begin)
            second = 0
            while True:
                second += 1
                await asyncio.sleep(1)
                if drop := siege.drop(second):
                    await loop.sock_sendall(peer, drop)
                if siege.reads:
                    with suppress(BlockingIOError):
                        if not peer.recv(65536):
                            return True
                elif peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    return True
    return time.monotonic() < ends - 0.2


async def ask(http: httpx.AsyncClient, token: str, ends: float) -> tuple[list[float], int]:
    """What the one client waited, and how often in vain. Each time by a connection of its own: getting in counts."""
    waited, failed = [], 0
    while time.monotonic() < ends:
        begun = time.perf_counter()
        try:
            headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
            answer = await http.get("/v1/tasks", headers=headers)
            failed += answer.status_code != 200
        except httpx.HTTPError:
            failed += 1
        waited.append(time.perf_counter() - begun)
        await asyncio.sleep(PAUSE)
    return waited, failed


async def highest(served: Served, process: psutil.Process, ends: float) -> int:
    found = 0
    while time.monotonic() < ends:
        served.read(0)  # it waits when nobody reads what it says
        found = max(found, process.memory_info().rss)
        await asyncio.sleep(0.1)
    return found


async def run(served: Served, count: int, seconds: float) -> int:
    """How many requests of the one client failed."""
    port, process = int(served.url.rpartition(":")[2]), psutil.Process(served.process.pid)
    shown = Table(
        "siege", "closed", "one client: median, ms", "most, ms", "failed", "worker: before, MB", "most", "after"
    )
    lost = 0
    async with httpx.AsyncClient(base_url=served.url, timeout=30) as http:
        (await http.post("/v1/auth/register", json=ADA)).raise_for_status()
        form = {"username": ADA["email"], "password": ADA["password"]}
        token = (await http.post("/v1/auth/token", data=form)).json()["access_token"]
        for siege in SIEGES:
            with console.status(f"{siege.name} …"):
                before, ends = process.memory_info().rss, time.monotonic() + seconds
                many = range(round(count * siege.share))
                sieges = asyncio.gather(*(besiege(port, n, siege, ends) for n in many))
                (waited, failed), most = await asyncio.gather(ask(http, token, ends), highest(served, process, ends))
                closed = sum(await sieges)
                await asyncio.sleep(3)
                after = process.memory_info().rss
            served.read(0)
            lost += failed
            times = [f"{1_000 * each:.1f}" for each in (median(waited), max(waited))]
            memory = [f"{each / 1_000_000:.0f}" for each in (before, most, after)]
            shown.add_row(siege.name, f"{closed} of {len(many)}", *times, f"{failed} of {len(waited)}", *memory)
    console.print(shown)
    return lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=900, help="at once in each siege (900)")
    parser.add_argument("--seconds", type=float, default=30, help="each siege (30; the server's patience is 20)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tend-siege-") as folder:
        Path(folder).chmod(0o755)
        with serving(Path(folder) / "data") as served:
            lost = asyncio.run(run(served, asked.clients, asked.seconds))
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
