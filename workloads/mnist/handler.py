"""Answers for a picture of a digit: its label, and the training pictures nearest to it."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..handler import Handler, Tensor, Tensors
from .gallery import Gallery
from .neighbours import Neighbours
from .pictures import INK, SIDE, read_picture

NEIGHBOURS = 10
_MOST = 1024
"""Pictures in one request: more would keep the other callers waiting."""
_USAGE = (
    'send {"image": IMAGE} or {"images": [IMAGE, ...]}, or a picture file itself; an IMAGE is 28 rows of 28 '
    "numbers from 0 (paper) to 255 (ink), or the base64 text of a PNG or JPEG file"
)


class MnistHandler(Handler):
    """Embeds a picture of 28 x 28 pixels and lets its ten nearest training pictures vote.

    A request is `{"image": IMAGE}`, `{"images": [IMAGE, ...]}` or the bytes of a picture file; an IMAGE is
    28 rows of 28 numbers from 0 (paper) to 255 (ink), or a picture file, in base64 where it stands in JSON.
    The answer is `{"predictions": [{"label", "confidence", "neighbours", "distances"}, ...]}`, one an image:
    `confidence` is the share of the neighbours that have the label, `neighbours` are numbers of training
    rows from 0, and `distances` are squared, between embeddings on the unit sphere.
    """

    inputs = (Tensor("image", "FP32", (-1, SIDE, SIDE)),)
    # More at once are hardly faster for each, and keep the first of them waiting.
    batch_rows = 8
    outputs = (
        Tensor("label", "INT64", (-1,)),
        Tensor("confidence", "FP32", (-1,)),
        Tensor("neighbours", "INT64", (-1, NEIGHBOURS)),
        Tensor("distances", "FP32", (-1, NEIGHBOURS)),
    )

    def load(self, folder: Path) -> None:
        """Open the embedding (ONNX), the index of training embeddings (FAISS) and their labels."""
        import faiss
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        # Threads that wait sleep, and leave their cores to others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            str(folder / "embedding.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.labels = np.array(json.loads((folder / "labels.json").read_text()), dtype=np.int64)
        self.index = Neighbours(faiss.read_index(str(folder / "index.faiss")), self.labels)
        self.gallery = Gallery(folder)

    def preprocess(self, request: Any) -> Tensors:
        """Read one picture or several from the request."""
        if isinstance(request, bytes | bytearray | memoryview):
            request = {"image": bytes(request)}
        if not isinstance(request, dict) or len(request.keys() & {"image", "images"}) != 1:
            raise ValueError(_USAGE)
        pictures = [request["image"]] if "image" in request else request["images"]
        if not isinstance(pictures, list) or not pictures:
            raise ValueError(f"images holds no list of images; {_USAGE}")
        if len(pictures) > _MOST:
            raise ValueError(f"images holds {len(pictures)} images; send at most {_MOST} at a time")
        if any(isinstance(picture, str | bytes) for picture in pictures):
            return {"image": np.concatenate([_image(picture) for picture in pictures])}
        return {"image": _arrays(pictures)}

    def inference(self, tensors: Tensors) -> Tensors:
        """Embed, search, and vote; the nearest neighbour decides a tie."""
        (embedded,) = self.session.run(None, {"image": tensors["image"]})
        distances, neighbours = self.index.search(embedded, NEIGHBOURS)
        votes = self.labels[neighbours]
        counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
        # argmax takes the first of equals, and the nearest stands first.
        chosen = counts.argmax(axis=1)
        rows = np.arange(len(votes))
        return {
            "label": votes[rows, chosen],
            "confidence": (counts[rows, chosen] / NEIGHBOURS).astype(np.float32),
            "neighbours": neighbours,
            "distances": distances,
        }

    def postprocess(self, tensors: Tensors) -> Any:
        """List a prediction for each picture."""
        names = [tensor.name for tensor in self.outputs]
        columns = (tensors[name].tolist() for name in names)
        return {"predictions": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]}

    def illustrate(self, answer: Any) -> Any:
        """Show each neighbour: its picture and its label."""
        return {"predictions": [{**found, **self._shown(found)} for found in answer["predictions"]]}

    def _shown(self, found: dict[str, Any]) -> dict[str, Any]:
        neighbours = found["neighbours"]
        labels = self.labels[neighbours]
        return {"pictures": self.gallery.show(neighbours).tolist(), "labels": labels.tolist()}


def _image(picture: Any) -> np.ndarray:
    """Return one picture of any of the forms, float32 [1, 28, 28]."""
    if isinstance(picture, str):
        # A browser's canvas gives data:image/png;base64,...
        text = picture.partition(",")[2] if picture.startswith("data:") else picture
        try:
            picture = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"an image in a text must be a picture file in base64; {_USAGE}") from None
    return read_picture(picture)[None] if isinstance(picture, bytes) else _arrays([picture])


def _arrays(pictures: list[Any]) -> np.ndarray:
    """Return pictures that are given as rows of numbers, float32 [n, 28, 28]."""
    if (whole := _whole(pictures)) is not None:
        return whole
    try:
        array = np.array(pictures)
    except ValueError:
        raise ValueError(f"an image is {SIDE} rows of {SIDE} numbers") from None
    # Texts and booleans would pass for numbers.
    if array.dtype.kind not in "iuf":
        raise ValueError(f"an image is {SIDE} rows of {SIDE} numbers")
    if array.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"an image is {SIDE} rows of {SIDE} numbers, not of shape {list(array.shape[1:])}")
    if not ((array >= 0) & (array <= INK)).all():
        raise ValueError(f"a pixel is a number from 0 (paper) to {INK} (ink)")
    return array.astype(np.float32)


def _whole(pictures: list[Any]) -> np.ndarray | None:
    """Return pictures of whole numbers from 0 to 255, several times faster; None for all others."""
    rows: list[Any] = []
    for picture in pictures:
        if type(picture) is not list or len(picture) != SIDE:
            return None
        rows += picture
    if set(map(type, rows)) != {list} or set(map(len, rows)) != {SIDE}:
        return None
    try:
        pixels = b"".join(map(bytes, rows))
    except (TypeError, ValueError):
        return None
    # Nothing but 0 and 1 may have been booleans.
    if not pixels.strip(b"\0\1"):
        return None
    return np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE).astype(np.float32)
