"""Listening sockets of the server, and the choice of their port."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from contextlib import suppress

from continuous_training.core.errors import UserError

DEFAULT_PORT = 8080
BACKLOG = 2048

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the flags of the TCP header
    (0x45, 0, 1, 0x02),  # skip the next instruction unless SYN is set
    (0x06, 0, 0, 0),  # drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # accept the packet
)
"""A classic BPF program that drops the first packet of each new connection (linux/filter.h)."""


def listen(host: str, port: int | None, preferred: tuple[int, ...] = ()) -> socket.socket:
    """Listen on `port`. Without a port, use the first free port of `preferred`, or any free port.

    Raises UserError if `port` is taken, or `host` is not an address of this machine.
    """
    if port is not None:
        opened = _listen_if_free(host, port)
        if opened is None:
            raise UserError(
                f"port {port} of {host} is taken by another program; stop it, or choose another --port"
            )
        return opened
    for candidate in (*preferred, 0):
        opened = _listen_if_free(host, candidate)
        if opened is not None:
            return opened
    raise UserError(f"no port of {host} is free")


def listen_shared(host: str, port: int | None, count: int, preferred: tuple[int, ...]) -> list[socket.socket]:
    """Listen with `count` sockets on one port (SO_REUSEPORT). Chooses the port as `listen` does.

    The operating system distributes the connections over the sockets.
    """
    # Reserve the port without SO_REUSEPORT first, to detect another program that listens with that option.
    exclusive = listen(host, port, preferred)
    free_port = exclusive.getsockname()[1]
    exclusive.close()
    sockets = [_listen_if_free(host, free_port, shared=True) for _ in range(count)]
    if None in sockets:
        raise UserError(f"another program has just taken port {free_port} of {host}; try again")
    return [opened for opened in sockets if opened is not None]


def reject_connections(listening_socket: socket.socket) -> None:
    """Let the operating system ignore new connections. Those that are open or being opened are not affected.

    After the socket is closed, a client gets "connection refused". Works on Linux only.
    """
    if sys.platform == "linux":
        instructions = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
        buffer = ctypes.create_string_buffer(instructions)
        program = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(buffer))
        with suppress(OSError):  # Sandboxes such as gVisor do not have socket filters.
            listening_socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def accept_connections(listening_socket: socket.socket) -> None:
    """Undo `reject_connections`, which a former process may have called for the same socket."""
    if sys.platform == "linux":
        with suppress(OSError):  # There is no filter.
            listening_socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def _listen_if_free(host: str, port: int, shared: bool = False) -> socket.socket | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"cannot listen on {host}: {error}") from error
    try:
        # Allow a restart while connections of the previous server are in the state TIME_WAIT.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(address)
        # With SO_REUSEADDR, other programs can bind the port until this socket listens.
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise UserError(f"cannot listen on port {port} of {host}: {error}") from error
    opened.setblocking(False)
    return opened
