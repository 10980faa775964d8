"""An ASGI application that passes each request to the endpoint of its route."""

from __future__ import annotations

from continuous_training.serving.api.endpoint import Response
from continuous_training.serving.http.cors import CorsPolicy
from continuous_training.serving.http.head_checks import check_head
from continuous_training.serving.http.requests import (
    InFlightBytes,
    Receive,
    Request,
    RequestLimits,
    Scope,
    Send,
)
from continuous_training.serving.http.responses import ResponseObserver, respond
from continuous_training.serving.http.routing import Router


class HttpApp:
    """Serves the routes of a router over ASGI.

    `in_flight` limits the size of all bodies together. `observe` is called after each response. `cors` is the
    policy for requests of web pages.
    """

    def __init__(
        self,
        router: Router,
        limits: RequestLimits,
        in_flight: InFlightBytes,
        observe: ResponseObserver,
        log_access: bool = False,
        cors: CorsPolicy | None = None,
    ) -> None:
        self.router = router
        self.limits = limits
        self.in_flight = in_flight
        self.observe = observe
        self.log_access = log_access
        self.cors = cors or CorsPolicy()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request."""
        if scope["type"] == "http":
            request = Request(scope, receive, self.limits, self.in_flight)
            await respond(request, send, self._handle, self.observe, self.log_access, self.cors)

    async def _handle(self, request: Request) -> Response:
        check_head(request)
        if (preflight := self.cors.preflight(request)) is not None:
            return preflight
        match = self.router.find(request.scope["method"], request.scope["path"])
        request.parameters = match.parameters
        return await match.route.endpoint(request)
