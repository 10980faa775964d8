"""What answers requests: one class a workload, the same in training, in our server and in TorchServe.

A handler travels inside the archive, together with every module that it imports relatively. So a
handler module imports its siblings relatively (`from ..handler import Handler`), and nothing else
but the standard library and the serving image's libraries: numpy, onnxruntime, faiss.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

Tensors = dict[str, np.ndarray]
"""Named arrays; the first axis of each is the row."""


@dataclass(frozen=True)
class Tensor:
    """One named input or output, in the words of the Open Inference Protocol v2.

    `datatype` is a v2 name (FP32, FP64, INT64, BOOL, BYTES); `shape` has -1 for the row axis.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """The tensor's metadata as v2's model metadata shows it."""
        return {**asdict(self), "shape": list(self.shape)}


class Handler(ABC):
    """Answers requests from the files in one folder.

    `preprocess` and `postprocess` see one request; `inference` sees the rows of many, so a server
    may batch what it likes. A request that cannot be answered raises `ValueError` in `preprocess`,
    with a message for the caller; no other request notices.

    A server sets `threads`, how many one inference may use, before it calls `load`. A handler that gains
    nothing by batches says `batch_rows = 1`; any other number bounds them, and None leaves it to the server.
    """

    threads: int = 1
    batch_rows: ClassVar[int | None] = None
    inputs: ClassVar[tuple[Tensor, ...]]
    outputs: ClassVar[tuple[Tensor, ...]]

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read the model's files from `folder`; called once, before anything else."""

    @abstractmethod
    def preprocess(self, request: Any) -> Tensors:
        """Turn one JSON request into tensors of `inputs`, n rows each; ValueError if it cannot be."""

    @abstractmethod
    def inference(self, tensors: Tensors) -> Tensors:
        """Answer n rows with tensors of `outputs`, n rows each, in order."""

    @abstractmethod
    def postprocess(self, tensors: Tensors) -> Any:
        """Turn the output rows of one request into its JSON answer."""

    def illustrate(self, answer: Any) -> Any:
        """Return the answer with what helps a person to see it, such as pictures; as it is by default."""
        return answer

    def initialize(self, context: Any) -> None:
        """TorchServe's entry: load from the folder that it unpacked the archive into."""
        self.load(Path(context.system_properties["model_dir"]))

    def handle(self, data: list[dict[str, Any]], context: Any = None) -> list[Any]:
        """Answer a batch of requests in one inference; TorchServe's entry and a plain call.

        `data` holds one `{"body": request}` (or `{"data": request}`) a request, the request as
        parsed JSON or as its bytes; bytes that are no JSON come to `preprocess` as they are. Raises
        ValueError when one of them cannot be answered.
        """
        requests = [self.preprocess(_body(row)) for row in data]
        sizes = [len(next(iter(request.values()))) for request in requests]
        batch = {t.name: np.concatenate([r[t.name] for r in requests]) for t in self.inputs}
        return [self.postprocess(part) for part in split_rows(self.inference(batch), sizes)]


def split_rows(tensors: Tensors, sizes: list[int]) -> list[Tensors]:
    """Cut tensors of sum(sizes) rows into one set a size, in order."""
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
        # A file, such as a picture: the handler knows whether it reads any.
        return bytes(body)
