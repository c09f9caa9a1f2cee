"""Tend as its users start it: a process of its own, on an embedded Postgres of its own."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

START_SECONDS = 60
STOP_SECONDS = 20


class Served:
    """A running `tend serve`, its address, and what it printed."""

    def __init__(self, process: subprocess.Popen[str], data_dir: Path) -> None:
        self.process = process
        self.data_dir = data_dir
        self.printed = ""
        self.url = self._wait_for_address()

    def _wait_for_address(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.read(0.2)
            address = re.search(r'Tend is at (http[^\s"]+)', self.printed)
            if address and "Application startup complete" in self.printed:
                return address[1]
            if self.process.poll() is not None:
                break
        raise AssertionError(f"tend serve did not start:\n{self.printed}")

    def read(self, seconds: float) -> None:
        """What it has printed, for whoever lets it run long: it waits when nobody reads."""
        assert self.process.stdout is not None
        while select.select([self.process.stdout], [], [], seconds)[0]:
            text = os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
            if not text:
                return
            self.printed += text

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code, within `STOP_SECONDS`."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.read(0)
            raise AssertionError(f"tend serve did not stop:\n{self.printed}") from None
        self.read(0)
        return code

    def postmaster(self) -> int:
        return int((self.data_dir / "pg" / "postmaster.pid").read_text().split()[0])


def begin(data_dir: Path, command: list[str] | None = None, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command or [sys.executable, "-m", "backend.cli", "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment_with(data_dir, **environment),
        cwd=_outside(data_dir),
        start_new_session=True,
        text=True,
    )


@contextmanager
def serving(data_dir: Path, *, command: list[str] | None = None, **environment: str) -> Iterator[Served]:
    """Serves until the block ends; whatever happens, nothing of it runs on."""
    process = begin(data_dir, command, **environment)
    try:
        yield Served(process, data_dir)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
        end_all(data_dir)


def environment_with(data_dir: Path, **environment: str) -> dict[str, str]:
    """Only what a user of a bare machine has; a container's and a shell's own settings stay out."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV", "PYTHONPATH") if name in os.environ}
    return {**kept, "DATA_DIR": str(data_dir), "PORT": "0", "COLUMNS": "200", **environment}


def run(data_dir: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments],
        env=environment_with(data_dir, **environment),
        cwd=_outside(data_dir),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _outside(data_dir: Path) -> Path:
    """A folder without a `.env`: a developer's own settings are not the tests'."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    return data_dir.parent


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Whatever runs with this folder: the server, its workers, Postgres."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = any(str(data_dir) in part for part in process.cmdline())
            if mine or process.environ().get("DATA_DIR") == str(data_dir):
                found.append(process)
        except psutil.Error:
            continue
    return found


def have_ended(processes: list[psutil.Process]) -> bool:
    """Within `STOP_SECONDS`. The dead that the container's first process does not bury have ended too."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            return True
        time.sleep(0.1)
    return False


def end_all(data_dir: Path) -> None:
    processes = processes_of(data_dir)
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    have_ended(processes)
