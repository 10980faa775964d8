"""The public application: the routes of each part, put together, and what all of them share."""

from __future__ import annotations

from collections.abc import Callable

from continuous_training.serving.api.endpoint import Response, Route
from continuous_training.serving.api.predict_endpoints import PredictEndpoints
from continuous_training.serving.api.v2_endpoints import V2Endpoints
from continuous_training.serving.http.fast_path import Express
from continuous_training.serving.http.requests import (
    Held,
    Receive,
    Request,
    Scope,
    Send,
    check_encoding,
)
from continuous_training.serving.http.responses import respond
from continuous_training.serving.http.routing import Router
from continuous_training.serving.models.batcher import Batcher
from continuous_training.serving.models.inference_watchdog import Watchdog
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.page import Page
from continuous_training.serving.process.metrics import Metrics
from continuous_training.serving.process.settings import Settings


class App:
    """Answers requests over HTTP with what the repository serves."""

    def __init__(self, repository: ModelRepository, settings: Settings | None = None) -> None:
        self.repository = repository
        self.settings = settings or Settings()
        self.metrics = Metrics(repository)
        self.batcher = Batcher(repository, self.settings.batching, self.metrics.batch)
        self.held = Held(self.settings.max_held)
        self.metrics.watch(waiting=lambda: self.batcher.queue_length, held=lambda: self.held.bytes)
        self.stopping = False
        predictions = PredictEndpoints(repository, self.batcher)
        self.router = Router(
            [
                *predictions.routes(),
                *Page(repository, predictions.index).routes(),
                *V2Endpoints(repository, self.batcher, lambda: self.stopping).routes(),
                Route("GET", "/metrics", self.metrics.reply),
            ]
        )
        self.express = Express(
            self.router, self.batcher, self.held, self.settings.max_body, self.metrics.request
        )

    def stop(self) -> None:
        """Say from now on that the server is not ready: it is about to end."""
        self.stopping = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] == "http":
            settings = self.settings
            request = Request(scope, receive, settings.max_body, settings.timeout, self.held)
            await respond(request, send, self._handle, self.metrics.request, settings.access_log)

    async def _handle(self, request: Request) -> Response:
        route, request.parameters = self.router.find(request.scope["method"], request.scope["path"])
        check_encoding(request)
        return await route.endpoint(request)


LOAD_SECONDS = 600.0
"""How long loading an archive and proving it may take."""


def watch(app: App, stall: float, end: Callable[[], None]) -> list[Watchdog]:
    """Make the watchdogs of an application: over its batches, and over what is being loaded."""
    return [
        Watchdog(lambda: app.batcher.active_call, stall, end),
        Watchdog(lambda: app.repository.active_load, max(LOAD_SECONDS, stall), end),
    ]
