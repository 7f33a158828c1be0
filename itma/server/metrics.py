"""What a server tells Prometheus."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_QUERIES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one process; with several, each writes to files that all of them add up."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("itma_requests", "Requests answered.", ["route", "method", "status"], registry=registry)
        self.seconds = Histogram(
            "itma_request_seconds", "Time until the answer began.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.in_flight = Gauge(
            "itma_requests_in_flight", "Requests under way.", registry=registry, multiprocess_mode="livesum"
        )
        self.batch = Histogram(
            "itma_batch_queries", "Queries that the model took together.", buckets=_QUERIES, registry=registry
        )
        self.waiting = Gauge(
            "itma_queries_waiting", "Queries that wait for the model.", registry=registry, multiprocess_mode="livesum"
        )
        self.cached = Counter("itma_cache_hits", "Searches answered from memory.", registry=registry)
        self.explanation_seconds = Histogram(
            "itma_explain_seconds", "What a method of explaining took.", ["method"], buckets=_SECONDS, registry=registry
        )
        self.items = Gauge("itma_items", "Items in the catalogue.", registry=registry, multiprocess_mode="max")

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
