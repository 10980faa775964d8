"""Running ASGI applications on sockets, in one event loop, until they are told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10
"""How long the requests that are under way may take once the server is told to stop."""


class _Server(uvicorn.Server):
    """Leaves the signals to `run`, since one process has several servers and one end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(
    listeners: list[tuple[Any, socket.socket]],
    ready: Callable[[], Coroutine[Any, Any, None]],
    every_moment: Callable[[], Any],
) -> None:
    """Serve each application on its socket until SIGTERM or SIGINT, then finish what is under way.

    `ready` is awaited once all of them answer, and what it raises ends the servers and is raised
    again; `every_moment` is called ten times a second.
    """
    servers = [_Server(_config(app)) for app, _ in listeners]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [
        asyncio.create_task(server.serve(sockets=[sock]))
        for server, (_, sock) in zip(servers, listeners, strict=True)
    ]
    ticking = asyncio.create_task(_tick(every_moment))
    try:
        while not all(server.started for server in servers):
            await asyncio.sleep(0.005)
        becoming_ready = asyncio.create_task(ready())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({becoming_ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if becoming_ready.done():
            await becoming_ready
        await stopped
    finally:
        ticking.cancel()
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)


async def _tick(every_moment: Callable[[], Any]) -> None:
    while True:
        await asyncio.sleep(0.1)
        try:
            every_moment()
        except Exception:
            log.exception("a regular task failed, and is tried again")


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
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
