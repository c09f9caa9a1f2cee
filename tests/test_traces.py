"""Traces: spans of requests and statements reach a collector, in the trace of whoever asked, without values."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from backend import config
from backend.state import State
from tests.client import fresh_account
from tests.conftest import settings_for, worker
from tests.logged import listening
from tests.test_logs import broken

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        taken: list[tuple[str, ExportTraceServiceRequest]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append((self.path, ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.taken = taken
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for _, request in self.taken
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def server_spans(self) -> dict[str, Span]:
        return {span.name: span for span in self.spans if span.kind == Span.SPAN_KIND_SERVER}


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, args=(0.01,))
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


def attributes(span: Span) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def test_requests_and_statements_are_spans_in_the_trace_of_who_asked(
    database_url: str, tmp_path: Path, collector: Collector, state: State
) -> None:
    settings = settings_for(database_url, tmp_path, otel_exporter_otlp_endpoint=collector.url, access_log=True)
    with listening() as lines:
        async with worker(settings) as (_, http):
            alice = await fresh_account(http, state, "alice")
            task = await alice.add("Water the figs")
            named = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            answer = await alice.get(f"/v1/tasks/{task['id']}?", headers=named)
            await http.get("/figs/of/lovelace?search=figs")

    assert {path for path, _ in collector.taken} == {"/v1/traces"}
    found = collector.server_spans()
    span = found["GET /v1/tasks/{task_id}"]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.route": "/v1/tasks/{task_id}",
        "http.response.status_code": 200,
        "tend.request_id": answer.headers["X-Request-ID"],
    }
    (statement,) = [each for each in collector.spans if each.parent_span_id == span.span_id]
    assert statement.trace_id == span.trace_id
    assert statement.kind == Span.SPAN_KIND_CLIENT
    assert span.start_time_unix_nano <= statement.start_time_unix_nano < statement.end_time_unix_nano
    assert statement.end_time_unix_nano <= span.end_time_unix_nano
    told = attributes(statement)
    assert (told["db.system.name"], told["db.operation.name"]) == ("postgresql", "SELECT")
    assert "$1" in str(told["db.query.text"])
    assert found["GET unknown"].trace_id != span.trace_id
    names = {each.key: each.value.string_value for each in collector.taken[0][1].resource_spans[0].resource.attributes}
    assert names["service.name"] == "tend"
    for words in ("figs", "lovelace", task["id"], str(alice.user_id), alice.token):
        assert words not in str(collector.taken)
    (line,) = [line for line in lines.of("tend.access") if line["request_id"] == answer.headers["X-Request-ID"]]
    assert line["trace_id"] == TRACE


async def test_what_failed_is_marked_without_its_words(
    database_url: str, tmp_path: Path, collector: Collector, state: State
) -> None:
    async with worker(settings_for(database_url, tmp_path, otel_exporter_otlp_endpoint=collector.url)) as (app, http):
        broken(app, state)
        await http.get("/broken")
        await http.get("/v1/tasks")

    found = collector.server_spans()
    assert found["GET unknown"].status.code == Status.STATUS_CODE_ERROR
    assert attributes(found["GET unknown"])["error.type"] == "builtins.ValueError"
    assert found["GET /v1/tasks"].status.code == Status.STATUS_CODE_UNSET  # a 401 is no fault of this server
    assert "figs" not in str(collector.taken)


async def test_a_trace_that_is_not_sampled_is_not_sent(database_url: str, tmp_path: Path, collector: Collector) -> None:
    async with worker(settings_for(database_url, tmp_path, otel_exporter_otlp_endpoint=collector.url)) as (_, http):
        await http.get("/health/ready", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        await http.get("/health/live", headers={"traceparent": "00-nonsense"})

    assert set(collector.server_spans()) == {"GET /health/live"}


@pytest.mark.long
async def test_a_collector_that_is_away_costs_no_request(database_url: str, tmp_path: Path) -> None:
    settings = settings_for(database_url, tmp_path, otel_exporter_otlp_endpoint="http://127.0.0.1:1")
    async with worker(settings) as (_, http):
        assert (await http.get("/health/ready")).status_code == 200


def test_without_the_setting_the_sdk_is_not_imported() -> None:
    """The API is, by FastAPI, where it is installed; without the SDK it does nothing."""
    program = "import sys, backend.main; sys.exit('opentelemetry.sdk' in sys.modules or 'requests' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("localhost:4318", "expected one like http://localhost:4318"),
        ("http://u:hunter2@host", "without a user"),
        ("http://host/?hunter2", "without a user"),
    ],
)
def test_an_address_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)

    with pytest.raises(config.SettingsError, match=f"^OTEL_EXPORTER_OTLP_ENDPOINT: .*{told}") as refused:
        config.load()
    assert "hunter2" not in str(refused.value)


def test_without_the_packages_the_setting_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)

    with pytest.raises(config.SettingsError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT: .*pip install -e '\.\[tracing\]'"):
        config.load()
