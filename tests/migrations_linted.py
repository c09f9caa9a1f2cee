"""The SQL of every migration stops nobody: `python -m tests.migrations_linted`.

squawk knows what locks a table for long or breaks the release that is running. Two rules are ours: data is not
changed here, and a migration that builds an index concurrently does nothing else, or it could not run again.
"""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.servers import ROOT

# By revision: what is excepted, and why that is right there. A column that goes away is named here too, with the
# release that stopped reading it.
EXCEPTED = {
    "20261122_0001": {
        "require-statement-timeout": "it was the first: there was nothing to wait for",
        "prefer-text-field": "Alembic's own table",
    },
    "20261122_0002": {
        "require-statement-timeout": "from before the first release, as all of these",
        "require-concurrent-index-creation": "there was nobody to wait",
        "require-concurrent-index-deletion": "there was nobody to wait",
        "renaming-object": "no statement names an index",
    },
    "20261122_0003": {"require-statement-timeout": "a new table"},
    "20261122_0004": {
        "require-statement-timeout": "there was nobody to wait",
        "require-concurrent-index-creation": "there was nobody to wait",
        "constraint-missing-not-valid": "there was nobody to wait",
        "prefer-bigint-over-int": "tries in a window and numbers of keys, which stay small",
    },
    "20261122_0005": {
        "prefer-bigint-over-smallint": "a depth is at most 4",
        "ban-drop-constraint": "one that allows more takes its place",
    },
    "20261122_0009": {"prefer-bigint-over-smallint": "an HTTP status has three digits"},
}
# A downgrade takes away what the upgrade brought, after the code that used it has stopped.
DOWNGRADES = (
    *("ban-drop-table", "ban-drop-column", "ban-drop-type", "ban-drop-function"),
    "require-concurrent-index-deletion",  # of an index on a table or column that goes away with it
)

OF_ALEMBIC = re.compile(
    r"(BEGIN|COMMIT|SET|(INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|DROP TABLE) alembic_version)\b"
)
DATA = re.compile(r"(INSERT|UPDATE|DELETE|TRUNCATE|MERGE|COPY)\b", re.IGNORECASE)
CONCURRENT = re.compile(r"(CREATE( UNIQUE)?|DROP) INDEX CONCURRENTLY IF (NOT )?EXISTS\b")


class Fault(NamedTuple):
    revision: str
    rule: str
    message: str


def faults(config: Config) -> Iterator[Fault]:
    for script in ScriptDirectory.from_config(config).walk_revisions():
        revision, before = script.revision, script.down_revision or "base"
        excepted = EXCEPTED.get(revision, {})
        up = sql_of(config, "upgrade", f"{before}:{revision}")
        down = sql_of(config, "downgrade", f"{revision}:{before}")
        for rule, message in [*found_in(up), *found_in(down, DOWNGRADES)]:
            if rule not in excepted:
                yield Fault(revision, rule, message)


def sql_of(config: Config, direction: str, revisions: str) -> str:
    output = io.StringIO()
    offline = Config(config.config_file_name, output_buffer=output, attributes={"configure_logging": False})
    for option in ("script_location", "version_locations"):
        if value := config.get_main_option(option):
            offline.set_main_option(option, value)
    getattr(command, direction)(offline, revisions, sql=True)
    return output.getvalue()


def found_in(sql: str, excepted: Collection[str] = ()) -> list[tuple[str, str]]:
    """Rules, and what they say."""
    program = shutil.which("squawk", path=Path(sys.executable).parent) or "squawk"
    without = [f"--exclude={','.join(excepted)}"] if excepted else []
    done = subprocess.run(
        [
            program,
            "--config",
            str(ROOT / ".squawk.toml"),
            "--reporter=json",
            "--stdin-filepath=migration.sql",
            *without,
        ],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
    )
    linted = [(each["rule_name"], f"line {each['line'] + 1}: {each['message']}") for each in json.loads(done.stdout)]
    return linted + list(_ours(sql))


def _ours(sql: str) -> Iterator[tuple[str, str]]:
    lines = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
    outside = re.sub(r"\$\$.*?\$\$", "''", lines, flags=re.DOTALL)  # of functions
    statements = [part.strip() for part in outside.split(";") if part.strip()]
    others = [statement for statement in statements if not OF_ALEMBIC.match(statement)]
    for statement in others:
        if DATA.match(statement):
            yield "no-data", f"Data is changed by a command, in batches: {statement[:60]}"
    if any(CONCURRENT.match(statement) for statement in others):
        for statement in others:
            if not CONCURRENT.match(statement):
                yield "concurrent-alone", f"A migration of its own, or it cannot run again: {statement[:60]}"


if __name__ == "__main__":
    found = [": ".join(fault) for fault in faults(Config(ROOT / "alembic.ini"))]
    print(*found or ["The migrations stop nobody."], sep="\n")  # noqa: T201
    sys.exit(bool(found))
