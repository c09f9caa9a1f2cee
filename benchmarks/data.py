"""The rows: the same for every side and of the same kind at every size.

A real work log is loaded once and its search vectors are computed once; all tables are filled from it inside the
server. A user's tasks are an even sample of the log, in its order, and all users write at the same time: a user's
rows lie scattered over the table, as they do in life.
"""

import asyncio
import gzip
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql

from backend.rules.text import sort_key
from backend.security.passwords import hash_password
from benchmarks.serve import PASSWORD, ROOT

GENERATED_ROWS = 47_000  # about as many as the work log has
NOT_COPIED = frozenset({"user_id", "id", "version", "position"})
ROWS = "rows"  # the database that the others are copies of
Task = dict[str, Any]
Say = Callable[[str], None]


def read(path: Path, at_most: int) -> list[Task]:
    """The work log's tasks, oldest first; made up when the file is not there."""
    if not path.exists():
        return list(_made_up(at_most))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        tasks = [json.loads(line) for line in file]
    return tasks[:: -(-len(tasks) // at_most)]


def _made_up(count: int) -> Iterator[Task]:
    """Words and tags of uneven popularity, so that filters and searches find about as much as in the work log."""
    chance = random.Random(7)
    words = ["request", *(f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "rt", "sk", "ll"))]
    tags = ["feat", "fix", "sync", "docs", "test", "build", "home", "plants", "errands"]
    made = datetime(2020, 1, 1, tzinfo=UTC)

    def text(length: int) -> str:
        return " ".join(words[min(int(chance.paretovariate(0.6)) + 4, len(words)) - 1] for _ in range(length))

    for number in range(count):
        made += timedelta(minutes=chance.randrange(120))
        title = text(7) + (" request" if chance.random() < 0.02 else "")
        due = made + timedelta(days=chance.randrange(1, 45)) if chance.random() < 0.4 else None
        yield {
            "title": f"{title[:180]} {number % 977}",
            "description": text(40) if chance.random() < 0.25 else None,
            "priority": chance.choice(["low", "medium", "medium", "medium", "high"]),
            "tags": ["fix", "sync"] if chance.random() < 0.05 else chance.sample(tags, chance.choice([1, 1, 1, 2])),
            "due_date": due and due.isoformat(),
            "completed": chance.random() < 0.6,
            "created_at": made.isoformat(),
        }


def user_id(number: int) -> UUID:
    return UUID(int=number)


def email(number: int) -> str:
    return f"user{number}@example.com"


class Databases:
    """The databases of one server, by name."""

    def __init__(self, server: str, log: Path) -> None:
        self._server = server
        self.log = log

    def url(self, name: str, **options: str) -> str:
        """With `options` set on each of its connections."""
        url = self._server.replace("/postgres?", f"/{name}?")
        given = " ".join(f"-c {option}={value}" for option, value in options.items())
        return f"{url}&options={quote(given)}" if given else url

    def address(self, name: str) -> str:
        """As Postgres's own programs take it."""
        return self.url(name).replace("+psycopg", "")

    def connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(self.address(name), autocommit=True)

    def create(self, name: str, template: str) -> None:
        with self.connect("postgres") as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )

    def load(self, tasks: list[Task]) -> None:
        """Makes the database `rows`: migrated, without users, with the work log as the table `source`."""
        self.create(ROWS, "template1")
        alembic = Config(ROOT / "alembic.ini", attributes={"configure_logging": False, "url": self.url(ROWS)})
        command.upgrade(alembic, "head")
        with self.connect(ROWS) as connection:
            _add_users(connection, [0])
            with without_indexes(connection, "tasks"):
                _copy(connection, tasks)
            connection.execute("CREATE TABLE source AS SELECT * FROM tasks ORDER BY version")
            connection.execute("ALTER TABLE source ADD PRIMARY KEY (version)")
            connection.execute("TRUNCATE users CASCADE")
            connection.execute("VACUUM (ANALYZE) source")

    def fill(self, name: str, sizes: Mapping[int, int], *, computed: bool) -> None:
        """Makes a database with so many tasks for each user of that number.

        `computed`: the search vectors are computed anew and the column stays a generated one, for writing. Else they
        are taken over, in a tenth of the time, and the table is for reading.
        """
        self.create(name, ROWS)
        with self.connect(name) as connection:
            if not computed:
                _freeze(connection)
            _add_users(connection, sizes)
            connection.execute("CREATE UNLOGGED TABLE wanted (number int, size int)")
            with connection.cursor() as cursor, cursor.copy("COPY wanted FROM STDIN") as copy:
                for row in sizes.items():
                    copy.write_row(row)
            names = ", ".join(_columns(connection, "tasks"))
            with without_indexes(connection, "tasks"), ThreadPoolExecutor(2) as pool:
                fill = FILL.replace("COPIED", names)
                list(pool.map(lambda half: self._insert(name, fill, half), (0, 1)))
            connection.execute(
                "UPDATE sync_state SET seq = size FROM wanted WHERE user_id = lpad(to_hex(number), 32, '0')::uuid"
            )
            for statement in ("DROP TABLE wanted", "DROP TABLE source", "VACUUM (ANALYZE)", "CHECKPOINT"):
                connection.execute(statement)

    def _insert(self, name: str, statement: str, half: int) -> None:
        """Half of the users; both halves are written at the same time, on a core each."""
        with self.connect(name) as connection:
            for setting in ("session_replication_role = replica", "enable_hashjoin = off", "enable_mergejoin = off"):
                connection.execute(f"SET {setting}")
            connection.execute("SET work_mem = '256MB'")
            connection.execute(statement.replace("HALF", str(half)))

    def fill_reference(self, name: str, schema: str) -> None:
        """The reference's tables in `schema`, which its server has made, get the same users and tasks."""
        with self.connect(name) as connection:
            connection.execute(f"SET search_path = {schema}, public")
            connection.execute("SET session_replication_role = replica")
            with without_indexes(connection, "task"):
                for statement in REFERENCE_FILL:
                    connection.execute(statement)
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")


REFERENCE_FILL = (
    'INSERT INTO "user" (id, email, name, hashed_password) SELECT id, email, name, password_hash FROM users',
    "INSERT INTO task (id, user_id, title, description, priority, due_date, tags, completed, created_at, updated_at) "
    "SELECT id, user_id, title, description, priority::text::priority, due_date, tags, completed, "
    "created_at, updated_at FROM tasks",
)
# By the time of writing, then by user. The join keeps that order, since it is a nested loop.
FILL = """
INSERT INTO tasks (user_id, id, version, position, COPIED)
SELECT lpad(to_hex(number), 32, '0')::uuid, gen_random_uuid(), nth + 1, 'n' || lpad(to_hex(nth + 1), 14, '0'), COPIED
FROM (
    SELECT number, nth, 1 + least((SELECT max(version) FROM source) - 1,
        floor((nth + (number * 7919 + nth * 3) % 47 / 47.0) * (SELECT max(version) FROM source) / size)::bigint) AS row
    FROM wanted, generate_series(0, size - 1) AS nth
    WHERE number % 2 = HALF
    ORDER BY nth::float8 / size, number
) AS written
JOIN source ON source.version = written.row
"""


def _add_users(connection: psycopg.Connection, numbers: Iterable[int]) -> None:
    hashed = asyncio.run(hash_password(PASSWORD))
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY users (id, email, email_key, name, password_hash) FROM STDIN") as copy,
    ):
        for number in numbers:
            copy.write_row((user_id(number), email(number), email(number), f"User {number}", hashed))
    connection.execute("INSERT INTO sync_state (user_id) SELECT id FROM users")


def _copy(connection: psycopg.Connection, tasks: list[Task]) -> None:
    columns = (
        "user_id, id, version, title, title_key, description, priority, due_date, tags, completed, completed_at, "
        "created_at, updated_at"
    )
    with connection.cursor() as cursor, cursor.copy(f"COPY tasks ({columns}) FROM STDIN") as copy:
        for number, task in enumerate(tasks, start=1):
            made = task["created_at"]
            copy.write_row(
                (
                    *(user_id(0), user_id(number), number, task["title"], sort_key(task["title"])),
                    *(task["description"], task["priority"], task["due_date"], json.dumps(task["tags"])),
                    *(task["completed"], made if task["completed"] else None, made, made),
                )
            )


def _columns(connection: psycopg.Connection, table: str) -> list[str]:
    """What can be taken over from `source` as it is: whatever else a task may get one day, too."""
    found = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
        "AND attgenerated = '' ORDER BY attnum",
        [table],
    )
    return [name for (name,) in found if name not in NOT_COPIED]


def _freeze(connection: psycopg.Connection) -> None:
    """Generated columns become ordinary ones, which can be given a value."""
    generated = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'tasks'::regclass AND attgenerated <> ''"
    )
    for (name,) in generated.fetchall():
        connection.execute(f"ALTER TABLE tasks ALTER COLUMN {name} DROP EXPRESSION")


@contextmanager
def without_indexes(connection: psycopg.Connection, table: str) -> Iterator[None]:
    """Takes them away meanwhile: building them afterwards takes a fraction of the time."""
    constraints = connection.execute(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' "
        "AND confrelid = %(table)s::regclass OR contype IN ('p', 'u') AND conrelid = %(table)s::regclass "
        "ORDER BY contype <> 'f'",  # what refers to a key goes before it, and comes back after it
        {"table": table},
    ).fetchall()
    indexes = connection.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass "
        "AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)",
        [table],
    ).fetchall()
    for of, name, _ in constraints:
        connection.execute(f"ALTER TABLE {of} DROP CONSTRAINT {name}")
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    connection.execute("SET maintenance_work_mem = '1GB'")
    for of, name, definition in reversed(constraints):
        connection.execute(f"ALTER TABLE {of} ADD CONSTRAINT {name} {definition}")
    for _, definition in indexes:
        connection.execute(definition)
