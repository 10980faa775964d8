"""Stops a server without losing a request that a client has sent.

The order matters. First the operating system stops to complete new connections, then the server accepts those
that are complete, then it closes the listening socket, and then it closes each connection after its response.
A client that has an open connection gets a response to a request that it sends in the meantime.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time

from continuous_training.serving.http.connection_limits import LimitedProtocol
from continuous_training.serving.process.http_server import DRAIN_SECONDS, HttpServer
from continuous_training.serving.process.sockets import reject_connections

IDLE_SECONDS = 1.0
"""A connection without a request for this time is closed: its client does not send one at this moment.

A client on a busy machine can need that long between opening a connection and sending its request.
"""

_HANDSHAKE_SECONDS = 0.1
_POLL_SECONDS = 0.02


async def drain(server: HttpServer, listening_socket: socket.socket) -> None:
    """Complete the requests of all connections that clients have opened, for at most `DRAIN_SECONDS`."""
    deadline = time.monotonic() + DRAIN_SECONDS
    await _accept_last_connections(listening_socket, deadline)
    server.stop_listening()
    while server.server_state.connections and time.monotonic() < deadline:
        for connection in list(server.server_state.connections):
            if isinstance(connection, LimitedProtocol):
                connection.close_if_idle_for(IDLE_SECONDS)
        await asyncio.sleep(_POLL_SECONDS)
    server.config.timeout_graceful_shutdown = 1  # The time for the requests in progress is over.


async def _accept_last_connections(listening_socket: socket.socket, deadline: float) -> None:
    """Reject new connections, and wait until the event loop has accepted the others.

    Closing a listening socket resets the connections that are not accepted.
    """
    reject_connections(listening_socket)
    await asyncio.sleep(_HANDSHAKE_SECONDS)
    poll = select.poll()
    poll.register(listening_socket, select.POLLIN)
    while poll.poll(0) and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
