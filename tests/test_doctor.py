"""`tend doctor` on installations that are well, and on such as are not."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from typer.testing import CliRunner

from backend.cli import app
from backend.config import Settings
from tests import mail_server, servers
from tests.pooler import PROGRAM, needs_pgbouncer, pgbouncer
from tests.provider import Provider

SECRET = "KbV0mPpK0nU1xYgq8gqkQ3cYw5m9Zt7n0Rj4Lh2e"
OTHER = "t4Wq9Zk1uF7sXc3vB8nM5aD2gH6jL0pQeRyTiUoP"
Json = dict[str, Any]
Doctor = Callable[..., dict[str, Json]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Doctor:
    """What it finds, by the check's name, in production and on the tests' database unless it is told otherwise."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def examine(**environment: str) -> dict[str, Json]:
        well = {
            "ENVIRONMENT": "production",
            "DATABASE_URL": database_url,
            "JWT_SECRET": SECRET,
            "APP_URL": "https://app.example.com",
            "TRUSTED_PROXIES": "10.0.0.0/8",
        }
        done = CliRunner().invoke(app, ["doctor", "--json"], env={**well, **environment})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        for secret in (SECRET, OTHER, "hidden"):
            assert secret not in done.output
        said = json.loads(done.stdout)
        found = {check["name"]: check for check in said["checks"]}
        failing = any(check["level"] == "fail" for check in found.values())
        assert said["healthy"] is not failing
        assert done.exit_code == int(failing)
        assert all(check["advice"] for check in found.values() if check["level"] in {"warn", "fail"})
        return found

    return examine


def levels(found: dict[str, Json], level: str) -> set[str]:
    return {name for name, check in found.items() if check["level"] == level}


@pytest.fixture
def role(server: str, database_url: str) -> Iterator[str]:
    """The address with a role of its own, which may read and not write."""
    name = f"tend_{os.getpid()}"
    servers.administer(database_url, f"CREATE ROLE {name} LOGIN PASSWORD 'hidden' CONNECTION LIMIT 5")
    servers.administer(database_url, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    yield make_url(database_url).set(username=name, password="hidden").render_as_string(hide_password=False)
    servers.administer(database_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_sound_installation_has_nothing_that_fails(doctor: Doctor) -> None:
    found = doctor()

    assert not levels(found, "fail") | levels(found, "skipped")
    assert levels(found, "warn") <= {"rights", "mail", "encryption", "storage"}  # the tests' server, and no mail


def test_for_people_each_check_is_a_line(doctor: Doctor, database_url: str) -> None:
    given = {"DATABASE_URL": database_url, "JWT_SECRET": SECRET}
    done = CliRunner().invoke(app, ["doctor"], env=given)

    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("ok      configuration ")
    assert "ok      migrations" in done.stdout
    assert "0 failed" in done.stdout


def test_settings_that_cannot_be_read_leave_all_else_out(doctor: Doctor) -> None:
    found = doctor(JWT_SECRET="hidden")

    assert levels(found, "fail") == {"configuration"}
    assert "JWT_SECRET" in found["configuration"]["said"]
    assert levels(found, "skipped") == set(found) - {"configuration"}


def test_where_there_is_no_database_none_is_made(doctor: Doctor, tmp_path: Path) -> None:
    found = doctor(ENVIRONMENT="development", DATABASE_URL="", JWT_SECRET="")

    assert levels(found, "fail") == {"database"}
    assert found["database"]["said"] == "there is none"
    assert "DATABASE_URL" in found["database"]["advice"]
    assert list(tmp_path.iterdir()) == []


def test_where_there_is_no_database_all_else_is_looked_at(doctor: Doctor) -> None:
    found = doctor(
        ENVIRONMENT="development", DATABASE_URL="", MAIL_FROM="tend@example.com", SMTP_URL="smtp://127.0.0.1:1"
    )

    assert levels(found, "fail") == {"database", "mail"}
    assert {"configuration", "proxies", "storage", "replica", "providers"} <= levels(found, "ok")
    assert found["migrations"]["said"] == "not looked at: `database` comes first"


def test_settings_that_production_should_not_have(doctor: Doctor) -> None:
    found = doctor(
        APP_URL="http://app.example.com",
        TRUSTED_PROXIES="",
        CORS_ORIGINS="http://app.example.com",
        JWT_SECRET="changeme-changeme-changeme-changeme",
    )

    assert found["production"]["level"] == "fail"
    assert {"proxies", "cors", "secrets"} <= levels(found, "warn")


def test_a_development_secret_that_others_can_read_fails(doctor: Doctor, tmp_path: Path) -> None:
    kept = tmp_path / ".data" / "jwt-secret"
    kept.parent.mkdir()
    kept.write_text(OTHER)
    kept.chmod(0o644)
    development = {"ENVIRONMENT": "development", "JWT_SECRET": ""}

    assert doctor(**development)["secrets"]["advice"].startswith("chmod 600")
    kept.chmod(0o600)
    assert doctor(**development)["secrets"]["level"] == "ok"


def test_a_database_that_cannot_be_reached_leaves_out_what_needs_it(doctor: Doctor) -> None:
    found = doctor(DATABASE_URL="postgresql://nobody:hidden@127.0.0.1:1/none")

    assert levels(found, "fail") == {"database"}
    assert "migrations" in levels(found, "skipped")
    assert "keys" in levels(found, "skipped")
    assert found["mail"]["level"] == "warn"  # it needs none


def test_a_database_that_does_not_answer_is_given_up(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.operations.doctor.findings.SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = doctor(DATABASE_URL=f"postgresql://nobody:hidden@127.0.0.1:{silent.getsockname()[1]}/none")

    assert found["database"]["level"] == "fail"
    assert "no answer" in found["database"]["said"]


@pytest.mark.parametrize("revision", ["base", "20261122_0003"])
def test_a_database_that_is_not_migrated_fails(doctor: Doctor, empty_database: str, revision: str) -> None:
    servers.downgrade(empty_database, revision)

    found = doctor(DATABASE_URL=empty_database)

    assert levels(found, "fail") == {"migrations"}
    assert "tend migrate" in found["migrations"]["advice"]
    assert "keys" in levels(found, "skipped")


def test_a_database_that_a_newer_release_migrated_is_a_warning(doctor: Doctor, empty_database: str) -> None:
    servers.administer(empty_database, "UPDATE alembic_version SET version_num = '29990101_0000'")

    assert doctor(DATABASE_URL=empty_database)["migrations"]["level"] == "warn"


def test_a_database_whose_locale_knows_ascii_alone_is_a_warning(doctor: Doctor, server: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS in_ascii"))
        connection.execute(
            text("CREATE DATABASE in_ascii TEMPLATE template0 LOCALE_PROVIDER libc LC_CTYPE 'C' LC_COLLATE 'C'")
        )
    engine.dispose()

    found = doctor(DATABASE_URL=make_url(server).set(database="in_ascii").render_as_string(hide_password=False))

    assert found["letters"]["level"] == "warn"


def test_what_a_restore_forgot_fails(doctor: Doctor, empty_database: str) -> None:
    servers.administer(
        empty_database, "DROP TEXT SEARCH CONFIGURATION tend_yiddish CASCADE", "DROP EXTENSION pg_trgm CASCADE"
    )

    found = doctor(DATABASE_URL=empty_database)

    assert levels(found, "fail") == {"extensions", "search configurations"}


def test_migrations_of_another_database_fail(doctor: Doctor, database_url: str, empty_database: str) -> None:
    same = doctor(DIRECT_DATABASE_URL=database_url)
    other = doctor(DIRECT_DATABASE_URL=empty_database)
    unreachable = doctor(DIRECT_DATABASE_URL="postgresql://nobody:hidden@127.0.0.1:1/none")

    assert same["direct database"]["level"] == "ok"
    assert levels(other, "fail") == levels(unreachable, "fail") == {"direct database"}


def test_a_role_that_cannot_write_fails_and_its_limit_of_connections_counts(doctor: Doctor, role: str) -> None:
    found = doctor(DATABASE_URL=role, WEB_CONCURRENCY="2")

    assert levels(found, "fail") == {"rights", "connections"}
    assert doctor(DATABASE_URL=role)["connections"]["level"] == "warn"


def test_a_role_whose_statements_end_too_early_is_a_warning(doctor: Doctor, database_url: str) -> None:
    given = "&" if "?" in database_url else "?"

    assert (
        doctor(DATABASE_URL=f"{database_url}{given}options=-c%20statement_timeout%3D2s")["time limits"]["level"]
        == "warn"
    )


@pytest.mark.parametrize(("seconds", "level"), [(5, "warn"), (-60, "fail"), (0, "ok")])
def test_a_database_whose_clock_runs_otherwise_is_told(
    doctor: Doctor, empty_database: str, seconds: int, level: str
) -> None:
    skewed = f"SELECT pg_catalog.clock_timestamp() + interval '{seconds} s'"
    servers.administer(
        empty_database,
        "CREATE SCHEMA skewed",
        f"CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ {skewed} $$",
        f"ALTER DATABASE {make_url(empty_database).database} SET search_path = skewed, pg_catalog, public",
    )

    assert doctor(DATABASE_URL=empty_database)["clock"]["level"] == level


def test_what_is_sealed_under_another_secret_fails_and_under_the_former_one_is_to_be_resealed(
    doctor: Doctor, empty_database: str
) -> None:
    given = {"DATABASE_URL": empty_database, "JWT_SECRET": OTHER}
    assert CliRunner().invoke(app, ["keys", "rotate"], env=given).exit_code == 0

    assert doctor(**given)["keys"]["level"] == "ok"
    assert levels(doctor(DATABASE_URL=empty_database), "fail") == {"keys"}
    both = {"DATABASE_URL": empty_database, "JWT_SECRET_FORMER": OTHER}
    assert "reseal" in doctor(**both)["keys"]["advice"]
    assert CliRunner().invoke(app, ["keys", "reseal"], env={"JWT_SECRET": SECRET, **both}).exit_code == 0
    assert "Take it away" in doctor(**both)["keys"]["advice"]
    assert doctor(DATABASE_URL=empty_database)["keys"]["level"] == "ok"


def test_accounts_past_their_end_are_told(doctor: Doctor, empty_database: str) -> None:
    servers.administer(
        empty_database,
        "INSERT INTO users (id, email, email_key, name, ends_at) "
        "SELECT gen_random_uuid(), 'a@b.co', 'a@b.co', 'x', now() - interval '2 days'",
    )

    assert "tend clean" in doctor(DATABASE_URL=empty_database)["housekeeping"]["advice"]


@needs_pgbouncer
def test_a_pooler_that_keeps_no_prepared_statements_and_would_be_migrated_through_fails(
    doctor: Doctor, empty_database: str
) -> None:
    with pgbouncer(PROGRAM, empty_database, prepared=False) as there:
        given = {"DATABASE_URL": there.url(empty_database)}
        assert levels(doctor(**given), "fail") == {"direct database"}

        given["PREPARED_STATEMENTS"] = "true"
        assert levels(doctor(**given), "fail") == {"direct database", "prepared statements"}

        given |= {"DIRECT_DATABASE_URL": empty_database, "PREPARED_STATEMENTS": "false"}
        assert levels(doctor(**given), "fail") == set()


def test_a_replica_is_reached_and_follows(doctor: Doctor, empty_database: str) -> None:
    for url in ("postgresql://nobody@127.0.0.1:1/none", empty_database):  # away, and a database by itself
        assert levels(doctor(DATABASE_URL=empty_database, DATABASE_REPLICA_URL=url), "fail") == {"replica"}


def test_mail_is_greeted_and_signed_in_to_and_nothing_is_sent(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, context = mail_server.certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    sender = {"MAIL_FROM": "tend@example.com"}
    with mail_server.running(tls_context=context, require_starttls=True) as smtp:
        right = doctor(SMTP_URL=f"smtp://ada:p%40ss%2Fw%3Ard@127.0.0.1:{smtp.port}", **sender)
        wrong = doctor(SMTP_URL=f"smtp://ada:hidden@127.0.0.1:{smtp.port}", **sender)

        assert smtp.envelopes == []
    assert right["mail"]["level"] == "ok"
    assert "STARTTLS, signed in" in right["mail"]["said"]
    assert "refused user and password" in wrong["mail"]["said"]


def test_mail_that_cannot_be_reached_or_has_no_tls_fails(doctor: Doctor) -> None:
    with mail_server.running() as smtp:
        without = doctor(SMTP_URL=f"smtp://ada:hidden@127.0.0.1:{smtp.port}", MAIL_FROM="tend@example.com")
    away = doctor(SMTP_URL="smtps://ada:hidden@127.0.0.1:1", MAIL_FROM="tend@example.com")

    assert levels(without, "fail") == levels(away, "fail") == {"mail"}


def test_providers_are_asked_for_what_they_say_of_themselves(doctor: Doctor, there: Provider) -> None:
    back = '["https://app.example.com/in"]'

    def providers(issuer: str) -> str:
        return json.dumps({"there": {"issuer": issuer, "client_id": "tend", "client_secret": "hidden"}})

    right = doctor(OIDC_PROVIDERS=providers(there.issuer), OIDC_REDIRECT_URIS=back)
    wrong = doctor(OIDC_PROVIDERS=providers("http://127.0.0.1:1"), OIDC_REDIRECT_URIS=back)

    assert right["providers"]["level"] == "ok"
    assert levels(wrong, "fail") == {"providers"}
