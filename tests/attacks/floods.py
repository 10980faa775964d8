"""Clients that send many pipelined requests on one connection, and clients that read no response."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GET = b"GET /v2/models/toy HTTP/1.1\r\nHost: x\r\n\r\n"
_CONNECTIONS, _BYTES = 20, 8_000_000


def post(body: bytes, *headers: str, path: str = "/predict/toy", chunked: bool = False) -> bytes:
    """Return a request, with two chunks if it is chunked."""
    lines = [f"POST {path} HTTP/1.1", "host: x", *headers]
    if chunked:
        half = len(body) // 2
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
        return "\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode() + chunks + b"0\r\n\r\n"
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


FLOODS = {
    "GET": GET,
    "POST": post(b'{"x":[1]}'),
    "invalid POST": post(b"{}"),
    "page": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}
"""The requests that are repeated."""


def connect(port: int, receive_buffer: int | None = None) -> socket.socket:
    """Open a connection."""
    raw = socket.socket()
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.settimeout(30)
    raw.connect(("127.0.0.1", port))
    return raw


@contextmanager
def flood(port: int, request: bytes, meanwhile: Callable[[], object]) -> Iterator[int]:
    """Send up to 8 MB of a request on each of 20 connections for a second, and read nothing.

    `meanwhile` is called again and again. The connections are open until the block ends, which gets the
    number of bytes that the server has accepted.
    """
    stream = request * (_BYTES // len(request))
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(port)) for _ in range(_CONNECTIONS)]
        sent = [0] * len(connections)
        for connection in connections:
            connection.setblocking(False)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            for number, connection in enumerate(connections):
                with contextlib.suppress(BlockingIOError):
                    sent[number] += connection.send(memoryview(stream)[sent[number] :])
            meanwhile()
        yield sum(sent)


def exchange_mixed_requests(port: int, seed: int) -> str:
    """Send pipelined requests of all forms in parts that end anywhere, and describe a wrong response.

    The requests have small and large bodies, chunked bodies and long heads. The result is empty if all
    responses are correct and in order.
    """
    rng = random.Random(seed)
    stream, expected = b"", []
    for number in range(1, 150):
        size = rng.choice([1, 1, 1, 500, 5000, 100_000])
        body = json.dumps({"x": [number], "padding": "a" * size}).encode()
        headers = [f"x-long: {'a' * rng.choice([0, 600, 5000])}"]
        stream += post(
            body, *headers, *(["connection: close"] if number == 149 else []), chunked=not number % 5
        )
        expected.append([2.0 * number])
    with connect(port) as raw:
        received, sent = b"", 0
        while sent < len(stream):
            raw.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                received += raw.recv(1 << 20)
            raw.settimeout(30)
            size = rng.choice([1, 100, 5000, 300_000])
            raw.sendall(stream[sent : sent + size])
            sent += size
        received += raw.makefile("rb").read()
    answers = [json.loads(text)["y"] for text in re.findall(rb'\{"scale".*?\}', received)]
    return "" if answers == expected else f"expected {expected}, received {answers}"
