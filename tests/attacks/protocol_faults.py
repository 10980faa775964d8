"""Headers that clients write in unusual ways, and invalid Host headers (RFC 9112, section 3.2)."""

from __future__ import annotations

import json
import struct
from typing import Any

from .exchange import BODY, LENGTH, Exchange, head

CLOSE = "Connection: close"


def post(*lines: str, version: str = "1.1") -> bytes:
    """Return a request to the toy model with these header lines."""
    return head(*lines, LENGTH, version=version) + BODY


INVALID_HOSTS: tuple[tuple[str, ...], ...] = (
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
)
VALID_HOSTS = ("x", "x:80", "127.0.0.1:8080", "[::1]:80", "[fe80::1%25eth0]", "a-b_c.d.", "", "X:")
IDENTITY = ("identity", "Identity", "IDENTITY ", " identity\t", "identity, Identity", "")
COMPRESSED = ("gzip", "GZIP", "identity, gzip", "br")


def _raw_tensor() -> Exchange:
    """Return a raw tensor whose header values are followed by spaces."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}
    text = json.dumps({"inputs": [tensor]}).encode()
    body = text + struct.pack("<f", 3)
    lines = (
        "Host: x",
        CLOSE,
        "Expect: 100-continue ",
        f"Inference-Header-Content-Length: {len(text)} \t",
        f"Content-Length: {len(body)}",
    )
    return Exchange((head(*lines, path="/v2/models/toy/infer") + body,), (100, 200), text=b'"data":[6')


def _codings() -> dict[str, Exchange]:
    exchanges = {}
    for names, status, values in ((IDENTITY, 200, (2.0,)), (COMPRESSED, 415, ())):
        for name in names:
            request = post("Host: x", CLOSE, f"Content-Encoding: {name}")
            exchanges[f"Content-Encoding: {name!r}"] = Exchange((request,), (status,), values)
    return exchanges


HOSTS = {
    **{
        f"{', '.join(lines) or 'no Host'}": Exchange(
            (post(*lines) + post("Host: x", CLOSE),), (400,), text=b"connection: close"
        )
        for lines in INVALID_HOSTS
    },
    **{
        f"GET with {', '.join(lines) or 'no Host'}": Exchange(
            (head(*lines, method="GET", path="/v2"),), (400,), text=b"Host"
        )
        for lines in INVALID_HOSTS
    },
    **{f"Host: {host!r}": Exchange((post(f"Host: {host}", CLOSE),), (200,), (2,)) for host in VALID_HOSTS},
    "HTTP/1.0 without Host": Exchange((post(version="1.0"),), (200,), (2,)),
    "HTTP/1.0 with two Hosts": Exchange((post("Host: x", "Host: x", version="1.0"),), (400,)),
    "pipelined without Host": Exchange((post("Host: x") + post(),), (200, 400), (2,)),
}

HEADER_VALUES = {
    **_codings(),
    "two Content-Encodings": Exchange(
        (post("Host: x", CLOSE, "Content-Encoding: identity", "Content-Encoding: gzip"),), (415,)
    ),
    "trailing spaces": Exchange(
        (
            post(
                "Host: x  ", f"{CLOSE} ", "Content-Type: application/json \t", "X-Request-Id: abc  "
            ).replace(LENGTH.encode(), LENGTH.encode() + b" \t"),
        ),
        (200,),
        (2,),
        b"x-request-id: abc\r\n",
    ),
    "trailing spaces of a raw tensor": _raw_tensor(),
}


UNREGISTERED_TYPES = (
    ("image/jpg", "JPEG"),
    ("IMAGE/JPG ", "JPEG"),
    ("image/pjpeg", "JPEG"),
    ("image/x-png", "PNG"),
    ("image/x-ms-bmp", "BMP"),
)
"""Content types that no registry contains, with the formats that clients mean."""


def _with_null(null: str) -> dict[str, Any]:
    """Return a V2 request for the toy model in which `null` is null."""

    def optional(name: str, key: str = "parameters") -> dict[str, Any]:
        return {key: None} if null in (name, "all") else {}

    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
    return {
        "inputs": [{**tensor, **optional("tensor")}],
        "outputs": [{"name": "y", **optional("output")}],
        **optional("request"),
        **optional("id", "id"),
    }


NULLS = {name: _with_null(name) for name in ("request", "tensor", "output", "id", "all")}
"""V2 requests with optional values that are null, which means that they are absent."""
