"""A real Postgres for the tests: TEST_DATABASE_URL, else a container, else the embedded server."""

import gc
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, create_engine, make_url, text

from backend import embedded
from backend.config import values
from tests.pooler import pooled

ROOT = Path(__file__).parent.parent
TEMPLATE = "tend_template"


@contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty server that is only ours, and what it is, for the header of the run."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield values.postgres_url(url)
    elif os.environ.get("TEST_POSTGRES") != "embedded" and _docker_answers():
        from testcontainers.community.postgres import PostgresContainer

        image = os.environ.get("TEST_POSTGRES_IMAGE", "postgres:18")
        # Without a locale an image's own choice decides which letters there are.
        with PostgresContainer(image, driver="psycopg").with_env("LANG", "C.UTF-8") as container:
            yield container.get_connection_url()
    else:
        with (
            tempfile.TemporaryDirectory(prefix="tend-test-") as folder,
            embedded.server(Path(folder), embedded.LAZY) as url,
        ):
            os.chmod(folder, 0o711)  # for PgBouncer, where root's tests run it as nobody
            yield url


def _docker_answers() -> bool:
    """An engine that can give the image; one that cannot pull it is as good as none."""
    from docker.errors import DockerException

    if (engine := _docker()) is None:
        return False
    image = os.environ.get("TEST_POSTGRES_IMAGE", "postgres:18")
    try:
        engine.images.get(image)
    except DockerException:
        try:
            engine.images.pull(image)
        except DockerException:
            return False
    finally:
        engine.close()
    return True


def _docker() -> Any:
    """Its client, if an engine answers. When none does, the client leaves a socket open, which Python would tell."""
    import docker
    from docker.errors import DockerException

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return docker.from_env(timeout=5)
        except DockerException:
            pass
        gc.collect()
    return None


def administer(server: str, *statements: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def database(server: str, name: str) -> URL:
    return make_url(server).set(database=name)


def address(server: str, name: str) -> str:
    return database(server, name).render_as_string(hide_password=False)


def through_pooler(url: str) -> str:
    """The way to a database of the tests' server through PgBouncer, where the run has one; else as it is."""
    port, server, there = os.environ.get("TEND_TEST_POOLER"), os.environ.get("TEND_TEST_SERVER", ""), make_url(url)
    own = make_url(server) if server else None
    if not port or own is None or (there.host, there.port, there.query) != (own.host, own.port, own.query):
        return url
    return pooled(there, int(port))


def create(server: str, name: str, template: str = TEMPLATE) -> str:
    """A copy of the template, in tens of milliseconds."""
    administer(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE {template}")
    return address(server, name)


def drop(server: str, name: str) -> None:
    administer(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def migrate(url: str, revision: str = "head") -> None:
    alembic = Config(ROOT / "alembic.ini", attributes={"configure_logging": False, "url": url})
    if revision == "base":
        command.downgrade(alembic, revision)
    else:
        command.upgrade(alembic, revision)


def downgrade(url: str, revision: str) -> None:
    alembic = Config(ROOT / "alembic.ini", attributes={"configure_logging": False, "url": url})
    command.downgrade(alembic, revision)


def make_template(server: str) -> None:
    create(server, TEMPLATE, "template1")
    migrate(address(server, TEMPLATE))


def describe(server: str) -> str:
    engine = create_engine(server)
    with engine.connect() as connection:
        version = connection.execute(text("SHOW server_version")).scalar_one()
    engine.dispose()
    return f"{version} at {make_url(server).render_as_string()}"
