"""/metrics: what is counted, for whom, and that no label grows with what is sent."""

import asyncio
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families as families
from sqlalchemy import func, select

from backend.state import State
from backend.telemetry.routes import UNKNOWN, Templates
from tests.client import fresh_account
from tests.conftest import settings_for, worker
from tests.served import Served, processes_of, serving
from tests.test_input import assert_problem

TOKEN = "a token of the tests, which is long enough"


class Figures:
    def __init__(self, text: str) -> None:
        self.samples = [sample for family in families(text) for sample in family.samples]

    def of(self, name: str, **labels: str) -> float:
        """The sum of all that have these labels."""
        return sum(each.value for each in self.samples if each.name == name and labels.items() <= each.labels.items())

    def labels(self, name: str) -> set[str]:
        return {each.labels[name] for each in self.samples if name in each.labels}


async def figures(http: httpx.AsyncClient, **headers: str) -> Figures:
    answer = await http.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return Figures(answer.text)


@pytest.fixture
async def own(database_url: str, tmp_path: Path) -> Any:
    """An application whose figures are this test's alone."""
    async with worker(settings_for(database_url, tmp_path, api_requests_per_minute=5)) as found:
        yield found


async def test_requests_are_counted_by_their_route_s_template(
    own: tuple[FastAPI, httpx.AsyncClient], state: State
) -> None:
    _, http = own
    alice = await fresh_account(http, state, "alice")
    task = await alice.add("Water the figs")
    for _ in range(2):
        await alice.get(f"/v1/tasks/{task['id']}")
    await alice.call("HEAD", "/v1/tasks")
    await http.get("/v1/tasks")

    found = await figures(http)

    counted = "tend_requests_total"
    assert found.of(counted, method="POST", route="/v1/tasks", status="201") == 1
    assert found.of(counted, method="GET", route="/v1/tasks/{task_id}", status="200") == 2
    assert found.of(counted, method="HEAD", route="/v1/tasks", status="200") == 1
    assert found.of(counted, method="GET", route="/v1/tasks", status="401") == 1
    timed = {"method": "GET", "route": "/v1/tasks/{task_id}"}
    assert found.of("tend_request_duration_seconds_count", **timed) == 2
    assert 0 < found.of("tend_request_duration_seconds_sum", **timed) < 10
    assert found.of("tend_statements_total") >= 4
    assert found.of("tend_statement_seconds_total") > 0
    assert found.of("tend_pool_size") == 4
    assert found.of("tend_pool_turns_total") >= 4
    assert found.of("tend_pool_connections") == found.of("tend_pool_connections_made_total") >= 1
    assert found.of("tend_pool_in_use") == found.of("tend_pool_waiting") == 0
    assert found.of("tend_workers") == 1
    assert found.of("tend_worker_memory_bytes") > 1e7
    assert found.of("tend_worker_cpu_seconds_total") > 0
    assert found.labels("queue") == {"background", "mail", "password_hashes", "sign_ins"}


async def test_no_label_takes_what_a_client_sends(own: tuple[FastAPI, httpx.AsyncClient]) -> None:
    app, http = own
    for n in range(30):
        await http.get(f"/{n}")
        await http.get(f"/v1/tasks/{n}", headers={"X-Request-ID": f"{n}" * 8, "Host": f"{n}.example"})
        await http.request(f"METHOD{n}", f"/v1/filters/{n}?x={n}")
        await http.get(f"/docs/static/{n}")

    found = await figures(http)

    templates = Templates(app.routes).all
    assert found.labels("route") <= templates
    assert {UNKNOWN, "/docs/static/{path}", "/v1/filters/{filter_id}"} <= found.labels("route")
    assert found.labels("method") == {"GET", "OTHER"}
    assert found.of("tend_requests_total", route=UNKNOWN) == 30


async def test_every_route_s_own_path_is_found(app: FastAPI) -> None:
    """The templates are matched by one pattern, which must tell them apart."""
    templates = Templates(app.routes)
    for template in templates.all - {UNKNOWN}:
        path = re.sub(r"\{\w+\}", "0197f3e0-5a2b-7c31-9d04-8b1f6f1c2a55", template)
        assert templates.of(path) == template


async def test_who_waits_for_the_database_is_seen(own: tuple[FastAPI, httpx.AsyncClient]) -> None:
    app, http = own
    database = app.state.tend.database
    slow = select(func.pg_sleep(0.3))
    asked = [asyncio.create_task(database.read(slow, {})) for _ in range(7)]
    await asyncio.sleep(0.1)
    meanwhile = await figures(http)
    asked.pop().cancel()  # one gives up waiting
    await asyncio.gather(*asked)
    afterwards = await figures(http)

    assert meanwhile.of("tend_pool_in_use") == 4
    assert meanwhile.of("tend_pool_waiting") == 3
    assert afterwards.of("tend_pool_in_use") == afterwards.of("tend_pool_waiting") == 0
    assert afterwards.of("tend_pool_turns_total") == 6
    assert afterwards.of("tend_pool_wait_seconds_total") > 0.2


async def test_what_is_refused_is_counted_by_why(own: tuple[FastAPI, httpx.AsyncClient], state: State) -> None:
    _, http = own
    alice = await fresh_account(http, state, "alice")
    for _ in range(7):
        await alice.get("/v1/me")
    form = {"username": "nobody@example.com", "password": "wrong"}
    for _ in range(6):
        await http.post("/v1/auth/token", data=form)

    found = await figures(http)

    assert found.of("tend_rate_limits_refused_total", limit="requests") == 2
    limited = found.of("tend_sign_ins_refused_total", reason="limit")
    assert limited == found.of("tend_requests_total", route="/v1/auth/token", status="429")
    assert found.of("tend_sign_ins_refused_total", reason="credentials") == 6 - limited


@pytest.mark.parametrize("sent", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer é"])
async def test_with_a_token_it_is_for_those_who_have_it(database_url: str, tmp_path: Path, sent: str | None) -> None:
    async with worker(settings_for(database_url, tmp_path, metrics_token=TOKEN, environment="production")) as (_, http):
        answer = await http.get("/metrics", headers=[(b"Authorization", sent.encode())] if sent else [])
        assert_problem(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "tend_" not in answer.text

        assert (await figures(http, Authorization=f"Bearer {TOKEN}")).of("tend_workers") == 1


async def test_production_without_a_token_has_no_such_page(database_url: str, tmp_path: Path) -> None:
    async with worker(settings_for(database_url, tmp_path, environment="production")) as (_, http):
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            here, nowhere = [await http.request(method, path) for path in ("/metrics", "/nothing")]
            assert here.status_code == nowhere.status_code == 404
            assert here.text.replace("/metrics", "/nothing") == nowhere.text


async def test_parameters_are_refused_as_everywhere(http: httpx.AsyncClient) -> None:
    assert_problem(await http.get("/metrics?x=1"), 422)


def asked(server: Served) -> Figures:
    return Figures(httpx.get(f"{server.url}/metrics").text)


def until(server: Served, workers: int) -> Figures:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            found = asked(server)
        except httpx.TransportError:  # the one that was killed had taken the connection
            continue
        if found.of("tend_workers") == workers:
            return found
        time.sleep(0.2)
    raise AssertionError(f"never {workers} workers")


@pytest.mark.long
def test_two_workers_tell_their_sums_and_a_dead_one_s_places_are_gone(tmp_path: Path, database_url: str) -> None:
    temporary = tmp_path / "t"
    temporary.mkdir()
    as_said = {"log_format": "json", "access_log": "true", "web_concurrency": "2", "database_url": database_url}
    environment = {name.upper(): value for name, value in as_said.items()}
    with serving(tmp_path / "data", command=None, TMPDIR=str(temporary), **environment) as server:
        until(server, 2)
        for _ in range(30):
            httpx.get(f"{server.url}/health/ready")
        before = asked(server)
        assert before.of("tend_requests_total", route="/health/ready") == 30
        assert before.of("tend_pool_size") == 8
        (folder,) = temporary.glob("tend-metrics-*")

        server.read(0.1)
        lines = [json.loads(line) for line in server.printed.splitlines() if line.startswith("{")]
        served = [line for line in lines if line["logger"] == "tend.access" and line["route"] == "/health/ready"]
        assert len(served) == len({line["request_id"] for line in served}) == 30
        workers = {int(line["event"].split("[")[1][:-1]) for line in lines if "Started server process" in line["event"]}
        assert len(workers) == 2

        os.kill(workers.pop(), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while len(files := {file.stem for file in folder.glob("gauge_livesum_*.db")}) != 2 or any(
            not psutil.pid_exists(int(name.rpartition("_")[2])) for name in files
        ):
            assert time.monotonic() < deadline
            until(server, 2)
        after = until(server, 2)

        assert after.of("tend_requests_total", route="/health/ready") == 30  # what was counted stays
        assert after.of("tend_pool_size") == 8
        assert server.stop() == 0
        assert list(temporary.iterdir()) == []
        assert processes_of(tmp_path / "data") == []
