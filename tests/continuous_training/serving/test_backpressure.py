"""Clients that pipeline many requests, and clients that do not read their responses."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from foreground import Server, serving
from prometheus_samples import scrape, value
from toy_models import make_archive

from continuous_training.artifacts.archive_writer import Archive

SECONDS = 0.5
"""The time for a client to read its responses."""

GET = b"GET /v2/models/toy HTTP/1.1\r\nHost: x\r\n\r\n"


def post(body: bytes, *headers: str, path: str = "/predict/toy", chunked: bool = False) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", *headers]
    if chunked:
        half = len(body) // 2
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
        return "\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode() + chunks + b"0\r\n\r\n"
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


LARGE = post(
    json.dumps({"x": [1], "padding": "a" * 7_000_000}).encode(),
    "connection: close",
    path="/predict/toy?illustrate=true",
)
"""A request with a response of 7 MB, which contains the request."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def server(archive: Archive) -> Iterator[Server]:
    with serving(archive) as server:
        yield server


@pytest.fixture(scope="module")
def asgi_server(archive: Archive) -> Iterator[Server]:
    with serving(archive, options=("--no-fast-path",)) as server:
        yield server


@pytest.fixture(scope="module")
def impatient_server(archive: Archive) -> Iterator[Server]:
    with serving(archive, options=("--timeout", str(SECONDS))) as server:
        yield server


def connect(server: Server, receive_buffer: int | None = None) -> socket.socket:
    raw = socket.socket()
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.settimeout(30)
    raw.connect(("127.0.0.1", server.port))
    return raw


def resident_mib(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


@pytest.mark.parametrize(
    "request_", [GET, post(b'{"x":[1]}'), post(b"{}"), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_memory_and_latency_with_clients_that_only_write(server: Server, request_: bytes) -> None:
    """Each connection sends up to 8 MB of requests and reads nothing."""
    before = resident_mib(server)
    flood = request_ * (8_000_000 // len(request_))
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(20)]
        sent = [0] * len(connections)
        for connection in connections:
            connection.setblocking(False)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            for number, connection in enumerate(connections):
                with contextlib.suppress(BlockingIOError):
                    sent[number] += connection.send(memoryview(flood)[sent[number] :])
            assert requests.get(f"{server.url}/v2/health/live", timeout=10).ok
        assert sum(sent) > 1_000_000
        assert resident_mib(server) - before < 100
    assert requests.post(f"{server.url}/predict/toy", json={"x": [1]}, timeout=30).json()["y"] == [2.0]


def test_unparsed_bytes_of_a_client_are_counted_and_released(server: Server) -> None:
    def held_bytes() -> float:
        return value(scrape(server.url), "serving_held_bytes")

    with connect(server, receive_buffer=4096) as raw:
        raw.settimeout(0.5)
        with pytest.raises(TimeoutError):
            raw.sendall(GET * 500_000)
        assert 0 < held_bytes() <= 512 * 1024
    end = time.monotonic() + 20
    while held_bytes():
        assert time.monotonic() < end, "the bytes of a client that has gone are still counted"


def test_a_connection_ends_if_its_unparsed_bytes_exceed_the_common_limit(archive: Archive) -> None:
    options = ("--max-body", "1", "--max-held", "1")
    with serving(archive, options=options) as server, connect(server) as upload, connect(server) as raw:
        incomplete = post(b" " * (1 << 20))[:-1]
        upload.sendall(incomplete)
        while value(scrape(server.url), "serving_held_bytes") < (1 << 20) - 1:
            time.sleep(0.01)
        raw.sendall(GET * 2000)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := raw.recv(1 << 16):
                received += part
        assert 0 < received.count(b"HTTP/1.1 200") < 100
        upload.close()
        while value(scrape(server.url), "serving_held_bytes"):
            time.sleep(0.01)
        assert requests.post(f"{server.url}/predict/toy", json={"x": [1]}, timeout=30).json()["y"] == [2.0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fast_path", [True, False])
def test_pipelined_requests_of_all_forms_are_answered_in_order(
    server: Server, asgi_server: Server, seed: int, fast_path: bool
) -> None:
    """Small and large bodies, chunked bodies and long heads, in parts that end anywhere."""
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
    with connect(server if fast_path else asgi_server) as raw:
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
    assert answers == expected


def test_a_client_that_does_not_read_is_disconnected(impatient_server: Server) -> None:
    with connect(impatient_server, receive_buffer=4096) as raw, pytest.raises(ConnectionError):
        raw.sendall(post(b'{"x":[1]}') * 1_000_000)


def test_a_client_that_does_not_read_its_last_response_is_disconnected(impatient_server: Server) -> None:
    with connect(impatient_server, receive_buffer=4096) as raw:
        raw.sendall(LARGE)
        received = b""
        time.sleep(6 * SECONDS)
        with contextlib.suppress(ConnectionError):
            while part := raw.recv(1 << 16):
                received += part
    assert len(received) < 6_900_000


def test_a_client_that_reads_slowly_gets_its_whole_response(impatient_server: Server) -> None:
    with connect(impatient_server, receive_buffer=64 * 1024) as raw:
        raw.sendall(LARGE)
        received = 0
        while part := raw.recv(1 << 16):
            received += len(part)
            time.sleep(0.03)
    assert received > 7_000_000
