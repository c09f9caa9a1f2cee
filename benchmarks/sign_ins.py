"""What signing in costs the others, and whether its time tells who has an account: `python -m benchmarks.sign_ins`.

Passwords are hashed in threads, one a core at most; a burst of sign-ins must not stop the listing. And whoever asks
with an address that has no account must wait as long as with one that has.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from itertools import count
from pathlib import Path

import httpx
from alembic import command
from alembic.config import Config as Alembic
from rich.console import Console
from rich.table import Table

from backend import embedded
from benchmarks import serve
from benchmarks.load import Job, Load, Result, request
from benchmarks.pictures import distributions

PICTURE = Path(__file__).parent.parent / "docs" / "sign-in-times.svg"
PASSWORD = "correct horse battery"
READERS = 8
SECONDS = 4.0
REST = 0.03
console = Console(highlight=False)
_addresses = count()


def elsewhere() -> dict[str, str]:
    """From an address of its own, as a trusted proxy says: the throttles are not what is measured."""
    number = next(_addresses)
    return {"X-Forwarded-For": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}


async def ask_for(http: httpx.AsyncClient, path: str, email: str, password: str = "wrong") -> float:
    """Seconds until the answer."""
    begun = time.perf_counter()
    if path == "/v1/auth/token":
        await http.post(path, data={"username": email, "password": password}, headers=elsewhere())
    else:
        await http.post(path, json={"email": email}, headers=elsewhere())
    return time.perf_counter() - begun


async def listings(load: Load, port: int, token: str) -> Result:
    """By a process of its own."""
    job = Job(port, [request("GET", "/v1/tasks", token)], connections=READERS, seconds=SECONDS)
    return await asyncio.to_thread(load.run, job)


async def burst(http: httpx.AsyncClient, load: Load, port: int, token: str, at_once: int) -> tuple[Result, Result, int]:
    """Listings alone and while `at_once` sign-ins are under way all the time, and how many of these there were."""
    alone = await listings(load, port, token)
    done = 0

    async def sign_ins() -> None:
        nonlocal done
        while not measured.done():
            await ask_for(http, "/v1/auth/token", "ada@example.com", PASSWORD)
            done += 1

    measured = asyncio.create_task(listings(load, port, token))
    await asyncio.gather(*(sign_ins() for _ in range(at_once)))
    return alone, await measured, done


async def compared(http: httpx.AsyncClient, path: str, times: int) -> dict[str, list[float]]:
    """Turn by turn, so that whatever else the machine does falls on both."""
    found: dict[str, list[float]] = {"an account": [], "no account": []}
    for number in range(times):
        for name, email in (
            ("an account", f"known{number % 10}@example.com"),
            ("no account", f"x{number}@example.com"),
        ):
            found[name].append(await ask_for(http, path, email))
            await asyncio.sleep(REST)  # or what comes after this answer would fall on the next
    return found


async def measure(port: int, at_once: int, times: int) -> None:
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=200)) as http:
        for email in ("ada@example.com", *(f"known{n}@example.com" for n in range(10))):
            body = {"email": email, "password": PASSWORD, "name": "Ada"}
            (await http.post("/v1/auth/register", json=body, headers=elsewhere())).raise_for_status()
        form = {"username": "ada@example.com", "password": PASSWORD}
        token = (await http.post("/v1/auth/token", data=form)).json()["access_token"]
        tasks = {"tasks": [{"title": f"Task {n}"} for n in range(200)]}
        await http.post("/v1/tasks/batch", json=tasks, headers={"Authorization": f"Bearer {token}"})

        shown = Table(f"listings, {READERS} at a time", "a second", "median, ms", "p99, ms")
        with Load() as load:
            alone, during, done = await burst(http, load, port, token, at_once)
        for name, found in (("alone", alone), (f"while {at_once} sign in ({done / during.seconds:.0f}/s)", during)):
            shown.add_row(name, f"{found.rate:.0f}", f"{found.median_ms:.1f}", f"{found.p99_ms:.1f}")
        console.print(shown)

        told = Table(
            "wrong password, or reset asked for", "answers", "median, ms", "quartiles, ms", "apart, in deviations"
        )
        pictured = {}
        for path in ("/v1/auth/token", "/v1/auth/password-reset"):
            sides = await compared(http, path, times)
            pictured[path] = sides
            spread = statistics.stdev([each for side in sides.values() for each in side])
            apart = abs(statistics.mean(sides["an account"]) - statistics.mean(sides["no account"])) / spread
            for name, times_of in sides.items():
                quartiles = " to ".join(f"{each * 1_000:.1f}" for each in statistics.quantiles(times_of)[::2])
                median = f"{statistics.median(times_of) * 1_000:.1f}"
                told.add_row(f"{path}: {name}", str(len(times_of)), median, quartiles, f"{apart:.2f}")
        console.print(told)
        distributions(pictured, PICTURE)
        console.print(f"The distributions are in {PICTURE.relative_to(Path.cwd())}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, default=50, help="sign-ins at once (50)")
    parser.add_argument("--times", type=int, default=200, help="answers of each kind that are compared (200)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tend-bench-") as folder, embedded.server(Path(folder)) as url:
        _run(url, Path(folder), asked)


def _run(url: str, folder: Path, asked: argparse.Namespace) -> None:
    command.upgrade(Alembic(serve.ROOT / "alembic.ini", attributes={"configure_logging": False, "url": url}), "head")
    with serve.serving(serve.TEND, url, folder / "log", TRUSTED_PROXIES="127.0.0.1", LOG_LEVEL="error") as server:
        asyncio.run(measure(server.port, asked.at_once, asked.times))


if __name__ == "__main__":
    main()
