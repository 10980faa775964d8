"""What Prometheus may know of the server: requests, batches, the queue, and the versions served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as write
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from .asgi import Reply, Request
from .repository import Repository

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts and times what the application answers; its names are in docs/serving.md."""

    def __init__(self, repository: Repository) -> None:
        registry = self.registry = CollectorRegistry()
        labels = ("model", "route")
        self._seconds = Histogram(
            "serving_request_seconds",
            "From the request's head to its answer's end.",
            labels,
            registry=registry,
            buckets=_SECONDS,
        )
        self._requests = Counter(
            "serving_requests", "Answers by their status.", (*labels, "status"), registry=registry
        )
        self._errors = Counter(
            "serving_errors", "Answers that were errors, by kind.", ("model", "kind"), registry=registry
        )
        self._batch = Histogram(
            "serving_batch_requests",
            "Requests answered in one turn.",
            ("model",),
            registry=registry,
            buckets=_REQUESTS,
        )
        self._batch_seconds = Histogram(
            "serving_batch_seconds",
            "From reading a batch's requests to writing its answers.",
            ("model",),
            registry=registry,
            buckets=_SECONDS,
        )
        self._children: dict[tuple[str, ...], Any] = {}
        registry.register(_Models(repository))
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    def watch(self, waiting: Callable[[], float], held: Callable[[], float]) -> None:
        """Show the queue's length and the bytes of the requests in it, as they are when asked."""
        queue = Gauge("serving_queue_requests", "Requests that wait for their turn.", registry=self.registry)
        queue.set_function(waiting)
        held_bytes = Gauge(
            "serving_held_bytes", "Bytes of requests that are read or wait.", registry=self.registry
        )
        held_bytes.set_function(held)

    def request(self, request: Request, status: int, kind: str, seconds: float) -> None:
        """Count one answer."""
        # Only names that are served become labels: what callers make up would fill the memory.
        model, route = request.model, _route(request.scope["path"])
        histogram, counter = self._child(model, route, str(status))
        histogram.observe(seconds)
        counter.inc()
        if kind:
            self._errors.labels(model, kind).inc()

    def batch(self, model: str, requests: int, seconds: float) -> None:
        """Count one batch."""
        key = (model,)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = (self._batch.labels(model), self._batch_seconds.labels(model))
        children[0].observe(requests)
        children[1].observe(seconds)

    async def reply(self, request: Request) -> Reply:
        """Answer in Prometheus's text format."""
        return Reply(write(self.registry), headers={"content-type": CONTENT_TYPE_LATEST})

    def _child(self, model: str, route: str, status: str) -> Any:
        # Finding a child by its labels takes as long as all else here together.
        key = (model, route, status)
        found = self._children.get(key)
        if found is None:
            found = self._seconds.labels(model, route), self._requests.labels(*key)
            self._children[key] = found
        return found


class _Models:
    """Tells, when it is asked, which versions are served, and how often each was shielded."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    def collect(self) -> Iterator[Any]:
        """Yield what is served now."""
        info = GaugeMetricFamily(
            "serving_model", "1 for each version served.", labels=("model", "version", "digest", "phase")
        )
        missing = GaugeMetricFamily("serving_models_unavailable", "Models that should be served and are not.")
        shielded = CounterMetricFamily(
            "serving_shielded", "Requests answered by the former version.", labels=("model", "version")
        )
        for name, served in self.repository.served().items():
            current = served.current
            info.add_metric((name, current.version, current.digest, served.state), 1)
            shielded.add_metric((name, current.version), current.shielded)
            if served.former is not None:
                former = served.former
                info.add_metric((name, former.version, former.digest, "former"), 1)
        missing.add_metric((), len(self.repository.unavailable))
        yield from (info, missing, shielded)


def _route(path: str) -> str:
    if path.endswith("/infer"):
        return "infer"
    if path.startswith("/predict"):
        return "predict"
    return "other"
