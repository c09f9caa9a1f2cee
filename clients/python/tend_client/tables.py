"""The tables of a store: SQLite's part, its transactions and its clock."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from tend_client.models import Json
from tend_client.overlay import overlaid

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (entity TEXT, id TEXT, body TEXT, age INTEGER, PRIMARY KEY (entity, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS queue (
    n INTEGER PRIMARY KEY, entity TEXT, id TEXT, operation TEXT, sent INTEGER DEFAULT 0, again INTEGER DEFAULT 0
);
CREATE INDEX IF NOT EXISTS queue_row ON queue (entity, id);
CREATE TABLE IF NOT EXISTS local (entity TEXT, id TEXT, body TEXT, PRIMARY KEY (entity, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notices (id INTEGER PRIMARY KEY AUTOINCREMENT, notice TEXT);
"""
"""`rows` are the server's, `local` what the application reads: the queue on top of them. `age` counts the resets: what
is older than the last one goes when that is complete, and serves until then. `again` is of what was numbered anew.
"""
BEHIND: Final = 1_000_000
"""Microseconds that the clocks may differ before this one follows the server's: less is the network's."""

Key = tuple[str, str]


class Tables:
    """One file, which several processes may have open."""

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA)
        with self._writing():
            defaults = {"client_id": str(uuid4()), "next_n": 1, "ack": 0, "cursor": None}
            defaults |= {"clock": 0, "ahead": 0, "age": 0}
            self._db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", defaults.items())

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, which nobody else's comes into, in this process or another."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _version(self, entity: str, row_id: str) -> int:
        """Of the server's row that this device has seen; 0 for none."""
        found = self._db.execute("SELECT body FROM rows WHERE entity = ? AND id = ?", (entity, row_id)).fetchone()
        return int(json.loads(found[0])["version"]) if found else 0

    def _tick(self) -> int:
        """The hybrid logical clock: the time as the server has it, or one more than the last."""
        now = time.time_ns() // 1_000 + int(self._meta("ahead"))
        clock = max(now, int(self._meta("clock")) + 1)
        self._set("clock", clock)
        return clock

    def _follow(self, server_time: str) -> None:
        server = int(datetime.fromisoformat(server_time).timestamp() * 1_000_000)
        ahead = server - time.time_ns() // 1_000
        self._set("ahead", ahead if abs(ahead) > BEHIND else 0)

    def _note(self, notice: Json) -> None:
        self._db.execute("INSERT INTO notices (notice) VALUES (?)", (json.dumps(notice),))

    def _rebase(self, key: Key) -> None:
        """The application's row, made anew of the server's and of what waits."""
        found = self._db.execute("SELECT body FROM rows WHERE entity = ? AND id = ?", key).fetchone()
        waiting = self._db.execute("SELECT operation FROM queue WHERE entity = ? AND id = ? ORDER BY n", key)
        self._show(
            key, overlaid(json.loads(found[0]) if found else None, (json.loads(each) for (each,) in waiting.fetchall()))
        )

    def _show(self, key: Key, row: Json | None) -> None:
        if row is None:
            self._db.execute("DELETE FROM local WHERE entity = ? AND id = ?", key)
        else:
            self._db.execute("INSERT OR REPLACE INTO local VALUES (?, ?, ?)", (*key, json.dumps(row)))

    def _meta(self, name: str) -> Any:
        return self._db.execute("SELECT value FROM meta WHERE key = ?", (name,)).fetchone()[0]

    def _set(self, name: str, value: Any) -> None:
        self._db.execute("UPDATE meta SET value = ? WHERE key = ?", (value, name))
