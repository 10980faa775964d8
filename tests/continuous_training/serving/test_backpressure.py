"""Clients that pipeline many requests, and clients that do not read their responses."""

from __future__ import annotations

import contextlib
import json
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
from tests.attacks import floods
from tests.attacks.floods import FLOODS, GET, exchange_mixed_requests, flood, post

SECONDS = 0.5
"""The time for a client to read its responses."""

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
    return floods.connect(server.port, receive_buffer)


def resident_mib(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


@pytest.mark.parametrize("name", FLOODS)
def test_memory_and_latency_with_clients_that_only_write(server: Server, name: str) -> None:
    """Each connection sends up to 8 MB of requests and reads nothing."""

    def probe() -> None:
        assert requests.get(f"{server.url}/v2/health/live", timeout=10).ok

    before = resident_mib(server)
    with flood(server.port, FLOODS[name], probe) as sent:
        assert sent > 1_000_000
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
    port = server.port if fast_path else asgi_server.port
    assert exchange_mixed_requests(port, seed) == ""


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
