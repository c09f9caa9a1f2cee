"""Where migrations run: on a direct connection, under a lock, with the models to compare with."""

import logging.config
import warnings
from contextlib import ExitStack
from datetime import UTC, datetime

from alembic import context
from sqlalchemy import Connection, create_engine, make_url, pool, text
from sqlmodel import SQLModel

import backend.models  # noqa: F401 - fills the metadata
from backend import config

LOCK = 0x74656E64  # "tend": two deployments at once migrate one after the other

if context.config.config_file_name and context.config.attributes.get("configure_logging", True):
    logging.config.fileConfig(context.config.config_file_name, disable_existing_loggers=False)


# It cannot compare generated columns, and warns each time; `make check` compares dumps.
warnings.filterwarnings("ignore", "Computed default on")


def database_url(stack: ExitStack) -> str:
    settings = config.load()
    url = settings.direct_database_url or settings.database_url
    if url is None:
        from backend import embedded

        return stack.enter_context(embedded.server(settings.data_dir))
    host = make_url(url).host or ""
    if "-pooler" in host:
        raise SystemExit(
            f"Migrations need a direct connection, and {host} is a pooler: it would not keep locks and timeouts. "
            "Set DIRECT_DATABASE_URL to the same host without `-pooler`."
        )
    return url


def named(_context: object, _revision: object, directives: list) -> None:
    """Revisions are dates and a number, so that they sort as they were made."""
    for script in directives:
        if not context.config.cmd_opts or not getattr(context.config.cmd_opts, "rev_id", None):
            now = datetime.now(UTC)
            script.rev_id = f"{now:%Y%m%d}_{now:%H%M}"


def run(connection: Connection | None, url: str | None = None) -> None:
    context.configure(
        connection=connection,
        url=url,
        target_metadata=SQLModel.metadata,
        compare_server_default=True,
        process_revision_directives=named,
        literal_binds=url is not None,
    )
    with context.begin_transaction():
        if connection is not None:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()


with ExitStack() as stack:
    if context.is_offline_mode():
        run(None, "postgresql+psycopg://")
    else:
        url = context.config.attributes.get("url") or database_url(stack)
        engine = create_engine(url, poolclass=pool.NullPool)
        with engine.connect() as connection:
            run(connection)
        engine.dispose()
