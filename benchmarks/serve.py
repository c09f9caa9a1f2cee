"""Serves a side as `tend serve` does: one uvicorn worker, in a process of its own."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil

ROOT = Path(__file__).resolve().parent.parent
SECRET = "a secret of the benchmarks, long enough"
PASSWORD = "correct horse battery"
START_SECONDS = 60
STOP_SECONDS = 10
TEND, USUAL, BARE = "backend.main:create_app", "benchmarks.reference:app", "benchmarks.bare:create_app"


class Server:
    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    def ask(self, method: str, target: str, body: str = "", headers: dict[str, str] | None = None) -> Any:
        """An answer's JSON. Raises RuntimeError when it is no success."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, target, body or None, headers or {})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {target}: {answer.status} {text}")
        return json.loads(text)

    def sign_in(self, path: str, email: str) -> str:
        """A token, as everybody gets theirs."""
        form = urlencode({"username": email, "password": PASSWORD})
        answer = self.ask("POST", path, form, {"Content-Type": "application/x-www-form-urlencoded"})
        return str(answer["access_token"])

    def memory(self) -> int:
        """The resident set of this process alone, in bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


@contextmanager
def serving(app: str, database_url: str, log: Path, **settings: str) -> Iterator[Server]:
    """Serves until the block ends. What it prints goes to `log`; raises RuntimeError when it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": database_url,
        "JWT_SECRET": SECRET,
        "ACCESS_TOKEN_MINUTES": "60",
        "TEND_WORKER_OF": str(os.getpid()),
        **settings,
    }
    command = [sys.executable, "-m", "benchmarks.serve", app, str(port)]
    with log.open("ab") as file:
        # A folder without a `.env`: a developer's own settings are not measured.
        process = subprocess.Popen(command, env=environment, cwd=log.parent, stdout=file, stderr=file)
    try:
        _wait(process, port, log)
        yield Server(process, port)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"It does not start:\n{log.read_text(errors='replace')[-2000:]}")


def _main(app: str, port: int) -> None:
    import uvicorn

    from backend import orphans
    from backend.protocol import Protocol

    orphans.follow(int(os.environ["TEND_WORKER_OF"]))
    uvicorn.run(
        app,
        factory=app.endswith(":create_app"),
        port=port,
        access_log=False,
        log_level="info",
        server_header=False,
        proxy_headers=False,
        http=Protocol if app == TEND else "auto",
        ws="none",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
