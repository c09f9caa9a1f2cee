"""Backups: of one moment, whole or not there, restored as they were or not at all."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psutil
import psycopg
import pytest
from pyrage import x25519
from sqlalchemy import make_url
from typer.testing import CliRunner

from backend.cli import app
from backend.config import SettingsError
from backend.errors import TendError
from backend.operations import manifests
from tests import servers
from tests.served import environment_with

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw")
TITLES = [
    "Wässere die Feigen 🌱",
    "Tab\tand \\N and \\.",
    '"quoted", (1,2) {x}',
    "日本語の課題",
    "'; DROP TABLE tasks; --",
]
SECRET = "Nobody else may read this"
KEY, OTHER = x25519.Identity.generate(), x25519.Identity.generate()


class Done(NamedTuple):
    code: int
    said: str


def tend(*arguments: object, **environment: str) -> Done:
    """A command as `tend` runs it, in this process."""
    password = make_url(os.environ["TEND_TEST_SERVER"]).password
    given = {"DATA_DIR": "/nowhere", **({"PGPASSWORD": password} if password else {}), **environment}
    result = CliRunner().invoke(app, [str(each) for each in arguments], env=given)
    if isinstance(result.exception, TendError | SettingsError):
        return Done(1, str(result.exception))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.output)


def bare(url: str) -> str:
    """Without the password, which `--into` refuses."""
    return make_url(url)._replace(password=None).render_as_string(hide_password=False)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def tables(url: str) -> set[str]:
    return {name for (name,) in rows(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Of all tables, generated columns too; but what crashes forget, and what a restore makes new."""
    kept = sorted(tables(url) - {"throttles", "sync_state"})
    found = {name: rows(url, f"SELECT t::text FROM {name} t ORDER BY 1") for name in kept}
    return found | {"sync_state": rows(url, "SELECT user_id, seq, floor FROM sync_state ORDER BY 1")}


@contextmanager
def another(server: str, name: str, template: str = "template1") -> Iterator[str]:
    """A database of the test's own, empty unless it is a copy of something."""
    yield servers.create(server, f"tend_{name}_{WORKER}", template)
    servers.drop(server, f"tend_{name}_{WORKER}")


@pytest.fixture(scope="module")
def source(server: str) -> Iterator[str]:
    with another(server, "source", servers.TEMPLATE) as url:
        fill(url)
        yield url


def fill(url: str) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        for number in range(3):
            user = uuid4()
            email = f"ü{number}@example.com"
            connection.execute(
                "INSERT INTO users (id, email, email_key, name) VALUES (%s, %s, %s, 'Ædå')", (user, email, email)
            )
            connection.execute("INSERT INTO sync_state (user_id, seq) VALUES (%s, 50)", (user,))
            connection.execute(
                "INSERT INTO audit_events (user_id, id, kind, address, device, detail)"
                " VALUES (%s, %s, 'x', '', '', %s)",
                (user, uuid4(), json.dumps({"a": [1.5, None, "\u2028\\"]})),
            )
            for version, title in enumerate([*TITLES, SECRET], 1):
                deleted = datetime.now(UTC) if version % 2 else None
                connection.execute(
                    "INSERT INTO tasks (user_id, id, version, title, title_key, description, tags, due_date,"
                    " deleted_at) VALUES (%s, %s, %s, %s, %s, %s, %s, '0001-01-01 00:00:00+00', %s)",
                    (
                        user,
                        uuid4(),
                        version,
                        title,
                        title,
                        f"{title}\r\n\\.\n",
                        json.dumps([title[:40], "a/b"]),
                        deleted,
                    ),
                )
        connection.execute("INSERT INTO throttles (key, count, until) VALUES ('x', 1, now())")


@pytest.fixture(scope="module")
def plain(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("plain") / "made" / "there"
    done = tend("backup", target, DATABASE_URL=source)
    assert done.code == 0, done.said
    (made,) = target.iterdir()
    return made


@pytest.fixture(scope="module")
def sealed(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sealed")
    recipients = f"{x25519.Identity.generate().to_public()}, {KEY.to_public()}"
    done = tend("backup", target, DATABASE_URL=source, BACKUP_RECIPIENTS=recipients)
    assert done.code == 0, done.said
    (made,) = target.iterdir()
    return made


@pytest.fixture
def copy(plain: Path, tmp_path: Path) -> Path:
    """One that may be damaged."""
    return shutil.copytree(plain, tmp_path / plain.name)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    for name, key in (("right", str(KEY)), ("wrong", str(OTHER)), ("none", "nothing of the kind")):
        (folder / name).write_text(f"# created: today\n{key}\n")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    with another(server, "empty") as url:
        yield url


def retold(backup: Path, **changes: Any) -> None:
    """As somebody wrote it who knew what they did: the files' sums are right."""
    manifest = json.loads((backup / manifests.MANIFEST).read_text())
    for name, file in manifest["files"].items():
        content = (backup / name).read_bytes()
        file |= {"size": len(content), "sha256": sha256(content).hexdigest()}
    (backup / manifests.MANIFEST).write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_was_backed_up_is_restored_as_it_was_with_other_epochs(
    source: str, plain: Path, sealed: Path, keys: dict[str, Path], empty: str, encrypted: bool
) -> None:
    options = ["--identity", keys["right"]] if encrypted else []

    done = tend("restore", sealed if encrypted else plain, "--into", bare(empty), *options)

    assert done.code == 0, done.said
    assert everything(empty) == everything(source)
    epochs = "SELECT user_id, epoch FROM sync_state"
    assert not set(rows(empty, epochs)) & set(rows(source, epochs))
    assert rows(empty, "SELECT count(*) FROM throttles") == [(0,)]


def test_only_its_owner_may_read_a_backup(plain: Path, sealed: Path) -> None:
    for folder in (plain, sealed):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_an_encrypted_backup_shows_nothing_of_what_is_in_it(sealed: Path) -> None:
    assert {path.name for path in sealed.iterdir()} == {"manifest.json", "database.dump.age", "tables.json.age"}
    for path in sealed.glob("*.age"):
        assert path.read_bytes().startswith(b"age-encryption.org/v1\n")
    assert "rows" not in (sealed / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("name", "words"), [("wrong", "another key"), ("none", "no age private key"), (None, "--identity")]
)
def test_without_the_right_key_nothing_is_touched(
    sealed: Path, keys: dict[str, Path], empty: str, name: str | None, words: str
) -> None:
    done = tend("restore", sealed, "--into", bare(empty), *(["--identity", keys[name]] if name else []))

    assert done.code == 1
    assert words in done.said
    assert tables(empty) == set()


@pytest.mark.parametrize("name", ["database.dump", "tables.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_backup_is_refused_before_anything_is_touched(copy: Path, empty: str, name: str, damage: str) -> None:
    content = bytearray((copy / name).read_bytes())
    middle = len(content) // 2
    content[middle] ^= 0x80
    (copy / name).write_bytes(content if damage == "flipped" else content[:middle])
    if damage == "gone":
        (copy / name).unlink()

    restored, checked = tend("restore", copy, "--into", bare(empty)), tend("check-backups", copy.parent)

    assert (restored.code, checked.code) == (1, 1)
    assert name in restored.said
    assert tables(empty) == set()


@pytest.mark.parametrize(("wrong", "words"), [("cut", "The dump cannot be read"), ("rows", "tasks came out with 18")])
def test_what_turns_out_wrong_in_the_middle_leaves_the_target_as_it_was(
    server: str, copy: Path, wrong: str, words: str
) -> None:
    if wrong == "cut":
        dump = copy / "database.dump"
        dump.write_bytes(dump.read_bytes()[:-2000])
    else:
        told = (copy / "tables.json").read_text()
        assert '"rows":18' in told
        (copy / "tables.json").write_text(told.replace('"rows":18', '"rows":19'))
    retold(copy)
    with another(server, "target", servers.TEMPLATE) as target:
        rows(target, "INSERT INTO throttles VALUES ('kept', 1, now())")

        done = tend("restore", copy, "--into", bare(target), "--replace")

        assert done.code == 1
        assert words in done.said
        assert "Nothing was restored" in done.said
        assert rows(target, "SELECT key FROM throttles") == [(b"kept",)]
        assert rows(target, "SELECT count(*) FROM tasks") == [(0,)]


BROKEN_AT_COMMIT = (
    "CREATE SCHEMA elsewhere",
    "CREATE TABLE elsewhere.watched (id int)",
    "CREATE FUNCTION elsewhere.go() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$",
    "CREATE CONSTRAINT TRIGGER last AFTER INSERT ON elsewhere.watched DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION elsewhere.go()",
    "CREATE FUNCTION elsewhere.watch() RETURNS event_trigger LANGUAGE plpgsql AS "
    "$$ BEGIN INSERT INTO elsewhere.watched VALUES (1); END $$",
    "CREATE EVENT TRIGGER watching ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION elsewhere.watch()",
)


def test_a_connection_that_breaks_while_all_is_committed_leaves_the_outcome_open(server: str, plain: Path) -> None:
    with another(server, "target", servers.TEMPLATE) as target:
        for statement in BROKEN_AT_COMMIT:
            rows(target, statement)

        done = tend("restore", plain, "--into", bare(target), "--replace")

        assert (done.code, "is not known" in done.said, "Nothing was" in done.said) == (1, True, False)


def test_a_target_with_tables_is_left_alone_unless_it_is_to_be_replaced(source: str, server: str, plain: Path) -> None:
    with another(server, "target", servers.TEMPLATE) as target:
        rows(target, "CREATE TABLE newer (user_id uuid REFERENCES users, kind priority)")

        refused = tend("restore", plain, "--into", bare(target))
        assert (refused.code, "newer" in tables(target)) == (1, True)
        assert "--replace" in refused.said

        assert tend("restore", plain, "--into", bare(target), "--replace").code == 0
        assert everything(target) == everything(source)


def test_a_target_that_is_in_use_is_given_up_soon_and_says_why(
    server: str, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.operations import restores

    monkeypatch.setattr(restores, "LOCK_SECONDS", 0.2)
    with another(server, "target", servers.TEMPLATE) as target:
        with psycopg.connect(target.replace("+psycopg", "")) as busy:
            busy.execute("LOCK TABLE users IN ACCESS SHARE MODE")

            done = tend("restore", plain, "--into", bare(target), "--replace")

        assert done.code == 1
        assert "Stop the service" in done.said
        assert "users" in tables(target)


def test_a_target_to_which_an_idle_service_is_connected_is_left_alone(server: str, plain: Path) -> None:
    with (
        another(server, "target", servers.TEMPLATE) as target,
        psycopg.connect(target.replace("+psycopg", ""), application_name="tend"),
    ):
        refused = tend("restore", plain, "--into", bare(target), "--replace")
        assert (refused.code, "connected to that database (connections: 1)" in refused.said) == (1, True)
        assert rows(target, "SELECT count(*) FROM tasks") == [(0,)]

        assert tend("restore", plain, "--into", bare(target), "--replace", "--force").code == 0


def test_a_folder_of_backups_in_place_of_one_names_the_newest(copy: Path) -> None:
    done = tend("verify-backup", copy.parent)

    assert (done.code, str(copy) in done.said) == (1, True)


def test_a_command_in_the_wrong_folder_makes_no_database(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (
        ("backup", "backups"),
        ("restore-epoch",),
        ("keys", "list"),
        ("account", "disable", "ada@example.com"),
        ("clean",),
        ("doctor",),
    ):
        done = tend(*command, DATABASE_URL="", DATA_DIR=str(tmp_path / "data"))
        assert done.code == 1
        assert "DATABASE_URL" in done.said
    assert list(tmp_path.iterdir()) == []


def test_the_configured_database_is_replaced_only_when_asked(plain: Path, empty: str) -> None:
    for configured, options in ((empty, ()), (empty, ("--into", bare(empty)))):
        refused = tend("restore", plain, *options, DATABASE_URL=configured)
        assert (refused.code, "--replace" in refused.said) == (1, True)
    pooled, direct = (f"postgresql://u@db{kind}.example.com/tend" for kind in ("-pooler", ""))
    refused = tend("restore", plain, "--into", direct, DATABASE_URL=pooled)
    assert "configured" in refused.said
    assert tables(empty) == set()

    assert tend("restore", plain, "--replace", DATABASE_URL=empty).code == 0
    assert "tasks" in tables(empty)


def test_a_backup_of_newer_code_is_refused_and_of_older_asks_for_migrations(copy: Path, empty: str) -> None:
    retold(copy, migration="29990101_0001")
    refused = tend("restore", copy, "--into", bare(empty))
    assert refused.code == 1
    assert "29990101_0001" in refused.said
    assert tables(empty) == set()

    retold(copy, migration="20261122_0001")
    assert "tend migrate" in tend("restore", copy, "--into", bare(empty)).said


@pytest.mark.long
def test_it_is_one_moment_whoever_writes_meanwhile_and_no_password_is_seen(
    server: str, empty: str, tmp_path: Path
) -> None:
    with another(server, "busy", servers.TEMPLATE) as url:
        person = "INSERT INTO users (id, email, email_key, name) VALUES (gen_random_uuid(), '{0}', '{0}', 'x')"
        rows(url, person.format("before"))
        password, role = "hunter2-hunter2", f"tend_password_{WORKER}"
        rows(url, f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{password}'")
        address = make_url(url).set(username=role, password=password).render_as_string(hide_password=False)
        finished: list[Done] = []
        taking = threading.Thread(
            target=lambda: finished.append(tend("backup", tmp_path, "--verify", DATABASE_URL=address))
        )
        # pg_dump takes the definition of this table, and nobody reads it.
        with locked(url, "throttles"):
            with locked(url, "tasks"):
                taking.start()
                wait_for(url, "pg_table_size")
                rows(url, person.format("meanwhile"))
            wait_for(url, "^LOCK .*throttles")
            seen = [process.cmdline() for process in psutil.Process().children(recursive=True)]
        taking.join()
        rows(url, f"DROP ROLE {role}")

        assert any("pg_dump" in " ".join(command) for command in seen)
        assert not any(password in part for command in seen for part in command)
        assert finished[0].code == 0, finished[0].said
        assert "Verified" in finished[0].said
        (made,) = tmp_path.iterdir()
        assert tend("restore", made, "--into", bare(empty)).code == 0
        assert rows(empty, "SELECT email FROM users") == [("before",)]


@contextmanager
def locked(url: str, table: str) -> Iterator[None]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield


def wait_for(url: str, statement: str) -> None:
    """Until a statement that begins so waits for a lock."""
    waits = f"SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ '{statement}'"
    deadline = time.monotonic() + 30
    while not rows(url, waits):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_backup_that_is_interrupted_leaves_nothing(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    with another(server, "busy", servers.TEMPLATE) as url:
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.cli", "backup", str(tmp_path / "backups")],
            env=environment_with(tmp_path, DATABASE_URL=url),
        )
        with locked(url, "throttles"):
            wait_for(url, "^LOCK .*throttles")
            assert [path.name.startswith(".") for path in (tmp_path / "backups").iterdir()] == [True]
            process.send_signal(number)
            assert process.wait(20) == code
            assert not any((tmp_path / "backups").iterdir())
    assert ("Interrupted. No backup was made." in capfd.readouterr().err) is (number == signal.SIGINT)


def test_what_a_killed_backup_left_is_removed_by_the_next_and_one_at_work_is_not(tmp_path: Path) -> None:
    left = tmp_path / f"{manifests.DRAFT}left"
    left.mkdir()
    (left / "database.dump").write_text("half")
    with manifests.draft(tmp_path) as first, manifests.draft(tmp_path) as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second])
        assert manifests.among(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def aged(copy: Path, days: int, database: str) -> Path:
    """The same, as if it were older and perhaps another database's."""
    folder = copy.with_name(f"{database}-{days}")
    shutil.copytree(copy, folder)
    retold(folder, made_at=str(datetime.now(UTC) - timedelta(days=days)), database=database)
    return folder


def test_older_backups_of_the_same_database_go_and_nothing_else(source: str, copy: Path) -> None:
    name = make_url(source).database or ""
    oldest, old = (aged(copy, days, name) for days in (9, 8))
    others = [aged(copy, 7, "other"), copy.with_name("not-a-backup"), copy.with_name("file")]
    others[1].mkdir()
    others[2].touch()

    done = tend("backup", copy.parent, "--keep", 2, DATABASE_URL=source)

    assert "2 older deleted" in done.said
    (made,) = set(copy.parent.iterdir()) - {*others, copy}
    assert not {oldest, old} & set(copy.parent.iterdir())
    assert tend("backup", copy.parent, "--keep", 0, DATABASE_URL=source).code == 2
    assert made.exists()


def test_a_check_fails_when_the_newest_is_too_old_or_there_is_none(copy: Path, tmp_path: Path) -> None:
    assert tend("check-backups", tmp_path, "--within", "1h").code == 0

    aged(copy, 3, "other")  # a database whose newest is too old is not hidden by another
    assert tend("check-backups", tmp_path, "--within", "4d").code == 0
    late = tend("check-backups", tmp_path, "--within", "71h")

    assert (late.code, "too old" in late.said) == (1, True)
    (tmp_path / "none").mkdir()
    assert tend("check-backups", tmp_path / "none").code == 1
    assert tend("check-backups", tmp_path, "--within", "soon").code == 2


def test_a_pooler_is_refused_and_so_is_a_password_that_others_would_see(plain: Path, tmp_path: Path) -> None:
    pooled = "postgresql://u@ep-x-pooler.example.com/db"
    for done in (
        tend("backup", tmp_path, DATABASE_URL=pooled),
        tend("restore", plain, "--into", pooled),
        tend("restore-epoch", DATABASE_URL=pooled),
    ):
        assert (done.code, "is a pooler" in done.said) == (1, True)
    shown = tend("restore", plain, "--into", "postgresql://u:hunter2@db.example.com/db")
    assert (shown.code, "PGPASSWORD" in shown.said, "hunter2" in shown.said) == (1, True, False)
    assert list(tmp_path.iterdir()) == []


def test_an_encrypted_backup_is_not_begun_when_it_could_not_be_verified(source: str, tmp_path: Path) -> None:
    done = tend("backup", tmp_path, "--verify", DATABASE_URL=source, BACKUP_RECIPIENTS=str(KEY.to_public()))

    assert (done.code, "--identity" in done.said) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_tend_in_it_is_no_backup(empty: str, tmp_path: Path) -> None:
    assert "tend migrate" in tend("backup", tmp_path, DATABASE_URL=empty).said
    assert list(tmp_path.iterdir()) == []


def test_a_server_newer_than_all_programs_is_refused(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.operations import clients

    monkeypatch.setattr(clients, "_version", lambda _folder: 12)

    done = tend("backup", tmp_path, DATABASE_URL=source)

    assert (done.code, "at least as new" in done.said) == (1, True)


def test_after_a_restore_by_other_means_everybody_gets_a_new_epoch(server: str, source: str) -> None:
    with another(server, "target", make_url(source).database or "") as target:
        before = set(rows(target, "SELECT user_id, epoch FROM sync_state"))

        done = tend("restore-epoch", DATABASE_URL=target)

        assert "3 users" in done.said
        assert not before & set(rows(target, "SELECT user_id, epoch FROM sync_state"))
