"""The public application of a server: the endpoints and everything that they share."""

from __future__ import annotations

import socket
from collections.abc import Callable

from continuous_training.serving.api.endpoint import Route
from continuous_training.serving.api.predict_endpoints import PredictEndpoints
from continuous_training.serving.api.v1_endpoints import V1Endpoints
from continuous_training.serving.api.v2_endpoints import V2Endpoints
from continuous_training.serving.http.app import HttpApp
from continuous_training.serving.http.cors import CorsPolicy
from continuous_training.serving.http.fast_path import FastPath
from continuous_training.serving.http.requests import InFlightBytes, RequestLimits
from continuous_training.serving.http.routing import Router
from continuous_training.serving.models.batcher import Batcher
from continuous_training.serving.models.inference_watchdog import Watchdog
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.page.routes import Page
from continuous_training.serving.process.prometheus_metrics import Metrics
from continuous_training.serving.process.server_loop import PublicServer
from continuous_training.serving.process.settings import ServerSettings

LOAD_SECONDS = 600.0
"""The maximum time to load an archive and to check its golden requests."""


class ServerApplication:
    """Creates the queue, the metrics and the HTTP application for the models of a repository."""

    def __init__(self, repository: ModelRepository, settings: ServerSettings | None = None) -> None:
        self.repository = repository
        self.settings = settings or ServerSettings()
        self.metrics = Metrics(repository, self.settings.root_path)
        self.batcher = Batcher(repository, self.settings.batching, self.metrics.observe_batch)
        self.stopping = False
        in_flight = InFlightBytes(self.settings.max_held)
        router = Router(self._routes(), self.settings.root_path)
        cors = CorsPolicy(self.settings.cors_origins)
        self.http_app = HttpApp(
            router,
            RequestLimits(self.settings.max_body, self.settings.timeout),
            in_flight,
            self.metrics.observe_request,
            self.settings.access_log,
            cors,
        )
        self.fast_path: FastPath | None = None
        # The fast path does not write an access log.
        if self.settings.fast_path and not self.settings.access_log:
            self.fast_path = FastPath(
                router, self.batcher, in_flight, self.settings.max_body, self.metrics.observe_request, cors
            )
        self.metrics.add_queue_gauges(lambda: self.batcher.queue_length, lambda: in_flight.bytes)

    def _routes(self) -> list[Route]:
        root_path = self.settings.root_path
        predictions = PredictEndpoints(self.repository, self.batcher, root_path)
        return [
            *predictions.routes(),
            *Page(self.repository, predictions.index, root_path).routes(),
            *V1Endpoints(self.repository, self.batcher).routes(),
            *V2Endpoints(self.repository, self.batcher, lambda: self.stopping).routes(),
            Route("GET", "/metrics", self.metrics.metrics),
        ]

    def public_server(self, listening_socket: socket.socket) -> PublicServer:
        """Return the public server of this application."""
        return PublicServer(
            self.http_app, listening_socket, self.fast_path, lambda: self.batcher.blocked_since
        )

    def begin_shutdown(self) -> None:
        """Report from now on that the server is not ready."""
        self.stopping = True

    def watchdogs(self, end_process: Callable[[], None]) -> list[Watchdog]:
        """Return watchdogs for a hung inference and a hung load. They call `end_process`."""
        stall = self.settings.stall
        return [
            Watchdog(lambda: self.batcher.active_call, stall, end_process),
            Watchdog(lambda: self.repository.active_load, max(LOAD_SECONDS, stall), end_process),
        ]
