"""The base class of handlers: one class per workload, used by the evaluation, our server and TorchServe.

An archive contains the handler's module and all modules that it imports relatively. A handler module
therefore imports its siblings relatively (`from ..handler import Handler`), and otherwise only the standard
library and the libraries of the serving image: numpy, onnxruntime, faiss, Pillow.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

Tensors = dict[str, np.ndarray]
"""Arrays by name. The first axis of each array is the row."""


MAX_ROWS = 1024
"""The maximum number of rows in one request. A server has the same limit."""


def check_row_count(rows: Sequence[Any]) -> None:
    """Raise ValueError if a request has too many rows. Call this before the rows are converted.

    Without the check, a request of several megabytes occupies the server for seconds before it is rejected.
    """
    if len(rows) > MAX_ROWS:
        raise ValueError(f"the request has {len(rows)} rows; send at most {MAX_ROWS} per request")


def check_images(pictures: Sequence[Any], side: int) -> None:
    """Raise ValueError if an image is not `side` lists of `side` numbers. Call this before the conversion.

    numpy holds the interpreter lock while it converts, and a request can contain millions of numbers.
    """
    expected = f"an image is {side} rows of {side} numbers"
    for picture in pictures:
        rows = picture if type(picture) is list else []
        lengths = {len(row) if type(row) is list else None for row in rows}
        if len(rows) == side and lengths == {side}:
            # Booleans are integers, and numpy converts them.
            if all(set(map(type, row)) <= {int, float} for row in rows):
                continue
        elif len(lengths) == 1 and None not in lengths:
            raise ValueError(f"{expected}, not of shape [{len(rows)}, {lengths.pop()}]")
        raise ValueError(expected)


@dataclass(frozen=True)
class Tensor:
    """The description of an input or output, as in the Open Inference Protocol v2.

    `datatype` is FP32, FP64, INT64, BOOL or BYTES. `shape` has -1 for the row axis. `minimum` and `maximum`
    are the inclusive range of the elements of an input. All endpoints reject a request outside the range.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    minimum: float | None = None
    maximum: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entry of this tensor in the model metadata of the protocol."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def contains(self, array: np.ndarray) -> bool:
        """Return whether all elements are in the range. NaN is in no range."""
        low = -np.inf if self.minimum is None else self.minimum
        high = np.inf if self.maximum is None else self.maximum
        return bool(((array >= low) & (array <= high)).all())

    def check_range(self, array: np.ndarray) -> None:
        """Raise ValueError if an element is outside the declared range."""
        if (self.minimum, self.maximum) != (None, None) and not self.contains(array):
            raise ValueError(f"{self.name}: each element must be from {self.minimum} to {self.maximum}")


class Handler(ABC):
    """Turns requests into responses with the model files of one folder.

    `preprocess` and `postprocess` handle one request, `inference` handles the rows of a batch of requests.
    For an invalid request, `preprocess` raises `ValueError` with a message for the client; other requests of
    the batch are not affected.

    A handler whose JSON requests accept image files defines `read_image(content: bytes)`, which returns the
    pixel rows of a file or raises `ValueError`. The server calls it for uploads, in any thread. Without this
    method, the server reads uploads itself.

    A server sets `threads`, the number of threads for one inference, before it calls `load`. `batch_rows`
    limits the rows of a batch; use 1 if batches are not faster. None means the server's default.
    """

    threads: int = 1
    batch_rows: ClassVar[int | None] = None
    inputs: ClassVar[tuple[Tensor, ...]]
    outputs: ClassVar[tuple[Tensor, ...]]

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read the model files from `folder`. Called once, before all other methods."""

    @abstractmethod
    def preprocess(self, request: Any) -> Tensors:
        """Return the input tensors of one JSON request, n rows each. Raises ValueError if it is invalid."""

    def check_inputs(self, tensors: Tensors) -> None:
        """Raise ValueError if this version cannot process the input tensors of one request.

        Called for the tensors of `preprocess` and for those that a client sends. The ranges that `inputs`
        declares are checked without it. The default accepts all tensors.
        """
        return None

    @abstractmethod
    def inference(self, tensors: Tensors) -> Tensors:
        """Return the output tensors for n rows, in the same order."""

    @abstractmethod
    def postprocess(self, tensors: Tensors) -> Any:
        """Return the JSON response for the output rows of one request."""

    def illustrate(self, answer: Any) -> Any:
        """Return the response with additions for people, such as pictures. The default adds nothing."""
        return answer

    def initialize(self, context: Any) -> None:
        """Load the model from TorchServe's model directory. Called by TorchServe."""
        self.load(Path(context.system_properties["model_dir"]))

    def handle(self, data: list[dict[str, Any]], context: Any = None) -> list[Any]:
        """Return the responses of a batch of requests. Called by TorchServe.

        `data` has one `{"body": request}` or `{"data": request}` per request; a request is parsed JSON or
        bytes. Bytes that are not JSON are passed to `preprocess` unchanged. Raises ValueError if a request is
        invalid.
        """
        requests = [self.preprocess(_body(row)) for row in data]
        for tensor in self.inputs:
            for request in requests:
                tensor.check_range(request[tensor.name])
        for request in requests:
            self.check_inputs(request)
        sizes = [len(next(iter(request.values()))) for request in requests]
        batch = {t.name: np.concatenate([r[t.name] for r in requests]) for t in self.inputs}
        return [self.postprocess(part) for part in split_rows(self.inference(batch), sizes)]


def split_rows(tensors: Tensors, sizes: list[int]) -> list[Tensors]:
    """Split tensors with sum(sizes) rows into consecutive parts with these numbers of rows."""
    ends = np.cumsum(sizes)
    return [
        {name: array[end - size : end] for name, array in tensors.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]


def _body(row: dict[str, Any]) -> Any:
    body = row.get("body", row.get("data"))
    if isinstance(body, str):
        return json.loads(body)
    if not isinstance(body, bytes | bytearray):
        return body
    try:
        return json.loads(body)
    except ValueError:
        # A file, such as a picture. The handler decides whether it accepts it.
        return bytes(body)
