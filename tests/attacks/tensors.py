"""Images for the workload digits with a pixel outside the range, in all protocols and as raw tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

INVALID_PIXELS = (1000, -5, 17, 16.001, -0.001, 2**64, 1e38)
VALID_PIXELS = (0, 16, 0.5, 16.0)
LEVELS = (1.0, 7.0, 16.0, 0.5)
"""Levels of a pixel whose raw number in big-endian order must be rejected."""

_PAPER = np.zeros((8, 8))


@dataclass(frozen=True)
class Post:
    """A POST request."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def image(pixel: Any) -> list[list[Any]]:
    """Return an image with one pixel of another value."""
    rows: list[list[Any]] = _PAPER.tolist()
    rows[3][4] = pixel
    return rows


def infer(model: str, name: str, datatype: str, data: list[Any]) -> Post:
    """Return a V2 request with one tensor."""
    tensor = {"name": name, "datatype": datatype, "shape": list(np.shape(data)), "data": data}
    return Post(f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode())


def infer_raw(pixels: np.ndarray) -> Post:
    """Return a V2 request for digits with one image as raw FP32, in the byte order of `pixels`."""
    raw = pixels.tobytes()
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 8, 8]}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    return Post("/v2/models/digits/infer", head + raw, {"Inference-Header-Content-Length": str(len(head))})


def pixel_requests(pixel: float) -> dict[str, Post]:
    """Return the request of each protocol for an image with this pixel."""
    rows = image(pixel)
    v1 = json.dumps({"instances": [{"image": rows}]}).encode()
    return {
        "/predict": Post("/predict/digits", json.dumps({"image": rows}).encode()),
        "V1": Post("/v1/models/digits:predict", v1),
        "V2": infer("digits", "image", "FP32", [rows]),
        "V2, raw": infer_raw(np.array(rows, "<f4")),
    }


def big_endian(level: float) -> Post:
    """Return an image in big-endian order, which is not that of the protocol."""
    return infer_raw(np.array(image(level)).astype(">f4"))
