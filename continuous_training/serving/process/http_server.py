"""uvicorn's server with our HTTP protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import uvicorn

from continuous_training.serving.http.app import HttpApp
from continuous_training.serving.http.connection_limits import ConnectionLimits, LimitedProtocol
from continuous_training.serving.http.fast_path import FastPath, FastPathProtocol
from continuous_training.serving.http.management import ManagementApp

DRAIN_SECONDS = 10
"""The time for requests in progress to complete after SIGTERM."""

KEEP_ALIVE_SECONDS = 75
"""Longer than the idle timeout of most client pools: a server that closes first can interrupt a request."""


class HttpServer(uvicorn.Server):
    """Serves an application on a listening socket.

    It leaves the handling of signals to `server_loop.run`, because one process can have two servers.
    """

    def __init__(
        self, app: HttpApp | ManagementApp, limits: ConnectionLimits, fast_path: FastPath | None = None
    ) -> None:
        super().__init__(_config(app, limits, fast_path))
        self._adoptions: set[asyncio.Task[None]] = set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield

    async def start(self, listening_socket: socket.socket) -> asyncio.Task[None]:
        """Start to accept connections. Return the task that ends after `should_exit` is set."""
        task = asyncio.create_task(self.serve(sockets=[listening_socket]))
        while not self.started and not task.done():
            await asyncio.sleep(0.002)
        return task

    def stop_listening(self) -> None:
        """Close the listening socket. Connections that are not accepted are reset."""
        for server in self.servers:
            server.close()

    def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that another function has accepted. Called in the event loop."""
        task = asyncio.get_running_loop().create_task(self._adopt(connection))
        self._adoptions.add(task)
        task.add_done_callback(self._adoptions.discard)

    async def _adopt(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def create_protocol() -> asyncio.Protocol:
            return self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                _loop=loop,
            )

        await loop.connect_accepted_socket(create_protocol, connection)


def _config(
    app: HttpApp | ManagementApp, limits: ConnectionLimits, fast_path: FastPath | None
) -> uvicorn.Config:
    protocol: partial[LimitedProtocol] = partial(LimitedProtocol, limits=limits)
    if fast_path is not None:
        protocol = cast(
            "partial[LimitedProtocol]", partial(FastPathProtocol, limits=limits, fast_path=fast_path)
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
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
