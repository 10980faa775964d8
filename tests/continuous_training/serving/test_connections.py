"""Callers that are slow, that say half of it, that never end, that are too many, or that send too much."""

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

NEAR = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": DATA}]}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ("--timeout", "0.5", "--max-connections", "50")
    with serving(make_archive(tmp_path_factory.mktemp("sockets")), options=options) as server:
        yield server


REQUEST = b'POST /predict/toy HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{"x":[1]'
WHOLE = REQUEST.replace(b"Length: 8", b"Length: 9") + b"}"


def talk(server: Server, *parts: bytes, half_close: bool = False) -> bytes:
    """Send the parts and read to the end; an end that never comes is a failure."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        for part in parts:
            raw.sendall(part)
        if half_close:
            raw.shutdown(socket.SHUT_WR)
        try:
            return raw.makefile("rb").read()
        except ConnectionResetError:
            return b""


def alive(server: Server) -> None:
    answer = requests.post(f"{server.url}/predict/toy", json={"x": [1]}, timeout=10)
    assert answer.json()["y"] == [2.0]


def test_a_caller_that_says_no_more_still_hears_the_answer(server: Server) -> None:
    answer = talk(server, WHOLE, half_close=True)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"y":[2.0]' in answer


@pytest.mark.parametrize(
    ("parts", "half_close"),
    [
        ([], False),
        ([b"POST /pre"], False),
        ([b"POST /predict/toy HTTP/1.1\r\nHost: x\r\nX-Slow: "], False),
        ([REQUEST[:40]], True),
        ([WHOLE[:-1]], True),
        ([WHOLE[:-1]], False),
        ([WHOLE, WHOLE[:30]], False),
    ],
)
def test_a_caller_that_never_ends_is_let_go_of(server: Server, parts: list[bytes], half_close: bool) -> None:
    answer = talk(server, *parts, half_close=half_close)
    assert not answer or answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 200"))
    alive(server)


def test_a_head_that_comes_byte_by_byte_is_cut_off_however_steadily_it_comes(server: Server) -> None:
    """Each byte is in time; the head as a whole is not."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.sendall(b"POST /predict/toy HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        sent = 0
        while not select.select([raw], [], [], 0.01)[0]:
            with contextlib.suppress(ConnectionError):
                sent += raw.send(b"a")
            assert sent < 5000, "50 s of bytes were listened to, and 0.5 s are allowed"
        assert sent > 5
        with contextlib.suppress(ConnectionResetError):
            assert raw.recv(100) == b""
    alive(server)


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
def test_what_is_no_http_is_refused_in_json(server: Server, sent: bytes, status: bytes) -> None:
    answer = talk(server, sent)
    if answer:  # the system may tell the sender of too much of the closed connection first
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status), answer
        assert json.loads(body)["error"]
    else:
        assert status == b"431"
    alive(server)


def test_connections_are_bounded_and_those_that_say_nothing_are_let_go_of(server: Server) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(60)]
    try:
        refused = requests.get(f"{server.url}/v2/health/live", timeout=10)
        assert refused.status_code == 503
        assert "too many callers" in refused.json()["error"]
        silent = 0
        for raw in idle:
            raw.settimeout(10)
            said = raw.makefile("rb").read()
            assert not said or said.startswith(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n")
            silent += not said
        assert silent == 50
    finally:
        for raw in idle:
            raw.close()
    alive(server)


def test_a_body_in_the_smallest_of_chunks_is_read_and_a_trailer_without_end_is_not(server: Server) -> None:
    head = b"POST /predict/toy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    text = b'{"x":[' + b"1," * 20_000 + b"1]}"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text)
    answer = talk(server, head + chunks + b"0\r\n\r\n", half_close=True)
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    with contextlib.suppress(ConnectionError):
        assert not talk(server, head + b"1\r\n{\r\n0\r\n" + b"X: y\r\n" * 40_000).startswith(b"HTTP/1.1 200")
    alive(server)


def test_memory_stays_bounded_whatever_is_sent(tmp_path: Path) -> None:
    """The most that the process ever held, after bodies that are as large as can be once they are read."""
    mib = 1024**2
    bodies_ = [
        b'{"x": [' + b"0," * (4 * mib - 8) + b"0]}",
        b'{"x": [' + b"[]," * (2 * mib) + b"0]}",
        b'{"x": [' + b"{}," * (2 * mib) + b"0]}",
        b'{"x": "' + b"\\u0000" * mib + b'"}',
        b"{" + b",".join(b'"%x":1' % n for n in range(mib // 2)) + b"}",
        NEAR.replace(b"DATA", b"[" + b"1," * (3 * mib) + b"1]"),
        NEAR.replace(b'"x"', b"[" + b"1," * (3 * mib) + b"1]"),
    ]
    with serving(make_archive(tmp_path)) as server:

        def most() -> int:
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) // 1024

        before = most()
        for body in bodies_:
            for path in ("predict/toy", "v2/models/toy/infer"):
                response = requests.post(f"{server.url}/{path}", data=body, timeout=60)
                assert response.status_code in (200, 400), response.text[:300]
        assert most() - before < 900, f"{before} MiB before, {most()} MiB at most"
        alive(server)


@pytest.mark.parametrize("path", ["/predict/toy", "/v2/models/toy/infer"])
def test_a_server_that_leaves_keeps_no_connection(tmp_path: Path, path: str) -> None:
    body = {"/predict/toy": b'{"x":[1]}'}.get(path, NEAR.replace(b"DATA", b"[1]"))
    with serving(make_archive(tmp_path), options=("--linger", "3")) as server:
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            for connection, ends in ((None, False), ("close", True)):
                kept.request("POST", path, body)
                answer = kept.getresponse()
                assert answer.status == 200, answer.read()
                assert answer.headers.get("connection") == connection
                assert answer.read()
                if not ends:
                    server.process.terminate()
                    told_to_stop(server)
        finally:
            kept.close()


def told_to_stop(server: Server) -> None:
    """Wait until the server is not ready any more."""
    while requests.get(f"{server.url}/v2/health/ready", timeout=10).status_code == 200:
        pass
