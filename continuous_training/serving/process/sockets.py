"""Sockets for the server to listen on, and which port they get."""

from __future__ import annotations

import errno
import socket

from continuous_training.core.errors import UserError

DEFAULT_PORT = 8080


def listen(host: str, port: int | None, preferred: tuple[int, ...] = ()) -> socket.socket:
    """Listen on the port that was asked for, or on the first preferred one that is free, or on any.

    UserError when `port` is given and taken, or the host is none of this machine's addresses.
    """
    if port is not None:
        found = _try(host, port)
        if found is None:
            raise UserError(
                f"port {port} of {host} is taken by another program; stop it, or choose another --port"
            )
        return found
    for candidate in (*preferred, 0):
        found = _try(host, candidate)
        if found is not None:
            return found
    raise UserError(f"no port of {host} is free")


def listen_shared(host: str, port: int | None, count: int, preferred: tuple[int, ...]) -> list[socket.socket]:
    """Listen with several sockets on one port, found as `listen` does; the system deals connections out."""
    # Alone at first: sockets that share a port would share it with another program's that do.
    first = listen(host, port, preferred)
    found = first.getsockname()[1]
    first.close()
    sockets = [_try(host, found, shared=True) for _ in range(count)]
    if None in sockets:
        raise UserError(f"port {found} of {host} was taken by another program just now; try again")
    return [one for one in sockets if one is not None]


def _try(host: str, port: int, shared: bool = False) -> socket.socket | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"cannot listen on {host}: {error}") from error
    try:
        # A restart must not wait for the old connections to be forgotten.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(address)
        # Only listening makes the port taken for others that set the same option.
        found.listen(2048)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise UserError(f"cannot listen on port {port} of {host}: {error}") from error
    found.setblocking(False)
    return found
