"""Statements through PgBouncer in transaction mode, and what has become of prepared ones."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import trustme
from psycopg import OperationalError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from backend.config.values import postgres_url
from backend.connection import arguments, keeps_prepared, opened
from backend.scope import Changing, Scope
from backend.services.health import _migration
from tests.client import Client, fresh_account
from tests.conftest import settings_for, worker
from tests.pooler import KEEPS_PREPARED, PROGRAM, needs_pgbouncer, pgbouncer, version


@pytest.fixture
def in_front(server: str, empty_database: str) -> Iterator[str]:
    """The way to a database of the test's own through PgBouncer."""
    with pgbouncer(PROGRAM, server) as pooler:
        yield pooler.url(empty_database)


async def test_postgres_itself_keeps_prepared_statements(database_url: str) -> None:
    assert await keeps_prepared(arguments(database_url))


@needs_pgbouncer
async def test_a_pooler_is_asked_whether_it_keeps_prepared_statements(in_front: str) -> None:
    for _ in range(3):
        kept = await keeps_prepared(arguments(in_front))

        assert kept == (version(PROGRAM) >= KEEPS_PREPARED)


@needs_pgbouncer
async def test_a_pooler_that_could_keep_them_and_is_set_not_to_is_found_out(server: str, database_url: str) -> None:
    with pgbouncer(PROGRAM, server, prepared=False) as pooler:
        there = arguments(pooler.url(database_url))
        assert not any([await keeps_prepared(there) for _ in range(3)])


@needs_pgbouncer
async def test_statements_of_many_shapes_stay_apart_behind_a_pooler(in_front: str, tmp_path: Path) -> None:
    """Two applications whose first prepared statement has the same name, on whichever server is free."""
    settings = settings_for(in_front, tmp_path, direct_database_url=None)
    async with worker(settings) as (first, http), worker(settings) as (_, other):
        ada = await fresh_account(http, first.state.tend, "ada")
        again = Client(other, ada.user_id, ada.token, ada.email)
        await ada.add_many([{"title": f"Fig {n}", "tags": ["garden"]} for n in range(30)])

        async def listing(client: Client, limit: int) -> None:
            assert len((await client.page(limit=limit, sort="title"))["items"]) == limit

        async def tags(client: Client) -> None:
            assert (await client.get("/v1/tags")).json() == {"items": [{"tag": "garden", "count": 30}]}

        for n in range(20):
            await asyncio.gather(listing(ada, n % 20 + 1), tags(again), listing(again, 3), tags(ada))


@pytest.mark.parametrize("way", ["directly", pytest.param("through a pooler", marks=needs_pgbouncer)])
async def test_a_migration_that_changes_what_a_prepared_statement_gives_is_not_noticed(
    way: str, server: str, empty_database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = empty_database if way == "directly" else request.getfixturevalue("in_front")
    async with worker(settings_for(url, tmp_path, direct_database_url=None)) as (app, http):
        mine = Scope((await fresh_account(http, app.state.tend, "ada")).user_id, app.state.tend.database)

        async def read(changing: Changing) -> str:
            return str((await changing.run(_migration(), {}))[0].version_num)

        for kind in ("text", "varchar(32)", "text"):
            for _ in range(8):  # prepared after the fifth
                assert (await http.get("/health/ready")).status_code == 200
                assert await mine.change(read, at_most=1)
            engine = create_async_engine(empty_database)
            async with engine.begin() as connection:
                await connection.execute(text(f"ALTER TABLE alembic_version ALTER version_num TYPE {kind}"))
            await engine.dispose()

        assert await mine.change(read, at_most=1)
        assert (await http.get("/health/ready")).status_code == 200


@pytest.mark.skipif(not shutil.which("pgbouncer"), reason="Debian's pgbouncer speaks TLS here, and is not installed")
async def test_a_server_is_believed_by_the_authorities_of_this_machine_or_not_at_all(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    tls: dict[str, Any] = {
        "client_tls_sslmode": "require",
        "client_tls_key_file": str(tmp_path / "key.pem"),
        "client_tls_cert_file": str(tmp_path / "cert.pem"),
    }
    os.chmod(tmp_path.parent, 0o755)
    os.chmod(tmp_path, 0o755)
    os.chmod(tmp_path / "key.pem", 0o644)
    with pgbouncer("pgbouncer", server, **tls) as pooler:
        plain = f"postgresql://postgres@localhost:{pooler.port}/postgres?sslmode=verify-full"
        for file, believed in (("authority.pem", True), ("other.pem", False)):
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / file))
            for url in (plain, f"{plain}&sslrootcert=system"):
                address = arguments(postgres_url(url))
                with nullcontext() if believed else pytest.raises(OperationalError, match="certificate verify failed"):
                    connection = await opened(address, None)
                    assert connection.pgconn.ssl_in_use
                    await connection.close()
