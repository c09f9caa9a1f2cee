"""One server a run, one database a worker, and every test alone in it."""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import create_async_engine

from backend.config import Settings
from backend.db import Database
from backend.main import create_app
from backend.models import Throttle, User
from backend.scope import Scope
from backend.services import delivering
from backend.services.recognition import Recognition
from backend.state import State
from tests import servers
from tests.client import Client, Statements, fresh_account
from tests.pooler import pgbouncer, version

if TYPE_CHECKING:
    from backend.outside import Outside
    from tests.provider import Provider

hypothesis_settings.register_profile(
    "tend", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
hypothesis_settings.load_profile("tend")

SECRET = "a secret of the tests, long enough"
vars(delivering)["LOOK_SECONDS"] = 3_600.0  # its statements would be counted; the tests look when they want to
_running = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Once a run, before the workers: they find the server in the environment."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    server = _running.enter_context(servers.postgres())
    servers.make_template(server)
    os.environ["TEND_TEST_SERVER"] = server
    if program := os.environ.get("TEST_POOLER"):
        prepared = os.environ.get("TEST_POOLER_PREPARED", "true") == "true"
        pooler = _running.enter_context(pgbouncer(program, server, prepared=prepared))
        os.environ["TEND_TEST_POOLER"] = str(pooler.port)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that start servers first: left to the end, one worker would sit over them alone."""
    items.sort(key=lambda item: "test_serving" not in item.nodeid)


def pytest_report_header() -> str:
    server = os.environ.get("TEND_TEST_SERVER")
    if not server:
        return "postgres: none"
    program = os.environ.get("TEST_POOLER")
    if not program:
        return f"postgres: {servers.describe(server)}"
    number, kept = ".".join(map(str, version(program))), os.environ.get("TEST_POOLER_PREPARED", "true")
    return f"postgres: {servers.describe(server)}, through PgBouncer {number}, prepared statements: {kept}"


def pytest_unconfigure() -> None:
    _running.close()


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": False}


@pytest.fixture(scope="session")
def server() -> str:
    return os.environ["TEND_TEST_SERVER"]


@pytest.fixture(scope="session")
def database_url(server: str) -> Iterator[str]:
    name = f"tend_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}"
    yield servers.create(server, name)
    servers.drop(server, name)


@pytest.fixture
def empty_database(server: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    name = f"tend_own_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}"
    yield servers.create(server, name)
    servers.drop(server, name)


@pytest.fixture(scope="session")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_for(database_url, tmp_path_factory.mktemp("data"))


def settings_for(url: str, data_dir: Path, **others: Any) -> Settings:
    """For an application that reaches `url` through the pooler, if there is one.

    No statement is slow: on a busy machine any may be, and the plan that is made for the log would count as one more.
    """
    through = servers.through_pooler(url)
    others = {"webhook_networks": ("127.0.0.1",), **others}  # where the tests' receivers are
    others = {"direct_database_url": url, "jwt_secret": SECRET, "slow_statement_ms": 0, **others}
    return Settings(_env_file=None, database_url=through, data_dir=data_dir, **others)


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """Another application: another worker on the same database, or one that is set otherwise."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://tend") as http,
    ):
        yield app, http


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        _keep_connections(app.state.tend.database)
        yield app
        await app.state.tend.database.engine.dispose()


def _keep_connections(database: Database) -> None:
    """Those of an operator end with their command. To make one for each test that is cleared after, and there to plan
    anew what follows from deleting a user, took a fifth of all the tests' time.
    """
    kept = create_async_engine(
        database.engine.url,
        isolation_level="AUTOCOMMIT",
        pool_pre_ping=True,  # tests cut connections off
        connect_args={"prepare_threshold": None},
    )
    vars(database)["engine"] = kept


@pytest.fixture
def recognition(app: FastAPI) -> Recognition:
    found: Recognition = app.state.recognition
    return found


@pytest.fixture
async def state(app: FastAPI, recognition: Recognition) -> AsyncIterator[State]:
    """Cleared after each test: no test sees what another left."""
    state: State = app.state.tend
    yield state
    async with state.database.engine.connect() as connection:
        await connection.execute(delete(User).execution_options(crosses_users="clears the table"))
        await connection.execute(delete(Throttle))
    await state.later.settled()
    recognition.forget_all()


@pytest.fixture
async def http(app: FastAPI, state: State) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://tend") as client:
        yield client


@pytest.fixture
async def alice(http: httpx.AsyncClient, state: State) -> Client:
    return await fresh_account(http, state, "alice")


@pytest.fixture
async def bob(http: httpx.AsyncClient, state: State) -> Client:
    return await fresh_account(http, state, "bob")


@pytest.fixture
def mine(alice: Client, state: State) -> Scope:
    """Alice's scope, for services and the door."""
    return Scope(alice.user_id, state.database)


@pytest.fixture
def statements(state: State) -> Iterator[Statements]:
    """Counts what reaches the database."""
    counted = Statements()
    state.database.watchers.append(counted.note)
    yield counted
    state.database.watchers.remove(counted.note)


@pytest.fixture
def there() -> "Iterator[Provider]":
    """A provider to sign in with. It makes keys when it is imported, which other tests need not wait for."""
    from tests.provider import providing

    with providing() as provider:
        yield provider


@pytest.fixture(scope="module")
def packaged() -> Iterator[str]:
    from tests import provider

    with provider.packaged() as address:
        yield address


@pytest.fixture
async def outside(there: "Provider") -> "AsyncIterator[Outside]":
    from backend.outside import Outside
    from tests.provider import settings_with

    outside = Outside(settings_with(there.issuer))
    yield outside
    await outside.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass for what is kept of a provider."""
    from backend import provider

    past = [0.0]
    monkeypatch.setattr(provider, "monotonic", lambda: time.monotonic() + past[0])

    def passes(seconds: float) -> None:
        past[0] += seconds

    return passes
