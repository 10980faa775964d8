"""Runs the trigger service until SIGTERM or SIGINT."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from continuous_training.serving.api.endpoint import Route
from continuous_training.serving.http.app import HttpApp
from continuous_training.serving.http.requests import InFlightBytes, Request, RequestLimits
from continuous_training.serving.http.routing import Router
from continuous_training.serving.process.server_loop import PublicServer, ServerEvents, run
from continuous_training.serving.process.settings import ServerSettings
from continuous_training.trigger.dispatcher import Dispatcher

MAX_BODY = 1024 * 1024
"""The maximum size of a request body in bytes."""

_SETTINGS = ServerSettings(max_body=MAX_BODY, max_held=64 * MAX_BODY, timeout=10.0, max_connections=512)


def serve(
    routes: Sequence[Route],
    dispatcher: Dispatcher,
    listening_socket: socket.socket,
    report_start: Callable[[], None],
) -> None:
    """Serve the routes on the socket, and process the queue.

    `report_start` is called when requests are accepted. Active runs continue after the end.
    """
    limits = RequestLimits(_SETTINGS.max_body, _SETTINGS.timeout)
    app = HttpApp(Router(routes), limits, InFlightBytes(_SETTINGS.max_held), _ignore, log_access=True)

    async def start() -> None:
        dispatcher.start()
        report_start()

    events = ServerEvents(start, on_tick=lambda: None, on_stop=lambda: None)
    try:
        run(PublicServer(app, listening_socket), None, events, _SETTINGS)
    finally:
        dispatcher.stop()


def _ignore(_: Request, __: int, ___: str, ____: float) -> None:
    """There are no metrics yet."""
