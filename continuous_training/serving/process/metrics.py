"""What Prometheus may know of the server: requests, batches, the queue, and the versions served."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge
from prometheus_client import generate_latest as write
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from continuous_training.serving.api.endpoint import EndpointRequest, Response
from continuous_training.serving.http.requests import Request
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process.fast_metrics import Counts, Histograms
from continuous_training.serving.process.worker_metrics import Siblings

log = logging.getLogger(__name__)

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts and times what the application answers; its names are in docs/serving.md."""

    def __init__(self, repository: ModelRepository) -> None:
        self._siblings: Siblings | None = None
        registry = self.registry = CollectorRegistry()
        labels = ("model", "route")
        self._seconds = Histograms(
            "serving_request_seconds", "From the request's head to its answer's end.", labels, _SECONDS
        )
        self._requests = Counts("serving_requests", "Answers by their status.", (*labels, "status"))
        self._errors = Counts("serving_errors", "Answers that were errors, by kind.", ("model", "kind"))
        self._batch = Histograms(
            "serving_batch_requests", "Requests answered in one turn.", ("model",), _REQUESTS
        )
        self._batch_seconds = Histograms(
            "serving_batch_seconds",
            "From reading a batch's requests to writing its answers.",
            ("model",),
            _SECONDS,
        )
        for tally in (self._seconds, self._requests, self._errors, self._batch, self._batch_seconds):
            registry.register(tally)
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
        self._seconds.add((model, route), seconds)
        self._requests.add((model, route, str(status)))
        if kind:
            self._errors.add((model, kind))

    def batch(self, model: str, requests: int, seconds: float) -> None:
        """Count one batch."""
        self._batch.add((model,), requests)
        self._batch_seconds.add((model,), seconds)

    async def share(self, siblings: Siblings) -> None:
        """From now on tell what all workers of the port have counted; a second late for the others."""
        self._siblings = siblings
        while True:
            try:
                siblings.leave(write(self.registry))
            except OSError:
                log.exception("the other workers cannot be told what this one has counted")
            await asyncio.sleep(1)

    async def reply(self, request: EndpointRequest) -> Response:
        """Answer in Prometheus's text format."""
        text = write(self.registry)
        if self._siblings is not None:
            text = self._siblings.together(text)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


class _Models:
    """Tells, when it is asked, which versions are served, and how often each was shielded."""

    def __init__(self, repository: ModelRepository) -> None:
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
        for name, served in self.repository.served_models().items():
            current = served.current
            info.add_metric((name, current.version, current.digest, served.phase), 1)
            shielded.add_metric((name, current.version), current.fallback_count)
            if served.previous is not None:
                former = served.previous
                info.add_metric((name, former.version, former.digest, "former"), 1)
        missing.add_metric((), len(self.repository.unavailable))
        yield from (info, missing, shielded)


def _route(path: str) -> str:
    if path.endswith("/infer"):
        return "infer"
    if path.startswith("/predict"):
        return "predict"
    return "other"
