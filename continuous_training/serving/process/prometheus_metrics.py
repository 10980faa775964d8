"""Prometheus metrics of the server: requests, errors, batches, the queue and the served versions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from continuous_training.serving.api.endpoint import EndpointRequest, Response
from continuous_training.serving.http.requests import Request
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process.metrics_format import select_format
from continuous_training.serving.process.single_thread_metrics import Counter, Histogram
from continuous_training.serving.process.worker_metrics import WorkerMetrics

log = logging.getLogger(__name__)

PUBLISH_SECONDS = 1.0
"""The interval at which a worker publishes its metrics for the others."""

_SECONDS_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_REQUESTS_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts and times requests and batches. docs/serving.md lists the metrics."""

    def __init__(self, repository: ModelRepository, root_path: str = "") -> None:
        self._root_path = root_path
        self._worker_metrics: WorkerMetrics | None = None
        registry = self.registry = CollectorRegistry()
        labels = ("model", "route")
        self._request_seconds = Histogram(
            "serving_request_seconds",
            "Time from the head of a request to the end of its response.",
            labels,
            _SECONDS_BOUNDS,
        )
        self._requests = Counter("serving_requests", "Responses by status.", (*labels, "status"))
        self._errors = Counter("serving_errors", "Error responses by kind.", ("model", "kind"))
        self._batch_requests = Histogram(
            "serving_batch_requests", "Requests in one batch.", ("model",), _REQUESTS_BOUNDS
        )
        self._batch_seconds = Histogram(
            "serving_batch_seconds",
            "Time from parsing the requests of a batch to encoding their responses.",
            ("model",),
            _SECONDS_BOUNDS,
        )
        for metric in (
            self._request_seconds,
            self._requests,
            self._errors,
            self._batch_requests,
            self._batch_seconds,
        ):
            registry.register(metric)
        registry.register(_ModelCollector(repository))
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    def add_queue_gauges(self, queued: Callable[[], float], in_flight_bytes: Callable[[], float]) -> None:
        """Add gauges for the number of queued requests and the size of all request bodies in progress."""
        queue = Gauge("serving_queue_requests", "Queued requests.", registry=self.registry)
        queue.set_function(queued)
        size = Gauge("serving_held_bytes", "Bytes of requests that arrive or wait.", registry=self.registry)
        size.set_function(in_flight_bytes)

    def observe_request(self, request: Request, status: int, error_kind: str, seconds: float) -> None:
        """Count one response."""
        # Only names of served models become labels: arbitrary names from clients would fill the memory.
        model, route = request.model, _route(request.scope["path"].removeprefix(self._root_path))
        self._request_seconds.observe((model, route), seconds)
        self._requests.inc((model, route, str(status)))
        if error_kind:
            self._errors.inc((model, error_kind))

    def observe_batch(self, model: str, requests: int, seconds: float) -> None:
        """Count one batch."""
        self._batch_requests.observe((model,), requests)
        self._batch_seconds.observe((model,), seconds)

    async def publish(self, worker_metrics: WorkerMetrics) -> None:
        """Publish the metrics of this worker every second, and report the sum over all workers."""
        self._worker_metrics = worker_metrics
        while True:
            try:
                worker_metrics.publish(generate_latest(self.registry))
            except OSError:
                log.exception("publishing the metrics of this worker failed; the next attempt is in a second")
            await asyncio.sleep(PUBLISH_SECONDS)

    async def metrics(self, request: EndpointRequest) -> Response:
        """Return the metrics in the format that the client accepts: a text format, or OpenMetrics."""
        exposition = select_format(request.header(b"accept"))
        registry = self.registry
        if self._worker_metrics is not None:
            registry = self._worker_metrics.aggregate(generate_latest(registry))
        headers = {"content-type": exposition.content_type, "vary": "accept"}
        return Response(exposition.encode(registry), headers=headers)


class _ModelCollector(Collector):
    """Collects the served versions, and the number of requests that the previous version answered."""

    def __init__(self, repository: ModelRepository) -> None:
        self.repository = repository

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the currently served versions."""
        info = GaugeMetricFamily(
            "serving_model", "1 for each served version.", labels=("model", "version", "digest", "phase")
        )
        unavailable = GaugeMetricFamily(
            "serving_models_unavailable", "Models that should be served and are not."
        )
        shielded = CounterMetricFamily(
            "serving_shielded",
            "Requests that failed on a version on trial and were answered by the previous version.",
            labels=("model", "version"),
        )
        for name, served in self.repository.served_models().items():
            current, previous = served.current, served.previous
            info.add_metric((name, current.version, current.digest, served.phase), 1)
            shielded.add_metric((name, current.version), current.fallback_count)
            if previous is not None:
                info.add_metric((name, previous.version, previous.digest, "former"), 1)
        unavailable.add_metric((), len(self.repository.unavailable))
        yield from (info, unavailable, shielded)


def _route(path: str) -> str:
    if path.endswith("/infer"):
        return "infer"
    if path.startswith("/predict"):
        return "predict"
    return "other"
