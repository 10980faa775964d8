"""The fast path gives the same responses as the ASGI application, and its requirements on uvicorn hold."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import uvicorn
from foreground import Server, serving
from toy_models import make_archive
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.serving.api.endpoint import Response
from continuous_training.serving.http.fast_path import response_head
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process.application import ServerApplication
from continuous_training.serving.process.settings import ServerSettings

BODY = b'{"x": [1]}'
TENSORS = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": DATA}]}'
INFER = "/v2/models/toy/infer"
CLOSE = "connection: close"

UVICORN_VERSION = "0.54.0"
"""The version that the digests below were taken from."""
UVICORN_METHODS = {
    "connection_made": "b4322d5141d7",
    "connection_lost": "d6565d9c5462",
    "data_received": "b4f9892d120d",
    "on_message_begin": "afa5b0b05b0e",
    "on_header": "ad40beaab858",
    "on_headers_complete": "09d867a0c132",
    "_start_asgi_task": "dcc5a31fb6b7",
    "on_body": "9492092df825",
    "on_message_complete": "656de52940d2",
    "on_response_complete": "f6ae4a31a9a6",
    "shutdown": "4c59c260b3d5",
}
"""Methods of HttpToolsProtocol that the fast path replaces, extends or calls, and digests of their source."""


def digest_of_source(method: str) -> str:
    source = inspect.getsource(getattr(HttpToolsProtocol, method))
    return hashlib.sha256(" ".join(source.split()).encode()).hexdigest()[:12]


def changed_methods() -> list[str]:
    return [
        method
        for method, digest in UVICORN_METHODS.items()
        if not hasattr(HttpToolsProtocol, method) or digest_of_source(method) != digest
    ]


def test_uvicorn_contract() -> None:
    changed = changed_methods()
    assert not changed, (
        f"uvicorn {uvicorn.__version__} changed these methods of HttpToolsProtocol since {UVICORN_VERSION}: "
        f"{', '.join(changed)}. Compare both versions, adapt fast_path.py and uvicorn_protocol.py in "
        "continuous_training/serving/http, then update UVICORN_METHODS."
    )


def test_uvicorn_contract_names_a_changed_and_a_removed_method(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_body(self: HttpToolsProtocol, body: bytes) -> None:
        """A different implementation."""

    monkeypatch.setattr(HttpToolsProtocol, "on_body", on_body)
    monkeypatch.delattr(HttpToolsProtocol, "on_response_complete")
    assert changed_methods() == ["on_body", "on_response_complete"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def server(archive: Archive) -> Iterator[Server]:
    with serving(archive, options=("--max-body", "1")) as server:
        yield server


@pytest.fixture(scope="module")
def asgi_server(archive: Archive) -> Iterator[Server]:
    """A server without the fast path."""
    with serving(archive, options=("--max-body", "1", "--no-fast-path")) as server:
        yield server


def message(body: bytes, *lines: str, path: str = "/predict/toy", version: str = "1.1") -> bytes:
    head_ = [f"POST {path} HTTP/{version}", "host: x", f"content-length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head_).encode() + body


def send(server: Server, request: bytes, pause_at: int | None = None) -> tuple[int, dict[str, str], bytes]:
    """Send a request, with a pause after `pause_at` bytes if given, and return status, headers and body."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        if pause_at is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.sendall(request[:pause_at])
            # The server has read the first part when it has answered a later request.
            requests.get(f"{server.url}/v2/health/live", timeout=10)
            request = request[pause_at:]
        raw.sendall(request)
        data = raw.makefile("rb").read()
    start, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = start.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), rest


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (message(BODY, CLOSE), 200),
        (message(BODY, CLOSE, "x-request-id: mine"), 200),
        (message(BODY, version="1.0"), 200),
        (message(b"{", CLOSE), 400),
        (message(BODY, CLOSE, "content-encoding: gzip"), 415),
        (message(BODY, CLOSE, path="/predict"), 200),
        (message(BODY, CLOSE, path="/predict/unknown"), 404),
        (message(BODY, CLOSE, path="/predict/toy?illustrate=true"), 200),
        (message(BODY, CLOSE, path="/predict/%74oy"), 200),
        (message(b'{"x": [-1]}', CLOSE), 500),
        (message(TENSORS.replace(b"DATA", b"[1]"), CLOSE, path=INFER), 200),
        (message(TENSORS.replace(b"DATA", b"[]"), CLOSE, path=INFER), 400),
        (message(BODY, CLOSE, "inference-header-content-length: x", path=INFER), 400),
        (message(BODY, CLOSE, path="/v2/models/toy/versions/none/infer"), 404),
        (message(b" " * (1 << 20) + BODY, CLOSE), 413),
    ],
)
def test_response_is_the_same_as_without_the_fast_path(
    server: Server, asgi_server: Server, request_: bytes, status: int
) -> None:
    """Status, headers and body are equal, except for the parts that are different for each request."""
    fast = send(server, request_)
    slow_responses = (
        send(server, request_, pause_at=request_.index(b"\r\n\r\n") + 4),
        send(asgi_server, request_),
    )
    for _, headers, _ in (fast, *slow_responses):
        assert headers.pop("date")
        assert headers.pop("x-request-id") == "mine" or b": mine" not in request_
        headers.pop("content-length")
    ids = re.compile(rb"[0-9a-f]{12}-[0-9a-f]+")
    for slow in slow_responses:
        assert (fast[0], fast[1], ids.sub(b"", fast[2])) == (slow[0], slow[1], ids.sub(b"", slow[2]))
    assert fast[0] == status


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    pipelined = b"".join(
        message(json.dumps({"x": [number]}).encode(), *([CLOSE] if number == 9 else []))
        for number in range(1, 10)
    )
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.sendall(pipelined)
        values = re.findall(rb'"y":\[([0-9.]+)\]', raw.makefile("rb").read())
    assert values == [b"%.1f" % (2 * number) for number in range(1, 10)]


def test_server_stops_reading_from_a_client_that_does_not_read_responses(server: Server) -> None:
    """When the buffers of the operating system are full, the server reads no more requests of that client."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(2)
        with pytest.raises(TimeoutError):
            raw.sendall(message(BODY) * 1_000_000)
    assert requests.post(f"{server.url}/predict/toy", data=BODY, timeout=30).json()["y"] == [2.0]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (b"/predict", True),
        (b"/predict/toy", True),
        (b"/v2/models/toy/infer", True),
        (b"/v2/models/toy/versions/1/infer", True),
        (b"/", False),
        (b"/metrics", False),
        (b"/nothing", False),
        (b"/predict/toy?x=1", False),
        (b"/predict/%74oy", False),
        (b"//x/predict/toy", False),
        (b"*", False),
    ],
)
def test_urls_of_the_fast_path(tmp_path: Path, url: bytes, expected: bool) -> None:
    fast_path = ServerApplication(ModelRepository(tmp_path / "server")).fast_path
    assert fast_path is not None
    assert (fast_path.find(url) is not None) is expected


@pytest.mark.parametrize("settings", [ServerSettings(fast_path=False), ServerSettings(access_log=True)])
def test_fast_path_is_off(tmp_path: Path, settings: ServerSettings) -> None:
    assert ServerApplication(ModelRepository(tmp_path / "server"), settings).fast_path is None


def test_response_head_has_one_content_type_and_one_connection_header() -> None:
    head = response_head(b"HTTP/1.1 200 OK\r\n", b"date: now\r\n", Response(b"ab"), "id", closes=True)
    assert head == (
        b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\nx-request-id: id\r\n"
        b"content-type: application/json\r\nconnection: close\r\n\r\n"
    )
    binary = Response(b"", headers={"content-type": "x/y", "connection": "close"})
    assert response_head(b"", b"", binary, "id", closes=True).count(b"connection: close") == 1
    assert b"json" not in response_head(b"", b"", binary, "id", closes=False)
