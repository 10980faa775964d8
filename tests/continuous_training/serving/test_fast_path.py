"""A request that arrived whole is answered as every other one is, and takes no task of its own."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from foreground import Server, serving
from toy_models import make_archive

from continuous_training.serving.api.endpoint import Response
from continuous_training.serving.http import fast_path
from continuous_training.serving.http.fast_path import head

BODY = b'{"x": [1]}'
TENSORS = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": DATA}]}'
INFER = "/v2/models/toy/infer"
LAST = "connection: close"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(make_archive(tmp_path_factory.mktemp("express")), options=("--max-body", "1")) as server:
        yield server


def message(body: bytes, *lines: str, path: str = "/predict/toy", version: str = "1.1") -> bytes:
    head_ = [f"POST {path} HTTP/{version}", "host: x", f"content-length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head_).encode() + body


def asked(server: Server, sent: bytes, cut: int | None = None) -> tuple[int, dict[str, str], bytes]:
    """Send a request at once, or with a pause in it, and read to the end of the connection."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        if cut is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.sendall(sent[:cut])
            # The server has read the first part when it has answered somebody who came later.
            requests.get(f"{server.url}/v2/health/live", timeout=10)
            sent = sent[cut:]
        raw.sendall(sent)
        answer = raw.makefile("rb").read()
    start, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = start.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), rest


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (message(BODY, LAST), 200),
        (message(BODY, LAST, "x-request-id: mine"), 200),
        (message(BODY, version="1.0"), 200),
        (message(b"{", LAST), 400),
        (message(BODY, LAST, "content-encoding: gzip"), 415),
        (message(BODY, LAST, path="/predict"), 200),
        (message(BODY, LAST, path="/predict/nobody"), 404),
        (message(BODY, LAST, path="/predict/toy?illustrate=true"), 200),
        (message(BODY, LAST, path="/predict/%74oy"), 200),
        (message(b'{"x": [-1]}', LAST), 500),
        (message(TENSORS.replace(b"DATA", b"[1]"), LAST, path=INFER), 200),
        (message(TENSORS.replace(b"DATA", b"[]"), LAST, path=INFER), 400),
        (message(BODY, LAST, "inference-header-content-length: x", path=INFER), 400),
        (message(BODY, LAST, path="/v2/models/toy/versions/none/infer"), 404),
        (message(b" " * (1 << 20) + BODY, LAST), 413),
    ],
)
def test_what_arrives_whole_gets_what_it_would_in_parts(server: Server, sent: bytes, status: int) -> None:
    """Status, headers and body are the same, but for what tells one request from another."""
    whole, parts = asked(server, sent), asked(server, sent, cut=sent.index(b"\r\n\r\n") + 4)
    for _, headers, _ in (whole, parts):
        assert headers.pop("date")
        assert headers.pop("x-request-id") == "mine" or b": mine" not in sent
        headers.pop("content-length")
    ids = re.compile(rb"[0-9a-f]{12}-[0-9a-f]+")
    assert (whole[0], whole[1], ids.sub(b"", whole[2])) == (parts[0], parts[1], ids.sub(b"", parts[2]))
    assert whole[0] == status


def test_requests_that_follow_each_other_at_once_are_answered_in_order(server: Server) -> None:
    sent = b"".join(
        message(json.dumps({"x": [number]}).encode(), *([LAST] if number == 9 else []))
        for number in range(1, 10)
    )
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.sendall(sent)
        answers = re.findall(rb'"y":\[([0-9.]+)\]', raw.makefile("rb").read())
    assert answers == [b"%.1f" % (2 * number) for number in range(1, 10)]


def test_who_asks_and_does_not_read_is_not_listened_to_any_more(server: Server) -> None:
    """Once the system's buffers are full the server takes no more requests from that caller."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(2)
        with pytest.raises(TimeoutError):
            raw.sendall(message(BODY) * 1_000_000)
    assert requests.post(f"{server.url}/predict/toy", data=BODY, timeout=30).json()["y"] == [2.0]


def test_whole_requests_take_the_short_way(tmp_path: Path) -> None:
    """Which routes have it, and which addresses."""
    from continuous_training.serving.http.app import App
    from continuous_training.serving.models.model_repository import ModelRepository

    find = App(ModelRepository(tmp_path / "server")).express.find
    for url in (b"/predict", b"/predict/toy", b"/v2/models/toy/infer", b"/v2/models/toy/versions/1/infer"):
        assert find(url) is not None, url
    others = (
        b"/",
        b"/metrics",
        b"/nothing",
        b"/predict/toy?x=1",
        b"/predict/%74oy",
        b"//x/predict/toy",
        b"*",
    )
    for url in others:
        assert find(url) is None, url


def test_a_head_names_its_own_content_type_and_says_when_it_closes() -> None:
    written = head(b"HTTP/1.1 200 OK\r\n", b"date: now\r\n", Response(b"ab"), "id", closes=True)
    assert written == (
        b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\nx-request-id: id\r\n"
        b"content-type: application/json\r\nconnection: close\r\n\r\n"
    )
    binary = Response(b"", headers={"content-type": "x/y", "connection": "close"})
    assert head(b"", b"", binary, "id", closes=True).count(b"connection: close") == 1
    assert b"json" not in fast_path.head(b"", b"", binary, "id", closes=False)
