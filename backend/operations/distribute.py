"""`tend distribute`: the tables over many machines, by user, with Citus.

What goes where is read from the models. A table of a user's data goes to the shard of its user; `users`, to which those
tables refer, is on every machine; everything else stays on the coordinator, where whoever signs in is looked up.
"""

from collections.abc import Iterator
from typing import Annotated, Final

import psycopg
import typer
from psycopg import sql
from rich.progress import track
from sqlalchemy import Table, make_url
from sqlmodel import SQLModel

import backend.models  # noqa: F401 - fills the metadata
from backend import wall
from backend.terminal import console, database, errors, fail

LOCK_SECONDS: Final = 10


def distributed() -> list[Table]:
    """Each after those to which it refers: Citus checks a foreign key when the second of two tables moves."""
    return [each for each in SQLModel.metadata.sorted_tables if wall.is_owned(each)]


def referred_to() -> list[Table]:
    """What users' tables refer to besides one another: must be wherever they are."""
    theirs = distributed()
    targets = {key.column.table for each in theirs for key in each.foreign_keys} - set(theirs)
    return sorted(targets, key=lambda each: each.name)


def statements() -> Iterator[str]:
    yield "CREATE EXTENSION IF NOT EXISTS citus"
    # Citus refuses triggers on distributed tables. Those that are there assert what the door does.
    for each in distributed():
        yield f"DROP TRIGGER IF EXISTS {each.name}_version_grows ON {each.name}"
    for each in referred_to():
        yield f"SELECT create_reference_table('{each.name}') {_unless_done(each)}"
    first, *others = distributed()
    yield f"SELECT create_distributed_table('{first.name}', 'user_id', colocate_with => 'none') {_unless_done(first)}"
    for each in others:
        move = f"create_distributed_table('{each.name}', 'user_id', colocate_with => '{first.name}')"
        yield f"SELECT {move} {_unless_done(each)}"


def _unless_done(each: Table) -> str:
    """So that all of it can be run again after one of them failed."""
    other = f"table_name = '{each.name}'::regclass"  # our own tables' names
    return f"WHERE NOT EXISTS (SELECT FROM citus_tables WHERE {other})"  # nosec B608


def distribute(
    run: Annotated[bool, typer.Option("--run", help="Run them, while nobody uses the service.")] = False,
) -> None:
    """Print the statements that spread the tables over a Citus cluster by user; `--run` runs them.

    On the coordinator, after `tend migrate`, with the machines added (`citus_add_node`). Citus moves the rows that are
    there; the triggers that assert growing versions are dropped first. It can be run again. Read docs/scale.md first:
    it says when this is the way, and what has not been tried.
    """
    given = list(statements())
    if not run:
        console.print(";\n".join(given) + ";", markup=False, soft_wrap=True)
        return
    with database() as settings:
        address = make_url(str(settings.direct_database_url or settings.database_url)).set(drivername="postgresql")
        with psycopg.connect(address.render_as_string(hide_password=False), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'citus'").fetchone():
                fail("This Postgres has no Citus. Nothing was changed.")
            connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(f"{LOCK_SECONDS}s")))
            for each in track(given, "Distributing", console=errors, disable=not errors.is_terminal):
                try:
                    connection.execute(each.encode())
                except psycopg.Error as error:
                    fail(f"{each}\n{error}What came before it is done; run this again when the cause is gone.")
    console.print(f"{len(distributed())} tables are distributed by user.")
