"""Spans for OpenTelemetry; imported only where OTEL_EXPORTER_OTLP_ENDPOINT is set.

The SDK, and no package of instrumentation: those hook into FastAPI's routing and psycopg's cursors, and the busiest
routes go past the one (`direct.py`), and a statement is `Database.sent`. They write paths, queries and addresses too.

Left out of HTTP's conventions are `url.path`, `url.query`, `client.address` and `user_agent.original`: people's own.
"""

import os
import time
from importlib.metadata import version
from threading import Thread
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from backend.sql import Sql
from backend.telemetry.exchange import Exchange

LAST_SECONDS: Final = 5  # that a worker which stops gives to what was not sent yet
_PROPAGATED: Final = {b"traceparent", b"tracestate"}  # W3C Trace Context


class Traces:
    """Sent from a thread; what does not fit into its queue is dropped, and nobody waits for it."""

    def __init__(self, endpoint: str) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME", "tend")
        resource = Resource.create({"service.name": name, "service.version": version("tend")})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._processor = BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=LAST_SECONDS))
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("tend")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, exchange: Exchange, headers: list[tuple[bytes, bytes]]) -> None:
        sent = {name.decode(): value.decode("latin-1") for name, value in headers if name in _PROPAGATED}
        exchange.span = self._tracer.start_span(
            f"{exchange.method} {exchange.route}",
            context=self._propagator.extract(sent) if sent else None,
            kind=SpanKind.SERVER,
            attributes={"http.request.method": exchange.method, "http.route": exchange.route},
        )

    def end(self, exchange: Exchange) -> None:
        span = exchange.span
        span.set_attribute("tend.request_id", exchange.id)
        if exchange.status:
            span.set_attribute("http.response.status_code", exchange.status)
        if exchange.status >= 500:
            span.set_attribute("error.type", _kind(exchange.error) if exchange.error else str(exchange.status))
            span.set_status(StatusCode.ERROR)
        span.end()

    def statement(self, exchange: Exchange, sql: Sql, seconds: float, failure: BaseException | None) -> None:
        """Its text has no values: all are parameters."""
        if not exchange.span.is_recording():
            return
        now, text = time.time_ns(), sql.text.decode()
        operation = text.split(maxsplit=1)[0]
        span = self._tracer.start_span(
            operation,
            context=set_span_in_context(exchange.span),
            kind=SpanKind.CLIENT,
            attributes={"db.system.name": "postgresql", "db.operation.name": operation, "db.query.text": text},
            start_time=now - int(seconds * 1e9),
        )
        if failure is not None:
            span.set_attribute("error.type", _kind(failure))
            span.set_status(StatusCode.ERROR)
        span.end(now)

    def close(self) -> None:
        """Sends what is left; blocks, for `LAST_SECONDS` where nobody takes it. The SDK by itself would for thirty."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(LAST_SECONDS)


def _kind(error: Any) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"
