"""Counts and times of requests, for Prometheus; each application has its own registry."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_OTHER = "other"  # paths that are no route: counted together, or anyone could make endless labels


class Metrics:
    """What `/metrics` says."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "omnisage_requests_total", "requests answered", ["path", "method", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "omnisage_request_seconds",
            "time to answer, with the body",
            ["path"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._running = Gauge("omnisage_requests_running", "requests that have begun", registry=self.registry)
        self._refused = Gauge("omnisage_reloads_refused", "newer artifacts not served", registry=self.registry)
        self._loaded_at = Gauge(
            "omnisage_loaded_timestamp_seconds",
            "when it was opened",
            ["embeddings"],
            registry=self.registry,
        )

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)

    def set_served(self, embeddings: str, timestamp: float, num_refused: int) -> None:
        """Say what is served, since when, and how often newer artifacts could not be."""
        self._loaded_at.clear()
        self._loaded_at.labels(embeddings[:12]).set(timestamp)
        self._refused.set(num_refused)

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request, by its route."""
        route = scope.get("route")
        path = getattr(route, "path", _OTHER) or _OTHER
        method = scope["method"] if path != _OTHER else _OTHER
        self._requests.labels(path, method, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def begin(self) -> None:
        """A request has begun."""
        self._running.inc()

    def end(self) -> None:
        """A request has ended."""
        self._running.dec()


class Measured:
    """ASGI middleware that measures every request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on and measure."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.begin()
        try:
            await self._app(scope, receive, noting)
        finally:
            self._metrics.end()
            self._metrics.observe(scope, status, time.perf_counter() - started)
