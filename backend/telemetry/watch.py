"""Around every request, the direct way and errors included: it is known, counted, timed, and told of."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from uuid import UUID

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.db import Values
from backend.security.sealing import derived
from backend.sql import Sql
from backend.state import State
from backend.telemetry import logs
from backend.telemetry.exchange import Exchange, current, id_of
from backend.telemetry.metrics import Metrics
from backend.telemetry.routes import Templates, method_of
from backend.telemetry.slow import SlowStatements

if TYPE_CHECKING:
    from backend.telemetry.traces import Traces

log = logs.logger("tend.access")

_PURPOSE: Final = b"tend: pseudonyms in logs"


class Watch:
    """What one worker is watched with. Metrics are not kept where nobody could ask for them."""

    def __init__(self, state: State) -> None:
        settings = state.settings
        self.metrics = Metrics(state) if settings.offers_metrics else None
        self.traces = _traces(settings.otel_exporter_otlp_endpoint) if settings.otel_exporter_otlp_endpoint else None
        limit = settings.slow_statement_ms
        self._slow = SlowStatements(state.database, state.later, limit) if limit else None
        self._has_lines = settings.access_log
        self._key = derived(settings.signing_secret, _PURPOSE)
        state.database.ended.append(self._statement)
        if state.replica:
            state.replica.database.ended.append(self._statement)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        looks = asyncio.create_task(self.metrics.regularly()) if self.metrics else None
        try:
            yield
        finally:
            if looks:
                looks.cancel()
            if self.traces:
                await asyncio.to_thread(self.traces.close)

    def _statement(self, sql: Sql, values: Values, seconds: float, failure: BaseException | None) -> None:
        now = current.get()
        if now:
            now.statements += 1
            now.statement_seconds += seconds
            if self.traces:
                self.traces.statement(now, sql, seconds, failure)
        if self._slow:
            self._slow.look(sql, values, seconds)

    def begin(self, exchange: Exchange, scope: Scope) -> None:
        if self.traces:
            self.traces.begin(exchange, scope["headers"])

    def end(self, exchange: Exchange) -> None:
        if self.metrics:
            self.metrics.count(exchange)
        if self.traces:
            self.traces.end(exchange)
        if self._has_lines:
            log.info(
                "request",
                user=self._pseudonym(exchange.user_id) if exchange.user_id else None,
                method=exchange.method,
                route=exchange.route,
                status=exchange.status or None,
                ms=round((time.perf_counter() - exchange.began) * 1000, 2),
                statements=exchange.statements,
                statement_ms=round(exchange.statement_seconds * 1000, 2),
                bytes=exchange.sent,
            )

    def _pseudonym(self, user_id: UUID) -> str:
        """The same for all lines of one user. Keyed (HMAC), since ids are known to many: a plain digest would be
        looked up by trying each. With another JWT_SECRET everybody has another."""
        return hmac.digest(self._key, user_id.bytes, "sha256")[:8].hex()


def _traces(endpoint: str) -> "Traces":
    from backend.telemetry.traces import Traces  # half a second, and 20 MB: only where it is asked for

    return Traces(endpoint)


class Watched:
    """Middleware, to lie around all others. The answer names the request: `X-Request-ID`."""

    def __init__(self, app: ASGIApp, watch: Watch, templates: Templates) -> None:
        self.app = app
        self.watch = watch
        self.templates = templates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route = self.templates.of(scope["path"])
        exchange = Exchange(id_of(scope["headers"]), method_of(scope["method"]), route, time.perf_counter())

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", exchange.id.encode())]
            elif message["type"] == "http.response.body":
                exchange.sent += len(message.get("body", b""))
            await send(message)

        before = current.set(exchange)
        self.watch.begin(exchange, scope)
        try:
            await self.app(scope, receive, answer)
        except Exception as error:
            if exchange.error is not error:  # Starlette raises again what was answered, and logged, already
                raise
        finally:
            self.watch.end(exchange)
            current.reset(before)
