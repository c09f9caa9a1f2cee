"""A real replica: a copy of a running server by pg_basebackup, which streams what the server writes."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from backend import embedded

SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_wal_senders": "4", "shared_buffers": "32MB"}


class Streaming:
    """A primary and its replica, whose replay can be held up."""

    def __init__(self, primary: str, replica: str) -> None:
        self.primary = primary
        self.replica = replica
        self._engine = create_engine(replica, isolation_level="AUTOCOMMIT")

    def there(self, database: str) -> str:
        return make_url(self.replica).set(database=database).render_as_string(hide_password=False)

    def pause(self) -> None:
        self._say("SELECT pg_wal_replay_pause()")

    def resume(self) -> None:
        self._say("SELECT pg_wal_replay_resume()")

    def catch_up(self) -> None:
        engine = create_engine(self.primary)
        with engine.connect() as connection:
            position = connection.execute(text("SELECT pg_current_wal_flush_lsn()")).scalar_one()
        engine.dispose()
        reached = f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"
        while not self._say(reached):
            pass

    def _say(self, statement: str) -> object:
        with self._engine.connect() as connection:
            found = connection.execute(text(statement))
            return found.scalar() if found.returns_rows else None

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def streaming(folder: Path) -> Iterator[Streaming]:
    """Both run until the block ends."""
    with embedded.server(folder / "primary", SETTINGS) as primary:
        copy = embedded.Cluster(folder / "replica" / "pg", {**embedded.SETTINGS, **SETTINGS, "hot_standby": "on"})
        copy.data.parent.mkdir()
        sockets = make_url(primary).query["host"]
        command = [
            str(embedded.programs() / "pg_basebackup"),
            "-h",
            str(sockets),
            "-U",
            "postgres",
            "-R",
            "-X",
            "stream",
        ]
        subprocess.run([*command, "-c", "fast", "-D", str(copy.data)], check=True, capture_output=True)
        owner = (folder / "primary" / "pg").stat()
        for each in (copy.data, *copy.data.rglob("*")):
            os.chown(each, owner.st_uid, owner.st_gid, follow_symlinks=False)
        copy.start(lambda _: None, alone=True)
        both = Streaming(primary, copy.url)
        try:
            yield both
        finally:
            both.close()
            copy.stop()
