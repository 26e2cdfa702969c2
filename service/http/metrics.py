"""Metrics for Prometheus: requests by route, jobs by state."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.storage.job_queue import JobQueue, State

__all__ = ["Metrics"]

_STATES: tuple[State, ...] = ("queued", "running", "succeeded", "failed", "cancelled")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The Prometheus metrics of one service, in a separate registry."""

    def __init__(self, queue: JobQueue, *, workers: int) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Jobs(queue))
        self._requests = Counter(
            "madaudit_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "madaudit_request_seconds",
            "Time to answer.",
            ("method", "route"),
            registry=self._registry,
            buckets=_SECONDS,
        )  # fmt: skip
        Gauge("madaudit_workers", "Maximum number of jobs that run at the same time.", registry=self._registry).set(
            workers
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request; `route` is the path template, so that ids do not create separate time series."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self._registry)


class _Jobs(Collector):
    """Counts the jobs in the database each time the metrics are read, so that the counts survive a restart."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = self._queue.counts()
        family = GaugeMetricFamily("madaudit_jobs", "Jobs in the database, by state.", labels=["state"])
        for state in _STATES:
            family.add_metric([state], found.get(state, 0))
        yield family
