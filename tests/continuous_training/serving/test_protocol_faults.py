"""Headers that clients write in unusual ways, and invalid Host headers (RFC 9112, section 3.2)."""

from __future__ import annotations

import io
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from foreground import Server, serving
from PIL import Image
from toy_models import make_archive

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.serving.process.client import ServerClient

BODY = b'{"x":[1]}'
LENGTH = f"Content-Length: {len(BODY)}"


@pytest.fixture(scope="module", params=[(), ("--no-fast-path",)], ids=["fast path", "no fast path"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(make_archive(tmp_path_factory.mktemp("toy")), options=request.param) as server:
        yield server


def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and return everything that is received until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.sendall(data)
        return raw.makefile("rb").read()


def post(*lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"POST /predict/toy HTTP/{version}", *lines, LENGTH, "", ""]).encode("latin-1") + BODY


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", received)]


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Host: x", "Host: x"),
        ("Host: x", "host: y"),
        ("Host: x y",),
        ("Host: x/y",),
        ("Host: x, y",),
        ("Host: user@x",),
        ("Host: x:port",),
        ("Host: [::1",),
        ("Host: caf\xe9",),
    ],
)
def test_a_request_without_exactly_one_valid_host_is_rejected(server: Server, lines: tuple[str, ...]) -> None:
    """The response is the only one, and the connection is closed."""
    received = exchange(server.port, post(*lines) + post("Host: x", "Connection: close"))
    assert statuses(received) == [400]
    assert b"Host" in received
    assert b"connection: close" in received
    get = exchange(server.port, "\r\n".join(["GET /v2 HTTP/1.1", *lines, "", ""]).encode("latin-1"))
    assert statuses(get) == [400]


@pytest.mark.parametrize(
    "host", ["x", "x:80", "127.0.0.1:8080", "[::1]:80", "[fe80::1%25eth0]", "a-b_c.d.", "", "X:"]
)
def test_a_valid_host_is_accepted(server: Server, host: str) -> None:
    assert statuses(exchange(server.port, post(f"Host: {host}", "Connection: close"))) == [200]


def test_http_1_0_needs_no_host(server: Server) -> None:
    assert statuses(exchange(server.port, post(version="1.0"))) == [200]
    assert statuses(exchange(server.port, post("Host: x", "Host: x", version="1.0"))) == [400]


def test_an_invalid_host_of_a_pipelined_request_is_answered_in_order(server: Server) -> None:
    received = exchange(server.port, post("Host: x") + post())
    assert statuses(received) == [200, 400]


def test_the_management_port_checks_the_host(endpoint: ServerClient) -> None:
    head = b"POST /v2/repository/index HTTP/1.1\r\nContent-Length: 0\r\n"
    token = f"Authorization: Bearer {endpoint.running.token}\r\n".encode()
    port = endpoint.running.management_port
    assert statuses(exchange(port, head + token + b"\r\n")) == [400]
    assert statuses(exchange(port, head + token + b"Host: x\r\nConnection: close\r\n\r\n")) == [200]


IDENTITY = ("identity", "Identity", "IDENTITY ", " identity\t", "identity, Identity", "")
COMPRESSED = ("gzip", "GZIP", "identity, gzip", "br")


@pytest.mark.parametrize(
    ("coding", "status"), [*((name, 200) for name in IDENTITY), *((name, 415) for name in COMPRESSED)]
)
def test_identity_is_accepted_in_any_case(server: Server, coding: str, status: int) -> None:
    received = exchange(server.port, post("Host: x", "Connection: close", f"Content-Encoding: {coding}"))
    assert statuses(received) == [status]


def test_a_second_content_encoding_is_not_ignored(server: Server) -> None:
    lines = ("Host: x", "Connection: close", "Content-Encoding: identity", "Content-Encoding: gzip")
    assert statuses(exchange(server.port, post(*lines))) == [415]


def test_spaces_after_header_values_are_ignored(server: Server) -> None:
    lines = ("Host: x  ", "Connection: close ", "Content-Type: application/json \t", "X-Request-Id: abc  ")
    request = post(*lines).replace(LENGTH.encode(), LENGTH.encode() + b" \t")
    received = exchange(server.port, request)
    assert statuses(received) == [200]
    assert b"x-request-id: abc\r\n" in received


def test_spaces_after_expect_and_inference_header_content_length_are_ignored(server: Server) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}
    head = json.dumps({"inputs": [tensor]}).encode()
    body = head + np.array([3], "<f4").tobytes()
    lines = [
        "POST /v2/models/toy/infer HTTP/1.1",
        "Host: x",
        "Connection: close",
        "Expect: 100-continue ",
        f"Inference-Header-Content-Length: {len(head)} \t",
        f"Content-Length: {len(body)}",
    ]
    received = exchange(server.port, "\r\n".join([*lines, "", ""]).encode() + body)
    assert statuses(received) == [100, 200] or statuses(received) == [200]
    assert b'"data":[6' in received


@pytest.mark.parametrize("null", ["request", "tensor", "output", "id", "all"])
def test_null_in_a_v2_request_means_absent(server: Server, null: str) -> None:
    def optional(name: str, key: str = "parameters") -> dict[str, Any]:
        return {key: None} if null in (name, "all") else {}

    content = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1], **optional("tensor")}],
        "outputs": [{"name": "y", **optional("output")}],
        **optional("request"),
        **optional("id", "id"),
    }
    response = requests.post(f"{server.url}/v2/models/toy/infer", json=content, timeout=10)
    assert response.status_code == 200, response.text
    assert response.json()["outputs"][0]["data"] == [2]
    assert "id" not in response.json()


def test_null_parameters_of_a_load_mean_absent(endpoint: ServerClient, tmp_path: Path) -> None:
    toy = make_archive(tmp_path)
    endpoint.load("toy", toy.path, toy.digest)
    running = endpoint.running
    response = requests.post(
        f"http://127.0.0.1:{running.management_port}/v2/repository/models/toy/load",
        json={"parameters": None},
        headers={"Authorization": f"Bearer {running.token}"},
        timeout=20,
    )
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("media_type", "file_format"),
    [
        ("image/jpg", "JPEG"),
        ("IMAGE/JPG ", "JPEG"),
        ("image/pjpeg", "JPEG"),
        ("image/x-png", "PNG"),
        ("image/x-ms-bmp", "BMP"),
    ],
)
def test_unregistered_names_of_image_types_are_accepted(
    gallery: str, archives: dict[str, Archive], media_type: str, file_format: str
) -> None:
    pixels = np.full((40, 40), 255, np.uint8)
    pixels[5:35, 18:22] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    headers = {"Content-Type": media_type.strip()}
    response = requests.post(f"{gallery}/predict/digits", data=buffer.getvalue(), headers=headers, timeout=30)
    assert response.status_code == 200, response.text
    assert response.json()["predictions"][0]["label"] == 1
