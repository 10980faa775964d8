"""The handler of the workload mnist: the label of an image, and the most similar training images."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..handler import Handler, Tensor, Tensors, check_images, check_row_count
from .gallery import Gallery
from .neighbours import Neighbours
from .pictures import INK, SIDE, read_picture

NEIGHBOURS = 10
_USAGE = (
    'send {"image": IMAGE} or {"images": [IMAGE, ...]}, or the bytes of an image file; an IMAGE is 28 rows '
    "of 28 numbers from 0 (paper) to 255 (ink), or a PNG, JPEG, WebP or BMP file in base64"
)

_IMAGE = Tensor("image", "FP32", (-1, SIDE, SIDE), minimum=0, maximum=INK)


class MnistHandler(Handler):
    """Predicts the majority label of the ten nearest training images.

    A request is `{"image": IMAGE}`, `{"images": [IMAGE, ...]}` or the bytes of an image file. An IMAGE is
    28 rows of 28 numbers from 0 (paper) to 255 (ink), or an image file (base64 in JSON). The response is
    `{"predictions": [{"label", "confidence", "neighbours", "distances"}, ...]}`, one prediction per image.
    `confidence` is the share of neighbours with the label, `neighbours` are numbers of training rows from 0,
    and `distances` are squared distances between embeddings on the unit sphere.
    """

    inputs = (_IMAGE,)
    # Larger batches are not faster per image, and delay the first request of the batch.
    batch_rows = 8
    outputs = (
        Tensor("label", "INT64", (-1,)),
        Tensor("confidence", "FP32", (-1,)),
        Tensor("neighbours", "INT64", (-1, NEIGHBOURS)),
        Tensor("distances", "FP32", (-1, NEIGHBOURS)),
    )

    def load(self, folder: Path) -> None:
        """Load the embedding (ONNX), the index of the training embeddings (FAISS) and their labels."""
        import faiss
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        # Without spinning, waiting threads leave their cores to other processes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            str(folder / "embedding.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.labels = np.array(json.loads((folder / "labels.json").read_text()), dtype=np.int64)
        self.index = Neighbours(faiss.read_index(str(folder / "index.faiss")), self.labels)
        self.gallery = Gallery(folder)

    def preprocess(self, request: Any) -> Tensors:
        """Return the images of the request: float32 [n, 28, 28]."""
        if isinstance(request, bytes | bytearray | memoryview):
            request = {"image": bytes(request)}
        if not isinstance(request, dict) or len(request.keys() & {"image", "images"}) != 1:
            raise ValueError(_USAGE)
        pictures = [request["image"]] if "image" in request else request["images"]
        if not isinstance(pictures, list) or not pictures:
            raise ValueError(f"images must be a list with at least one image; {_USAGE}")
        check_row_count(pictures)
        if any(isinstance(picture, str | bytes) for picture in pictures):
            return {"image": np.concatenate([_image(picture) for picture in pictures])}
        return {"image": _arrays(pictures)}

    def read_image(self, content: bytes) -> list[list[float]]:
        """Return the 28 rows of 28 pixels of an image file. Raises ValueError if it is not a usable one."""
        rows: list[list[float]] = read_picture(content).tolist()
        return rows

    def inference(self, tensors: Tensors) -> Tensors:
        """Return the majority label of the neighbours. The nearest neighbour decides a tie."""
        (embedded,) = self.session.run(None, {"image": tensors["image"]})
        distances, neighbours = self.index.search(embedded, NEIGHBOURS)
        votes = self.labels[neighbours]
        counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
        # argmax returns the first maximum, and the neighbours are sorted by distance.
        winners = counts.argmax(axis=1)
        rows = np.arange(len(votes))
        return {
            "label": votes[rows, winners],
            "confidence": (counts[rows, winners] / NEIGHBOURS).astype(np.float32),
            "neighbours": neighbours,
            "distances": distances,
        }

    def postprocess(self, tensors: Tensors) -> Any:
        """Return a response with one prediction per image."""
        names = [tensor.name for tensor in self.outputs]
        columns = (tensors[name].tolist() for name in names)
        return {"predictions": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]}

    def illustrate(self, answer: Any) -> Any:
        """Add the image and the label of each neighbour."""
        return {"predictions": [{**p, **self._images_and_labels(p)} for p in answer["predictions"]]}

    def _images_and_labels(self, prediction: dict[str, Any]) -> dict[str, Any]:
        neighbours = prediction["neighbours"]
        labels = self.labels[neighbours]
        return {"pictures": self.gallery.read(neighbours).tolist(), "labels": labels.tolist()}


def _image(picture: Any) -> np.ndarray:
    """Return one image of a request, in any of the formats, as float32 [1, 28, 28]."""
    if isinstance(picture, str):
        # A browser's canvas returns data:image/png;base64,...
        text = picture.partition(",")[2] if picture.startswith("data:") else picture
        try:
            picture = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"an image that is a string must be an image file in base64; {_USAGE}") from None
    return read_picture(picture)[None] if isinstance(picture, bytes) else _arrays([picture])


def _arrays(pictures: list[Any]) -> np.ndarray:
    """Convert images that are lists of rows of numbers to float32 [n, 28, 28]."""
    if (array := _integer_arrays(pictures)) is not None:
        return array
    check_images(pictures, SIDE)
    array = np.array(pictures)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"an image is {SIDE} rows of {SIDE} numbers")
    if not _IMAGE.contains(array):
        raise ValueError(f"a pixel is a number from 0 (paper) to {INK} (ink)")
    return array.astype(np.float32)


def _integer_arrays(pictures: list[Any]) -> np.ndarray | None:
    """Convert images of integers from 0 to 255, several times faster than numpy. Return None for others."""
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
    # Booleans are integers too. If all pixels are 0 or 1, they may be booleans.
    if not pixels.strip(b"\0\1"):
        return None
    return np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE).astype(np.float32)
