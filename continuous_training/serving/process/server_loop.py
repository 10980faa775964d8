"""Running the public application, and the private one in a thread of its own, until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn

from continuous_training.serving.http.uvicorn_protocol import Protocol
from continuous_training.serving.process.settings import Settings

try:
    from uvloop import run as run_loop
except ImportError:  # it is not to be had everywhere; asyncio's own loop is slower and as good
    from asyncio import run as run_loop  # type: ignore[assignment]

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10
"""How long the requests that are under way may take once the server is told to stop."""

Listener = tuple[Any, socket.socket]
"""An ASGI application and the socket that it answers on."""


class _Server(uvicorn.Server):
    """Leaves the signals to `run`, since one process has several servers and one end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(
    public: Listener,
    private: Listener | None,
    ready: Callable[[], Coroutine[Any, Any, None]],
    every_moment: Callable[[], Any],
    settings: Settings,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way.

    Once told to stop it calls `stopping` and goes on for the settings' `linger`: whoever sends requests
    here takes that long to notice. Each answer of that time closes its connection, so that nobody keeps one.
    `ready` is awaited once all listeners answer, and what it raises ends the servers and is raised again.
    `every_moment` is called ten times a second in the private application's thread, which no handler can
    hold up: inference is in this one.
    """
    # What is there by now stays: the collector need not look at it again and again, nor at every 700th list.
    gc.freeze()
    gc.set_threshold(10_000)
    side = _Side(private, every_moment, settings)
    with side:
        leaving = threading.Event()

        def leave() -> None:
            leaving.set()
            stopping()

        server = _Server(_config(public[0], settings, leaving))
        run_loop(_serve(server, public[1], ready, leave, settings.linger))


class _Side(threading.Thread):
    """The thread of the private application and of what is done every moment."""

    def __init__(self, private: Listener | None, every_moment: Callable[[], Any], settings: Settings) -> None:
        super().__init__(name="management", daemon=True)
        self._private = private
        self._every_moment = every_moment
        self._end = threading.Event()
        self._server = _Server(_config(private[0], settings, self._end)) if private else None
        self._answers = threading.Event()

    def __enter__(self) -> None:
        self.start()
        self._answers.wait()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()

    def run(self) -> None:
        """Serve and tick until it is told to stop."""
        try:
            run_loop(self._serve())
        except BaseException:
            log.exception("the management thread failed")
            signal.raise_signal(signal.SIGTERM)
        finally:
            self._answers.set()

    async def _serve(self) -> None:
        task = None
        if self._server is not None and self._private is not None:
            task = await _started(self._server, self._private[1])
        self._answers.set()
        while not self._end.is_set():
            await asyncio.sleep(0.1)
            try:
                self._every_moment()
            except Exception:
                log.exception("a regular task failed, and is tried again")
        if self._server is not None and task is not None:
            self._server.should_exit = True
            await task


async def _serve(
    server: _Server,
    sock: socket.socket,
    ready: Callable[[], Coroutine[Any, Any, None]],
    stopping: Callable[[], None],
    linger: float,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    task = await _started(server, sock)
    try:
        becoming_ready = asyncio.create_task(ready())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({becoming_ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if becoming_ready.done():
            await becoming_ready
        await stopped
        stopping()
        await _take_the_rest(sock, linger)
    finally:
        server.should_exit = True
        await task


async def _take_the_rest(sock: socket.socket, linger: float) -> None:
    """Go on for `linger` seconds, and then until nobody who has connected already waits to be heard.

    Closing a listening socket resets the connections that the system has taken for it, and closing a
    connection loses the request that the system has read from it.
    """
    await asyncio.sleep(linger)
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        while select.select([sock], [], [], 0)[0] and time.monotonic() < deadline:
            await asyncio.sleep(0)
        # Longer than a turn of the loop, in which everything is read that is there.
        await asyncio.sleep(0.02)
        if not select.select([sock], [], [], 0)[0]:
            return


async def _started(server: _Server, sock: socket.socket) -> asyncio.Task[None]:
    task = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started and not task.done():
        await asyncio.sleep(0.002)
    return task


def _config(app: Any, settings: Settings, leaving: threading.Event) -> uvicorn.Config:
    protocol = partial(
        Protocol,
        head_seconds=settings.timeout,
        max_connections=settings.max_connections,
        leaving=leaving,
        # A line of the access log has more to say than is known on the short way.
        express=None if settings.access_log else getattr(app, "express", None),
    )
    return uvicorn.Config(
        app,
        loop="none",
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Above the idle time of most clients' pools: who closes first must not be us, in mid-request.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
