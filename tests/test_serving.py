"""`tend serve` as a process: it starts, stops, and survives being killed."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests import served
from tests.served import Served, processes_of, run, serving

pytestmark = pytest.mark.long


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a first start makes, kept to be copied: most tests are about what comes after."""
    data_dir = tmp_path_factory.mktemp("migrated") / "data"
    done = run(data_dir, "migrate")
    assert done.returncode == 0, done.stderr
    return data_dir


@pytest.fixture
def data_dir(tmp_path: Path, migrated: Path) -> Path:
    subprocess.run(["cp", "-a", str(migrated), str(tmp_path / "data")], check=True)  # keeps the owner
    return tmp_path / "data"


_clients: list[httpx.Client] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _clients:
        _clients.pop().close()


def sign_in(server: Served, email: str = "ada@example.com") -> httpx.Client:
    client = httpx.Client(base_url=server.url, timeout=20)
    _clients.append(client)
    password = "correct horse battery"
    registered = client.post("/v1/auth/register", json={"email": email, "password": password, "name": "Ada"})
    assert registered.status_code in {201, 409}
    tokens = client.post("/v1/auth/token", data={"username": email, "password": password}).json()
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    return client


def titles(client: httpx.Client) -> set[str]:
    found, cursor = set(), None
    while True:
        parameters: dict[str, Any] = {"limit": 200, **({"cursor": cursor} if cursor else {})}
        page = client.get("/v1/tasks", params=parameters).json()
        found |= {task["title"] for task in page["items"]}
        cursor = page["next_cursor"]
        if not cursor:
            return found


def test_a_signal_ends_everything_and_leaves_no_process(data_dir: Path) -> None:
    for number, form in ((signal.SIGTERM, "text"), (signal.SIGINT, "json")):
        with serving(data_dir, LOG_FORMAT=form) as server:
            assert httpx.get(f"{server.url}/health/ready").status_code == 200

            assert server.stop(number) == 0

            assert processes_of(data_dir) == []
            if form == "text":
                assert server.printed.rstrip().endswith("Stopped.")
            else:
                assert [json.loads(line)["event"] for line in server.printed.splitlines()][-1] == "Stopped."


@pytest.mark.long
def test_control_c_in_a_terminal_reaches_all_and_still_ends_cleanly(tmp_path: Path) -> None:
    with serving(tmp_path / "new" / "data") as server:
        os.killpg(server.process.pid, signal.SIGINT)

        assert server.wait() == 0
        assert processes_of(tmp_path / "new" / "data") == []


@pytest.mark.long
def test_killed_twice_in_a_row_it_starts_again_and_stops_cleanly(data_dir: Path) -> None:
    with serving(data_dir) as server:
        server.process.kill()
        server.process.wait()
        postgres = server.postmaster()
        assert psutil.pid_exists(postgres)  # nobody could stop it
        with serving(data_dir) as following:
            assert following.postmaster() == postgres  # taken over, not fought over
            following.process.kill()
            following.process.wait()
            with serving(data_dir) as last:
                assert httpx.get(f"{last.url}/health/ready").status_code == 200

                assert last.stop() == 0

                assert processes_of(data_dir) == []


@pytest.mark.long
def test_postgres_killed_alone_is_a_503_and_the_next_start_recovers(data_dir: Path) -> None:
    with serving(data_dir, DATABASE_TIMEOUT_SECONDS="1") as server:
        client = sign_in(server)
        assert client.post("/v1/tasks", json={"title": "Kept"}).status_code == 201

        os.kill(server.postmaster(), signal.SIGKILL)
        refused = client.get("/v1/tasks")

        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert client.get("/health/live").status_code == 200
        assert server.stop() == 0
    with serving(data_dir) as server:
        assert titles(sign_in(server)) == {"Kept"}
        assert server.stop() == 0
        assert processes_of(data_dir) == []


@pytest.mark.long
def test_a_folder_by_another_name_is_the_same_folder(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data_dir)
    with serving(data_dir) as server:
        postgres = server.postmaster()
        done = run(tmp_path / "link", "demo")

        assert done.returncode == 0, done.stderr
        assert server.postmaster() == postgres
        assert server.stop() == 0
        assert not psutil.pid_exists(postgres) or psutil.Process(postgres).status() == psutil.STATUS_ZOMBIE


@pytest.mark.long
def test_a_signal_while_it_starts_leaves_no_process(data_dir: Path) -> None:
    for delay in (0.0, 0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9):
        process = served.begin(data_dir)
        while process.poll() is None and not any("pg_ctl" in " ".join(each) for each in commands(process.pid)):
            time.sleep(0.005)
        time.sleep(delay)
        process.terminate()
        process.communicate(timeout=served.STOP_SECONDS)
        assert processes_of(data_dir) == [], delay


def commands(pid: int) -> list[list[str]]:
    try:
        return [child.cmdline() for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


@pytest.mark.long
@pytest.mark.parametrize("name", ["it's", "com,ma", "am&per=1", "per%41cent", "plus+x", "sp ace", "ümlaut"])
def test_a_folder_may_have_any_name(data_dir: Path, tmp_path: Path, name: str) -> None:
    data_dir.rename(tmp_path / name)

    done = run(tmp_path / name, "migrate")

    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("victim", ["server", "postgres"])
def test_every_write_that_was_answered_is_there_after_a_kill(data_dir: Path, victim: str) -> None:
    answered = set()
    with serving(data_dir) as server:
        client = sign_in(server)
        for n in range(400):
            if n == 150:
                os.kill(server.process.pid if victim == "server" else server.postmaster(), signal.SIGKILL)
            try:
                answer = client.post("/v1/tasks", json={"title": f"Task {n}"})
            except httpx.TransportError:
                break
            if answer.status_code != 201:
                break
            answered.add(f"Task {n}")
        server.process.kill()
        server.process.wait()
    assert len(answered) >= 150
    with serving(data_dir) as server:
        found = titles(sign_in(server))
    assert answered <= found
    assert len(found - answered) <= 1  # the one that was under way may be there, once


def test_when_its_parent_is_killed_it_ends_by_itself(data_dir: Path) -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'backend.cli', *sys.argv[1:]])"
    command = [sys.executable, "-c", script, "serve", "--until-parent-exits"]
    with serving(data_dir, command=command) as parent:
        children = processes_of(data_dir)
        parent.process.kill()

        assert served.have_ended(children)


@pytest.mark.long
def test_two_workers_serve_one_port_and_stop_together(data_dir: Path) -> None:
    with serving(data_dir, WEB_CONCURRENCY="2") as server:
        client = sign_in(server)
        assert {client.get("/v1/me").status_code for _ in range(20)} == {200}

        server.stop()

        assert processes_of(data_dir) == []


@pytest.mark.long
def test_workers_whose_supervisor_was_killed_end_by_themselves(data_dir: Path) -> None:
    with serving(data_dir, WEB_CONCURRENCY="2") as server:
        workers = psutil.Process(server.process.pid).children(recursive=True)
        workers = [worker for worker in workers if "postgres" not in worker.name()]
        server.process.kill()
        server.process.wait()

        assert served.have_ended(workers)


def test_a_taken_port_is_told_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run(tmp_path, "serve", PORT=str(taken.getsockname()[1]))

    assert done.returncode == 1
    assert "Choose another HOST or PORT" in done.stderr
    assert not (tmp_path / "pg").exists()


@pytest.mark.long
def test_another_command_uses_the_running_server_and_leaves_it_running(data_dir: Path) -> None:
    with serving(data_dir) as server:
        postgres = server.postmaster()
        done = run(data_dir, "demo")
        email, password = done.stdout.split()[3], done.stdout.split()[7].rstrip(":")

        signed_in = httpx.post(f"{server.url}/v1/auth/token", data={"username": email, "password": password})

        assert signed_in.status_code == 200, done.stdout + done.stderr
        assert server.postmaster() == postgres
        assert psutil.pid_exists(postgres)


@pytest.mark.long
def test_the_development_secret_is_kept_for_its_owner_alone(data_dir: Path) -> None:
    with serving(data_dir) as server:
        client = sign_in(server)
        assert stat.S_IMODE((data_dir / "jwt-secret").stat().st_mode) == 0o600
        server.stop()
    with serving(data_dir) as server:
        again = httpx.get(f"{server.url}/v1/me", headers=client.headers)
        assert again.status_code == 200  # the token outlives a restart


@pytest.mark.long
def test_a_folder_with_a_long_path_is_as_good_as_any(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long" * 30) / "data"
    with serving(data_dir) as server:
        assert httpx.get(f"{server.url}/health/ready").status_code == 200


@pytest.mark.long
def test_letters_fold_without_a_locale(data_dir: Path) -> None:
    with serving(data_dir) as server:
        client = sign_in(server)
        client.post("/v1/tasks", json={"title": "ÜBER den Fluß"})

        assert client.get("/v1/tasks", params={"search": "über"}).json()["total"] == 1


def test_production_refuses_to_start_without_a_secret_of_its_own(data_dir: Path) -> None:
    own = {"ENVIRONMENT": "production", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}

    for secret, expected in (({}, "JWT_SECRET: not set"), ({"JWT_SECRET": "short"}, "JWT_SECRET: shorter than 32")):
        done = run(data_dir, "serve", **own, **secret)
        assert done.returncode == 1
        assert expected in done.stderr
        assert "short\n" not in done.stderr


def test_a_database_that_is_not_there_is_told_in_a_line(data_dir: Path) -> None:
    done = run(data_dir, "migrate", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")

    assert done.returncode == 1
    assert "The database cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
