"""Where migrations run: on a direct connection, with the models to compare with; backend/migrating.py has the lock."""

import logging.config
import sys
import warnings
from contextlib import ExitStack
from datetime import UTC, datetime

from alembic import context
from sqlalchemy import Connection, create_engine, pool
from sqlmodel import SQLModel

import backend.models  # noqa: F401 - fills the metadata
from backend import config, migrating, pooler

if context.config.config_file_name and context.config.attributes.get("configure_logging", True):
    logging.config.fileConfig(context.config.config_file_name, disable_existing_loggers=False)


# It cannot compare generated columns, and warns each time; `make check` compares dumps.
warnings.filterwarnings("ignore", "Computed default on")

# A router on the way may forget a connection that is silent for as long as an index is built.
AS = {"application_name": "tend migrate", "keepalives_idle": 60}


def database_url(stack: ExitStack) -> str:
    settings = config.load()
    if settings.direct_url is None:
        from backend import embedded

        return stack.enter_context(embedded.server(settings.data_dir))
    return settings.direct_url


def told(message: str) -> None:
    print(message, file=sys.stderr)  # noqa: T201


def named(_context: object, _revision: object, directives: list) -> None:
    """Revisions are dates and a number, so that they sort as they were made."""
    for script in directives:
        if not context.config.cmd_opts or not getattr(context.config.cmd_opts, "rev_id", None):
            now = datetime.now(UTC)
            script.rev_id = f"{now:%Y%m%d}_{now:%H%M}"


def migrate(connection: Connection | None, url: str | None = None) -> None:
    """Each migration in a transaction of its own: a long chain holds no lock for its whole length, and one that
    fails leaves those before it done.
    """
    context.configure(
        connection=connection,
        url=url,
        target_metadata=SQLModel.metadata,
        compare_server_default=True,
        process_revision_directives=named,
        literal_binds=url is not None,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


with ExitStack() as stack:
    given = context.config.attributes
    if context.is_offline_mode():
        migrate(None, "postgresql+psycopg://")
    else:
        try:
            url = given.get("url") or database_url(stack)
            pooler.refuse(url, "Migrations")
            engine = create_engine(url, poolclass=pool.NullPool, connect_args=AS)
            stack.callback(engine.dispose)
            connection = stack.enter_context(engine.connect())
            say, patience = given.get("say", told), given.get("patience", migrating.PATIENCE)

            def work() -> None:
                known = {each.revision for each in context.script.walk_revisions()}
                if given.get("leave_newer") and (found := migrating.ahead(connection, known)):
                    say(f"The database is at {found}, of a newer release, and is left as it is.")
                else:
                    migrate(connection)

            migrating.run(connection, work, say, patience)
        except (config.SettingsError, migrating.GaveUp) as error:
            raise SystemExit(str(error)) from None
