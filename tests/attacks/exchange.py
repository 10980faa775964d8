"""Bytes that a client sends on one connection, and the responses that it must get."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass

BODY = b'{"x":[1]}'
LENGTH = f"Content-Length: {len(BODY)}"

_PAUSE_SECONDS = 0.05
"""Between two packets, so that the server receives them one after the other."""


def head(*lines: str, method: str = "POST", path: str = "/predict/toy", version: str = "1.1") -> bytes:
    """Return the head of a request, without a Host header."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", *lines, "", ""]).encode("latin-1")


def exchange(port: int, *packets: bytes) -> bytes:
    """Send the packets with pauses, and return everything that is received until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for packet in packets:
            raw.sendall(packet)
            if packet is not packets[-1]:
                time.sleep(_PAUSE_SECONDS)
        return raw.makefile("rb").read()


def statuses(received: bytes) -> list[int]:
    """Return the statuses of all responses, also of interim ones."""
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", received)]


def values(received: bytes) -> list[float]:
    """Return the first number of each response of the toy model."""
    return [float(value) for value in re.findall(rb'"y":\[([0-9.]+)\]', received)]


@dataclass(frozen=True)
class Exchange:
    """The packets of a connection that the server closes, and the expected responses.

    `values` are the numbers that the toy model returns: twice those that were sent. `text` is a part of what
    is received.
    """

    packets: tuple[bytes, ...]
    statuses: tuple[int, ...]
    values: tuple[float, ...] = ()
    text: bytes = b""

    def problem(self, port: int) -> str:
        """Carry out the exchange, and describe the difference from the expected responses; empty if none."""
        received = exchange(port, *self.packets)
        # An interim response may be omitted if the body arrives early.
        expected = [list(self.statuses), [status for status in self.statuses if status != 100]]
        if statuses(received) not in expected or values(received) != list(self.values):
            return f"expected {self.statuses} {self.values}, received {received[:2000]!r}"
        return "" if self.text in received else f"{self.text!r} is missing in {received[:2000]!r}"
