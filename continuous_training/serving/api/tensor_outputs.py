"""A handler's output tensors as the Open Inference Protocol v2 writes them, in JSON or as bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from continuous_training.serving.api.tensors import DTYPES, Tensors
from continuous_training.serving.errors import EncodingError


@dataclass(frozen=True)
class RequestedOutput:
    """An output that was asked for, and whether as raw bytes behind the JSON."""

    name: str
    binary: bool = False


def encode_outputs(
    tensors: Tensors, signature: Sequence[dict[str, Any]], wanted: Sequence[RequestedOutput]
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Write the wanted outputs: their JSON, and the bytes that follow it.

    ValueError when the handler did not give what its signature promises, EncodingError for NaN.
    """
    datatypes = {tensor["name"]: tensor["datatype"] for tensor in signature}
    written: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for one in wanted:
        if one.name not in tensors:
            raise ValueError(f"the handler gave no output {one.name!r}, which its signature promises")
        datatype = datatypes[one.name]
        dtype = np.dtype(DTYPES[datatype])
        array = np.ascontiguousarray(np.asarray(tensors[one.name]).astype(dtype, copy=False))
        described: dict[str, Any] = {"name": one.name, "shape": list(array.shape), "datatype": datatype}
        if one.binary:
            content = _bytes(array, one.name)
            described["parameters"] = {"binary_data_size": len(content)}
            raw.append(content)
        else:
            # orjson writes arrays by itself, much faster than lists; of halves and texts it knows nothing.
            described["data"] = [_text(item) for item in array.flat] if dtype.kind == "O" else array.ravel()
        written.append(described)
    return written, raw


def _bytes(array: np.ndarray, name: str) -> bytes:
    if array.dtype.kind == "O":
        items = [_text(item).encode() for item in array.flat]
        return b"".join(part for item in items for part in (struct.pack("<I", len(item)), item))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise EncodingError(f"output {name!r} holds NaN or an infinity")
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)
