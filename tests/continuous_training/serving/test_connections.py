"""Limits of connections: slow, incomplete, invalid and oversized requests, and too many connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from foreground import Server, serving
from toy_models import make_archive

TENSORS = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": DATA}]}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ("--timeout", "0.5", "--max-connections", "50")
    with serving(make_archive(tmp_path_factory.mktemp("sockets")), options=options) as server:
        yield server


INCOMPLETE = b'POST /predict/toy HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{"x":[1]'
COMPLETE = INCOMPLETE.replace(b"Length: 8", b"Length: 9") + b"}"


def exchange(server: Server, *parts: bytes, half_close: bool = False) -> bytes:
    """Send the parts and return everything that is received until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        for part in parts:
            raw.sendall(part)
        if half_close:
            raw.shutdown(socket.SHUT_WR)
        try:
            return raw.makefile("rb").read()
        except ConnectionResetError:
            return b""


def check_still_serving(server: Server) -> None:
    response = requests.post(f"{server.url}/predict/toy", json={"x": [1]}, timeout=10)
    assert response.json()["y"] == [2.0]


def test_client_that_closes_its_sending_side_gets_the_response(server: Server) -> None:
    response = exchange(server, COMPLETE, half_close=True)
    assert response.startswith(b"HTTP/1.1 200")
    assert b'"y":[2.0]' in response


@pytest.mark.parametrize(
    ("parts", "half_close"),
    [
        ([], False),
        ([b"POST /pre"], False),
        ([b"POST /predict/toy HTTP/1.1\r\nHost: x\r\nX-Slow: "], False),
        ([INCOMPLETE[:40]], True),
        ([COMPLETE[:-1]], True),
        ([COMPLETE[:-1]], False),
        ([COMPLETE, COMPLETE[:30]], False),
    ],
)
def test_incomplete_requests_are_closed(server: Server, parts: list[bytes], half_close: bool) -> None:
    response = exchange(server, *parts, half_close=half_close)
    assert not response or response.startswith((b"HTTP/1.1 408", b"HTTP/1.1 200"))
    check_still_serving(server)


def test_timeout_of_the_head_is_for_the_head_as_a_whole(server: Server) -> None:
    """Send one byte every 10 ms, and never the end of the head."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.sendall(b"POST /predict/toy HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        sent = 0
        while not select.select([raw], [], [], 0.01)[0]:
            with contextlib.suppress(ConnectionError):
                sent += raw.send(b"a")
            assert sent < 5000, "the server accepts a head for 50 s; the limit is 0.5 s"
        assert sent > 5
        with contextlib.suppress(ConnectionResetError):
            assert raw.recv(100) == b""
    check_still_serving(server)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST /predict/toy HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", b"400"),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, b"431"),
        (b"GET /" + b"a" * 70_000, b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, b"431"),
    ],
)
def test_invalid_http_is_rejected_with_json(server: Server, sent: bytes, status: bytes) -> None:
    response = exchange(server, sent)
    if response:  # The connection may be reset before the client has read the response.
        head, _, body = response.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status), response
        assert json.loads(body)["error"]
    else:
        assert status == b"431"
    check_still_serving(server)


def test_number_of_connections_is_limited_and_idle_connections_are_closed(server: Server) -> None:
    connections = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(60)]
    try:
        response = requests.get(f"{server.url}/v2/health/live", timeout=10)
        assert response.status_code == 503
        assert "too many connections" in response.json()["error"]
        closed = 0
        for raw in connections:
            raw.settimeout(10)
            received = raw.makefile("rb").read()
            assert not received or received.startswith(
                b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n"
            )
            closed += not received
        assert closed == 50
    finally:
        for raw in connections:
            raw.close()
    check_still_serving(server)


def test_body_in_chunks_of_one_byte_is_accepted_and_an_oversized_trailer_is_not(server: Server) -> None:
    head = b"POST /predict/toy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    text = b'{"x":[1],"padding":"' + b"a" * 40_000 + b'"}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text)
    response = exchange(server, head + chunks + b"0\r\n\r\n", half_close=True)
    assert response.startswith(b"HTTP/1.1 200"), response[:200]
    with contextlib.suppress(ConnectionError):
        assert not exchange(server, head + b"1\r\n{\r\n0\r\n" + b"X: y\r\n" * 40_000).startswith(
            b"HTTP/1.1 200"
        )
    check_still_serving(server)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Measure the peak memory for bodies that need much more memory once they are parsed."""
    mib = 1024**2
    bodies = [
        b'{"x": [' + b"0," * (4 * mib - 8) + b"0]}",
        b'{"x": [' + b"[]," * (2 * mib) + b"0]}",
        b'{"x": [' + b"{}," * (2 * mib) + b"0]}",
        b'{"x": "' + b"\\u0000" * mib + b'"}',
        b"{" + b",".join(b'"%x":1' % n for n in range(mib // 2)) + b"}",
        TENSORS.replace(b"DATA", b"[" + b"1," * (3 * mib) + b"1]"),
        TENSORS.replace(b'"x"', b"[" + b"1," * (3 * mib) + b"1]"),
    ]
    with serving(make_archive(tmp_path)) as server:

        def peak_mib() -> int:
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) // 1024

        before = peak_mib()
        for body in bodies:
            for path in ("predict/toy", "v2/models/toy/infer"):
                response = requests.post(f"{server.url}/{path}", data=body, timeout=60)
                assert response.status_code in (200, 400), response.text[:300]
        assert peak_mib() - before < 450, f"{before} MiB before, {peak_mib()} MiB at the peak"
        check_still_serving(server)


@pytest.mark.parametrize("path", ["/predict/toy", "/v2/models/toy/infer"])
def test_stopping_server_closes_connections_after_their_response(tmp_path: Path, path: str) -> None:
    body = {"/predict/toy": b'{"x":[1]}'}.get(path, TENSORS.replace(b"DATA", b"[1]"))
    with serving(make_archive(tmp_path), options=("--linger", "3")) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            for header, stopping in ((None, False), ("close", True)):
                connection.request("POST", path, body)
                response = connection.getresponse()
                assert response.status == 200, response.read()
                assert response.headers.get("connection") == header
                assert response.read()
                if not stopping:
                    server.process.terminate()
                    wait_until_not_ready(server)
        finally:
            connection.close()


def wait_until_not_ready(server: Server) -> None:
    """Wait until the server reports that it is not ready."""
    while requests.get(f"{server.url}/v2/health/ready", timeout=10).status_code == 200:
        pass
