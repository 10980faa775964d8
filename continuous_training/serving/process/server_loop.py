"""Runs the public application, and the management application in a thread of its own, until a signal."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from continuous_training.serving.http.app import HttpApp
from continuous_training.serving.http.connection_limits import ConnectionLimits
from continuous_training.serving.http.fast_path import FastPath
from continuous_training.serving.http.management import ManagementApp
from continuous_training.serving.http.requests import InFlightBytes
from continuous_training.serving.process.draining import drain
from continuous_training.serving.process.gil_watchdog import GilWatchdog
from continuous_training.serving.process.http_server import HttpServer
from continuous_training.serving.process.liveness import LivenessResponder
from continuous_training.serving.process.settings import ServerSettings

try:
    from uvloop import run as run_loop
except ImportError:  # uvloop is not available on all platforms. The loop of asyncio is slower.
    from asyncio import run as run_loop  # type: ignore[assignment]

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
"""The interval of the periodic tasks."""


@dataclass(frozen=True)
class PublicServer:
    """The public application, its socket, and its fast path if it is turned on.

    `blocked_since` returns when the batch that blocks the event loop started, or None: see `liveness`. If it
    is missing, no thread answers liveness probes.
    """

    app: HttpApp
    socket: socket.socket
    fast_path: FastPath | None = None
    blocked_since: Callable[[], float | None] | None = None


@dataclass(frozen=True)
class ManagementServer:
    """The management application and its socket."""

    app: ManagementApp
    socket: socket.socket


@dataclass(frozen=True)
class ServerEvents:
    """The functions that a running server calls.

    `on_start` is awaited when the sockets accept connections; if it raises an exception, the server ends.
    `on_stop` is called on SIGTERM and SIGINT. `on_tick` is called ten times per second in the management
    thread, which no handler can block: inference runs in the main thread.
    """

    on_start: Callable[[], Coroutine[Any, Any, None]]
    on_tick: Callable[[], None]
    on_stop: Callable[[], None]


def run(
    public: PublicServer,
    management: ManagementServer | None,
    events: ServerEvents,
    settings: ServerSettings,
) -> None:
    """Serve until SIGTERM or SIGINT, then complete the requests in progress.

    After the signal, the server continues for `settings.linger` seconds, because load balancers need time to
    notice that it is not ready. It closes each connection with the next response.
    """
    # Exclude the objects that exist now from garbage collection, and collect less often than by default.
    gc.freeze()
    gc.set_threshold(10_000)
    with _ManagementThread(management, events.on_tick, settings):
        limits = ConnectionLimits(settings.max_connections, settings.timeout, public.app.in_flight)

        def begin_shutdown() -> None:
            limits.stopping.set()
            events.on_stop()

        server = HttpServer(public.app, limits, public.fast_path)
        run_loop(_serve(server, public, events.on_start, begin_shutdown, settings.linger))


class _ManagementThread(threading.Thread):
    """Runs the management application and the periodic tasks."""

    def __init__(
        self, management: ManagementServer | None, on_tick: Callable[[], None], settings: ServerSettings
    ) -> None:
        super().__init__(name="management", daemon=True)
        self._on_tick = on_tick
        self._limits = ConnectionLimits(
            settings.max_connections, settings.timeout, InFlightBytes(settings.max_held)
        )
        self._gil_watchdog = GilWatchdog(settings.stall)
        self._server = HttpServer(management.app, self._limits) if management else None
        self._socket = management.socket if management else None
        self._started_serving = threading.Event()

    def __enter__(self) -> None:
        self.start()
        self._started_serving.wait()

    def __exit__(self, *_: object) -> None:
        self._limits.stopping.set()
        self.join()

    def run(self) -> None:
        """Serve and run the periodic tasks until the block ends."""
        try:
            run_loop(self._serve())
        except BaseException:
            log.exception("the management thread failed; the server stops")
            signal.raise_signal(signal.SIGTERM)
        finally:
            self._started_serving.set()

    async def _serve(self) -> None:
        task = None
        if self._server is not None and self._socket is not None:
            task = await self._server.start(self._socket)
        self._gil_watchdog.reset()
        self._started_serving.set()
        while not self._limits.stopping.is_set():
            await asyncio.sleep(TICK_SECONDS)
            self._gil_watchdog.reset()
            try:
                self._on_tick()
            except Exception:
                log.exception("a periodic task failed; it runs again in %s s", TICK_SECONDS)
        self._gil_watchdog.cancel()
        if self._server is not None and task is not None:
            self._server.should_exit = True
            await task


async def _serve(
    server: HttpServer,
    public: PublicServer,
    on_start: Callable[[], Coroutine[Any, Any, None]],
    begin_shutdown: Callable[[], None],
    linger: float,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    task = await server.start(public.socket)
    liveness = _start_liveness(public, server)
    try:
        starting = asyncio.create_task(on_start())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
        await stopped
        begin_shutdown()
        await asyncio.sleep(linger)
        if liveness is not None:
            await asyncio.to_thread(liveness.stop)
        await drain(server, public.socket)
    finally:
        if liveness is not None:
            liveness.stop()
        server.should_exit = True
        await task


def _start_liveness(public: PublicServer, server: HttpServer) -> LivenessResponder | None:
    if public.blocked_since is None:
        return None
    loop = asyncio.get_running_loop()
    liveness = LivenessResponder(
        public.socket,
        public.blocked_since,
        adopt=lambda connection: loop.call_soon_threadsafe(server.adopt, connection),
    )
    liveness.start()
    return liveness
