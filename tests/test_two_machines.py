"""Two machines on one database, as processes of their own: nothing is remembered by one alone.

What a worker does remember for a moment (`docs/scale.md` lists it) has tests of its own, in one process.
"""

import asyncio
import json
import os
import shutil
import sys
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from backend.services import keys
from backend.services.throttles import SIGN_IN
from backend.state import State
from tests import servers
from tests.conftest import SECRET, settings_for
from tests.served import Served, serving

pytestmark = pytest.mark.long

# As services run: the kernel allows root more of what a stop could use.
IS_ROOT = os.geteuid() == 0 and shutil.which("setpriv")
UNPRIVILEGED = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"] if IS_ROOT else []
PASSWORD = "correct horse battery"
SERVE = [*UNPRIVILEGED, sys.executable, "-m", "backend.cli", "serve"]
CLIENTS = 64  # half of them keep their connection


class Pair:
    def __init__(self, one: Served, other: Served, environment: dict[str, str]) -> None:
        self.served = one, other
        self.environment = environment
        self.one, self.other = (httpx.Client(base_url=each.url, timeout=20) for each in self.served)


@pytest.fixture(scope="module")
def pair(server: str, worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    name = f"tend_pair_{worker_id}"
    folder = tmp_path_factory.mktemp("pair")
    environment = {"DATABASE_URL": servers.create(server, name), "JWT_SECRET": SECRET}
    with ExitStack() as stack:
        stack.callback(servers.drop, server, name)
        with ThreadPoolExecutor(2) as starting:
            machines = [
                starting.submit(
                    stack.enter_context,
                    serving(folder / which, command=SERVE, WEB_CONCURRENCY=workers, **environment),
                )
                for which, workers in (("one", "2"), ("other", "1"))
            ]
        pair = Pair(machines[0].result(), machines[1].result(), environment)
        stack.callback(pair.one.close)
        stack.callback(pair.other.close)
        yield pair


def tokens_of(machine: httpx.Client, email: str) -> dict[str, Any]:
    registered = machine.post("/v1/auth/register", json={"email": email, "password": PASSWORD, "name": "Ada"})
    assert registered.status_code == 201, registered.text
    answer = machine.post("/v1/auth/token", data={"username": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def test_a_key_of_the_ring_in_the_database_signs_and_is_read_on_both(pair: Pair, tmp_path: Path) -> None:
    """First, since each holds for 10 seconds the ring that it has read."""

    async def rotated() -> str:
        state = State(settings_for(pair.environment["DATABASE_URL"], tmp_path))
        try:
            assert await keys.rotate(state.database, state.seal, "HS256", 900, at_once=True)
            return (await keys.listed(state.database))[0].kid
        finally:
            await state.close()

    kid = asyncio.run(rotated())

    for signer, reader in ((pair.one, pair.other), (pair.other, pair.one)):
        signed = tokens_of(signer, f"keys{signer.base_url.port}@example.com")
        assert json.loads(b64decode(signed["access_token"].split(".")[0] + "=="))["kid"] == kid
        assert reader.get("/v1/me", headers=bearer(signed)).status_code == 200


def test_a_session_begun_on_one_is_used_refreshed_and_ended_on_the_other(pair: Pair) -> None:
    first = tokens_of(pair.one, "session@example.com")
    assert pair.other.get("/v1/me", headers=bearer(first)).status_code == 200

    refreshed = [
        machine.post("/v1/auth/refresh", json={"refresh_token": first["refresh_token"]})
        for machine in (pair.other, pair.one)
    ]
    assert {answer.status_code for answer in refreshed} == {200}
    assert len({answer.json()["refresh_token"] for answer in refreshed}) == 1  # the same successor from both

    second = refreshed[0].json()
    assert pair.other.post("/v1/auth/logout", headers=bearer(second)).status_code == 204
    assert pair.one.get("/v1/me", headers=bearer(second)).status_code == 401
    again = pair.one.post("/v1/auth/refresh", json={"refresh_token": second["refresh_token"]})
    assert again.status_code == 401


def test_cursors_etags_and_versions_of_one_hold_on_the_other(pair: Pair) -> None:
    mine = bearer(tokens_of(pair.one, "pages@example.com"))
    for number in range(5):
        machine = (pair.one, pair.other)[number % 2]
        assert machine.post("/v1/tasks", json={"title": f"Task {number}"}, headers=mine).status_code == 201

    first = pair.one.get("/v1/tasks", params={"limit": 3}, headers=mine)
    rest = pair.other.get("/v1/tasks", params={"limit": 3, "cursor": first.json()["next_cursor"]}, headers=mine)
    assert sorted(task["title"] for task in first.json()["items"] + rest.json()["items"]) == [
        f"Task {number}" for number in range(5)
    ]

    unchanged = {**mine, "If-None-Match": first.headers["ETag"]}
    assert pair.other.get("/v1/tasks", params={"limit": 3}, headers=unchanged).status_code == 304
    task = first.json()["items"][0]
    url, as_it_was = f"/v1/tasks/{task['id']}", {**mine, "If-Match": f'"{task["version"]}"'}
    assert pair.other.patch(url, json={"completed": True}, headers=as_it_was).status_code == 200
    assert pair.one.patch(url, json={"completed": False}, headers=as_it_was).status_code == 412
    assert pair.one.get("/v1/tasks", params={"limit": 3}, headers=unchanged).status_code == 200


def test_wrong_passwords_are_counted_together(pair: Pair) -> None:
    wrong = {"username": "nobody@example.com", "password": "wrong"}
    tries = [
        machine.post("/v1/auth/token", data=wrong).status_code
        for _ in range(SIGN_IN.most // 2 + 1)
        for machine in (pair.one, pair.other)
    ]

    assert tries == [401] * SIGN_IN.most + [429] * 2


def test_a_machine_that_is_stopped_under_load_answers_whatever_it_let_in(pair: Pair) -> None:
    """Last, since it stops one. Refused is what was never let in: a proxy asks the other machine then."""
    mine = bearer(tokens_of(pair.other, "load@example.com"))

    outcomes, answered = asyncio.run(_stopped_under_load(pair.served[0], mine["Authorization"]))

    assert outcomes.pop("answered") > CLIENTS
    assert outcomes == {"refused": CLIENTS}
    found = pair.other.get("/v1/tasks", params={"limit": 1, "search": "loaded"}, headers=mine)
    assert found.json()["total"] == answered


async def _stopped_under_load(served: Served, authorization: str) -> tuple[Counter[str], int]:
    port = urlsplit(served.url).port
    outcomes: Counter[str] = Counter()
    warm = asyncio.Semaphore(0)

    async def client(*, keeps: bool) -> None:
        body = b'{"title": "Loaded"}'
        head = (
            f"POST /v1/tasks HTTP/1.1\r\nHost: tend\r\nAuthorization: {authorization}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {'keep-alive' if keeps else 'close'}\r\n\r\n"
        )
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                outcomes["refused"] += 1
                return
            closes = False
            while not closes:
                try:
                    writer.write(head.encode() + body)
                    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
                    await reader.readexactly(int(answer.split(b"content-length: ")[1].split(b"\r\n")[0]))
                except (OSError, asyncio.IncompleteReadError) as error:
                    outcomes[f"let in and lost: {type(error).__name__}"] += 1
                    break
                outcomes["answered" if answer.startswith(b"http/1.1 201") else answer[:12].decode()] += 1
                warm.release()
                closes = b"connection: close" in answer
            writer.close()

    clients = [asyncio.create_task(client(keeps=number % 2 == 0)) for number in range(CLIENTS)]
    for _ in range(CLIENTS * 4):
        await warm.acquire()
    code = await asyncio.to_thread(served.stop)
    assert code == 0
    await asyncio.wait_for(asyncio.gather(*clients), 20)
    return outcomes, outcomes["answered"]
