"""PgBouncer in front of the tests' server, in transaction mode: TEST_POOLER names the program, like `pgbouncer`."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url

PROGRAM = (
    os.environ.get("TEST_POOLER") or shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""
)
needs_pgbouncer = pytest.mark.skipif(not PROGRAM, reason="pgbouncer is not installed (apt-get install pgbouncer)")
direct_only = pytest.mark.skipif(
    "TEST_POOLER" in os.environ, reason="PgBouncer's connections keep what was set when they were made"
)
KEEPS_PREPARED = (1, 22)
"""From this version on it keeps prepared statements for transactions."""


def version(program: str) -> tuple[int, int]:
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)", shown)
    assert found, shown
    return int(found[1]), int(found[2])


class PgBouncer:
    """Passes every database of a server on, by the same name and whoever asks."""

    def __init__(self, program: str, server: str, folder: Path, *, prepared: bool = True, **more: Any) -> None:
        self.program = program
        self.server = make_url(server)
        self.file = folder / "pgbouncer.ini"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        host = self.server.query.get("host", self.server.host or "127.0.0.1")
        there = {"host": host, "port": self.server.port or 5432, "user": self.server.username}
        if self.server.password:
            there["password"] = self.server.password
        settings: dict[str, object] = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "admin_users": "pgbouncer",
            "pool_mode": "transaction",
            "default_pool_size": 12,
            "max_client_conn": 1000,
            "server_idle_timeout": 5,
            **more,
        }
        if version(program) >= KEEPS_PREPARED:
            settings["max_prepared_statements"] = 1000 if prepared else 0
        if os.geteuid() == 0:
            settings["user"] = "nobody"
        passed_on = " ".join(f"{name}={value}" for name, value in there.items())
        lines = ["[databases]", f"* = {passed_on}", "[pgbouncer]", *(f"{n} = {v}" for n, v in settings.items())]
        self.file.write_text("\n".join(lines) + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([self.program, "-q", str(self.file)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("PgBouncer does not start")

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def url(self, direct: str) -> str:
        """The way through it to the database that is at `direct`."""
        return pooled(make_url(direct), self.port)


def pooled(direct: URL, port: int) -> str:
    there = direct.set(host="127.0.0.1", port=port).difference_update_query(["host"])
    return there.render_as_string(hide_password=False)


@contextmanager
def pgbouncer(program: str, server: str, *, prepared: bool = True, **more: Any) -> Iterator[PgBouncer]:
    with tempfile.TemporaryDirectory(prefix="tend-pooler-") as folder:
        os.chmod(folder, 0o755)  # PgBouncer reads it as another user where the tests run as root
        pooler = PgBouncer(program, server, Path(folder), prepared=prepared, **more)
        pooler.start()
        try:
            yield pooler
        finally:
            pooler.stop()
