"""What Prometheus asks for. Every label has so many values as the code names, and no more.

With several workers each counts in files of its own, in a folder that `tend serve` makes (PROMETHEUS_MULTIPROC_DIR),
and whichever worker is asked tells the sums over all. prometheus_client looks for that folder when it is imported.
"""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

from backend.errors import NotSignedIn, SecondFactorNeeded, TooMany, Unavailable
from backend.security import passwords
from backend.state import State
from backend.telemetry.exchange import Exchange

EVERY_SECONDS: Final = 1.0  # what is no event is looked at, so that other workers' figures are no older
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIGN_INS: Final = {"/v1/auth/token", "/v1/auth/second-factor", "/v1/auth/outside/{provider}/finish"}
UNANSWERED: Final = "none"  # for a status: the client was gone

disable_created_metrics()  # type: ignore[no-untyped-call]  # a further series for each


class Metrics:
    """Of one worker."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.registry = CollectorRegistry()
        self._process = psutil.Process()
        self._told: dict[Counter, float] = {}
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._requests = self._counter("tend_requests", "Requests.", "method", "route", "status")
        self._durations = Histogram(
            "tend_request_duration_seconds",
            "From the head of a request to the end of its answer.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._sign_ins = self._counter("tend_sign_ins_refused", "Sign-ins that were refused.", "reason")
        self._limits = self._counter("tend_rate_limits_refused", "Requests beyond a limit, by its name.", "limit")
        self._lag = Histogram(
            "tend_event_loop_lag_seconds",
            "How late the event loop comes to what is due, looked at each second.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._gauges = self._gauges_of(state)
        self._totals = self._totals_of(state)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(name, words, labels, registry=self.registry)

    def _gauge(self, name: str, words: str, *labels: str) -> Gauge:
        """The sum over the workers that live."""
        return Gauge(name, words, labels, registry=self.registry, multiprocess_mode="livesum")

    def _gauges_of(self, state: State) -> dict[Gauge, Callable[[], float]]:
        database, queues = state.database, self._gauge("tend_queue_depth", "What waits, by for what.", "queue")
        return {
            self._gauge("tend_workers", "Processes that serve."): lambda: 1,
            self._gauge("tend_worker_memory_bytes", "Resident memory."): lambda: self._process.memory_info().rss,
            self._gauge("tend_pool_size", "Places at the database."): lambda: database.usage.size,
            self._gauge("tend_pool_in_use", "Places that are taken."): lambda: database.usage.in_use,
            self._gauge("tend_pool_waiting", "Who waits for a place."): lambda: database.usage.waiting,
            self._gauge("tend_pool_connections", "Open connections."): lambda: database.connections[0],
            self._gauge("tend_event_streams", "Open connections to /v1/events."): state.listening.total,
            queues.labels("background"): lambda: state.later.waiting,
            queues.labels("mail"): lambda: state.mailer.waiting,
            queues.labels("password_hashes"): passwords.waiting,
            queues.labels("sign_ins"): state.signing_in.total,
        }

    def _totals_of(self, state: State) -> dict[Counter, Callable[[], float]]:
        """Of what is counted elsewhere, where an addition is all that it may cost."""
        database, usage = state.database, state.database.usage
        everywhere = [usage, state.replica.database.usage] if state.replica else [usage]
        asked = self._counter("tend_replica_requests", "Requests that the replica was asked.", "outcome")
        replica = state.replica
        of_replica: dict[Counter, Callable[[], float]] = (
            {
                asked.labels("served"): lambda: replica.served,
                asked.labels("behind"): lambda: replica.behind,
                asked.labels("failed"): lambda: replica.failed,
            }
            if replica
            else {}
        )
        sent = self._counter("tend_webhook_deliveries", "Messages that were sent to webhooks.", "outcome")
        of_webhooks: dict[Counter, Callable[[], float]] = {
            sent.labels("taken"): lambda: state.delivered["taken"],
            sent.labels("failed"): lambda: state.delivered["failed"],
        }
        return (
            of_replica
            | of_webhooks
            | {
                self._counter("tend_worker_cpu_seconds", "Processor time."): lambda: sum(self._process.cpu_times()[:2]),
                self._counter("tend_pool_turns", "Places given."): lambda: usage.turns,
                self._counter("tend_pool_wait_seconds", "Waited for places."): lambda: usage.waited,
                self._counter("tend_pool_connections_made", "Connections made."): lambda: database.connections[1],
                self._counter("tend_statements", "Statements."): lambda: sum(each.statements for each in everywhere),
                self._counter("tend_statement_seconds", "Waited for statements."): lambda: sum(
                    each.statement_seconds for each in everywhere
                ),
            }
        )

    def count(self, exchange: Exchange) -> None:
        key = exchange.method, exchange.route, exchange.status
        children = self._children.get(key)
        if children is None:
            status = str(exchange.status or UNANSWERED)
            children = self._children[key] = (
                self._requests.labels(exchange.method, exchange.route, status),
                self._durations.labels(exchange.method, exchange.route),
            )
        requests, durations = children
        requests.inc()
        durations.observe(time.perf_counter() - exchange.began)
        if exchange.error is not None:
            self._count_refusal(exchange.route, exchange.error)

    def _count_refusal(self, route: str, error: Exception) -> None:
        if isinstance(error, TooMany):
            self._limits.labels(error.name).inc()
        if route in SIGN_INS and not isinstance(error, SecondFactorNeeded):
            reasons = {NotSignedIn: "credentials", TooMany: "limit", Unavailable: "unavailable"}
            for kind, reason in reasons.items():
                if isinstance(error, kind):
                    self._sign_ins.labels(reason).inc()

    async def regularly(self) -> None:
        """As long as the worker lives. Asks nothing of the database, which may sleep."""
        while True:
            due = time.perf_counter() + EVERY_SECONDS
            await asyncio.sleep(EVERY_SECONDS)
            self._lag.observe(max(0, time.perf_counter() - due))
            self.look()

    def look(self) -> None:
        for gauge, value in self._gauges.items():
            gauge.set(value())
        for counter, total in self._totals.items():
            now = total()
            counter.inc(max(0, now - self._told.get(counter, 0)))
            self._told[counter] = now

    def text(self) -> bytes:
        """In Prometheus's text format, version 0.0.4."""
        self.look()
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if not folder:
            return generate_latest(self.registry)
        forget_the_dead(Path(folder))
        all_workers = CollectorRegistry()
        multiprocess.MultiProcessCollector(all_workers, folder)  # type: ignore[no-untyped-call]
        return generate_latest(all_workers)


def forget_the_dead(folder: Path) -> None:
    """What a worker that died had in use; what it counted stays, since a counter never falls."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not psutil.pid_exists(pid):
            with suppress(FileNotFoundError):  # another worker was quicker
                multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
