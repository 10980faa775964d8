"""Encoding of Open Inference Protocol v2 output tensors, as JSON or as raw data."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from continuous_training.artifacts.bundle import TensorSpec
from continuous_training.artifacts.tensor_datatypes import NUMPY_DTYPES
from continuous_training.core.json_object import Json
from continuous_training.serving.errors import EncodingError
from continuous_training.serving.models.model import Tensors


@dataclass(frozen=True)
class RequestedOutput:
    """An output that the request names; `binary` requests it as raw data after the JSON."""

    name: str
    binary: bool = False


def encode_outputs(
    tensors: Tensors, signature: Sequence[TensorSpec], requested: Sequence[RequestedOutput]
) -> tuple[list[Json], list[bytes]]:
    """Return the JSON values of the requested outputs, and the raw data of the binary ones, in order.

    ValueError if the handler did not return an output of its signature; EncodingError for NaN.
    """
    datatypes = {spec.name: spec.datatype for spec in signature}
    outputs: list[Json] = []
    raw: list[bytes] = []
    for output in requested:
        if output.name not in tensors:
            raise ValueError(f"the handler did not return the output {output.name!r} of its signature")
        datatype = datatypes[output.name]
        dtype = np.dtype(NUMPY_DTYPES[datatype])
        array = np.ascontiguousarray(np.asarray(tensors[output.name]).astype(dtype, copy=False))
        value: Json = {"name": output.name, "shape": list(array.shape), "datatype": datatype}
        if output.binary:
            content = _raw_data(array, output.name)
            value["parameters"] = {"binary_data_size": len(content)}
            raw.append(content)
        elif dtype.kind == "O":
            value["data"] = [_string(item) for item in array.flat]
        else:
            # orjson encodes arrays much faster than lists.
            value["data"] = array.ravel()
        outputs.append(value)
    return outputs, raw


def _raw_data(array: np.ndarray, name: str) -> bytes:
    if array.dtype.kind == "O":
        items = [_string(item).encode() for item in array.flat]
        return b"".join(part for item in items for part in (struct.pack("<I", len(item)), item))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise EncodingError(f"output {name!r} contains NaN or infinity")
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _string(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)
