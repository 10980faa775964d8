# ruff: noqa: E501
"""Tensors as the Open Inference Protocol v2 has them in a request, checked against the signature.

BYTES tensors are object arrays of `str` in the handler; raw tensors are little-endian, row by row, and
in raw BYTES each text has its length before it, in four bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import abbreviate

Tensors = dict[str, np.ndarray]

DTYPES: dict[str, str] = {
    "BOOL": "bool",
    **{
        f"{kind}{bits}": f"{word}{bits}"
        for kind, word in (("INT", "int"), ("UINT", "uint"))
        for bits in (8, 16, 32, 64)
    },
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
_PYTHON: dict[str, tuple[set[type], str]] = {
    "b": ({bool}, "true and false"),
    "i": ({int}, "integers"),
    "u": ({int}, "integers"),
    "f": ({int, float}, "numbers"),
    "O": ({str}, "texts"),
}


def decode_inputs(given: Any, signature: Sequence[dict[str, Any]], tail: memoryview) -> Tensors:
    """Turn a request's `inputs` into arrays of the signature's names, types and shapes.

    RequestError says which tensor is wrong and how. JSON data may be nested as its shape, or flat; `tail`
    holds the raw tensors one after another, and must be used up by them.
    """
    if not isinstance(given, list) or not all(isinstance(tensor, dict) for tensor in given):
        raise RequestError('"inputs" must be a list of tensors: {"name", "shape", "datatype", "data"}')
    wanted = {tensor["name"]: tensor for tensor in signature}
    names = [tensor.get("name") for tensor in given]
    if len(names) != len(wanted) or any(not isinstance(n, str) or n not in wanted for n in names):
        raise RequestError(f"the inputs are {abbreviate(names)}, and the model takes exactly {list(wanted)}")
    tensors: Tensors = {}
    for tensor in given:
        name = tensor["name"]
        if name in tensors:
            raise RequestError(f"the input {name!r} is there twice; the model takes exactly {list(wanted)}")
        shape = _checked_shape(tensor, wanted[name])
        size = _raw_size(tensor, name)
        if size is None:
            flat, kinds = _flatten(tensor["data"], shape, name)
            array = _from_json(flat, kinds, wanted[name]["datatype"], name)
        else:
            if size > len(tail):
                raise RequestError(f"input {name!r}: {size} raw bytes were announced, and {len(tail)} came")
            array = _from_raw(tail[:size], wanted[name]["datatype"], shape, name)
            tail = tail[size:]
        tensors[name] = array.reshape(shape)
    if len(tail):
        raise RequestError(f"{len(tail)} bytes follow the last raw tensor; look at binary_data_size")
    rows = {name: len(array) for name, array in tensors.items()}
    if len(set(rows.values())) > 1:
        raise RequestError(f"the inputs must have the same number of rows, and they have {rows}")
    return tensors


def _checked_shape(tensor: dict[str, Any], wanted: dict[str, Any]) -> list[int]:
    name, datatype, shape = wanted["name"], wanted["datatype"], tensor.get("shape")
    if tensor.get("datatype") != datatype:
        raise RequestError(
            f"input {name!r}: datatype is {abbreviate(tensor.get('datatype'))}, and it must be {datatype!r}"
        )
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise RequestError(f"input {name!r}: shape must be a list of whole numbers")
    if len(shape) != len(wanted["shape"]) or any(
        w not in (-1, s) for w, s in zip(wanted["shape"], shape, strict=True)
    ):
        raise RequestError(
            f"input {name!r}: shape is {abbreviate(shape)}, and it must be {wanted['shape']} (-1: any size)"
        )
    if shape and shape[0] == 0:
        raise RequestError(f"input {name!r} has no rows; send at least one")
    return shape


def _raw_size(tensor: dict[str, Any], name: str) -> int | None:
    """Return how many raw bytes the tensor has, or None when it is in the JSON."""
    parameters = tensor.get("parameters", {})
    if not isinstance(parameters, dict):
        raise RequestError(f"input {name!r}: parameters must be an object")
    size = parameters.get("binary_data_size")
    if (size is None) == ("data" not in tensor):
        raise RequestError(
            f'input {name!r} must have either "data" or the parameter binary_data_size (with the bytes '
            f"behind the JSON), and one of them only; there is no data otherwise, nor in shared memory"
        )
    if size is not None and (type(size) is not int or size < 0):
        raise RequestError(f"input {name!r}: binary_data_size must be a number of bytes")
    return size


def _flatten(data: Any, shape: list[int], name: str) -> tuple[list[Any], set[type]]:
    """Flatten nested or flat data, level by level, and hold it against the shape; also tells its types."""
    if not isinstance(data, list):
        raise RequestError(f"input {name!r}: data must be a list")
    found, level = [len(data)], data
    while list in (kinds := set(map(type, level))):
        sizes = set(map(len, level)) if kinds == {list} else set()
        if len(sizes) != 1:
            raise RequestError(f"input {name!r}: data is ragged: its rows must all have the same size")
        found.append(sizes.pop())
        level = list(chain.from_iterable(level))
    if found != shape and found != [prod(shape)]:
        raise RequestError(
            f"input {name!r}: data has the shape {abbreviate(found)}, and {abbreviate(shape)} was announced"
        )
    return level, kinds


def _from_json(flat: list[Any], kinds: set[type], datatype: str, name: str) -> np.ndarray:
    dtype = np.dtype(DTYPES[datatype])
    allowed, words = _PYTHON[dtype.kind]
    if not kinds <= allowed:
        raise RequestError(f"input {name!r}: data of {datatype} must be {words} and nothing else")
    if dtype.kind in "iu" and flat:
        limits = np.iinfo(dtype)
        if min(flat) < limits.min or max(flat) > limits.max:
            raise RequestError(f"input {name!r}: data holds a number out of the range of {datatype}")
    with np.errstate(over="ignore"):
        return _finite(np.array(flat, dtype=dtype), datatype, name)


def _from_raw(raw: memoryview, datatype: str, shape: list[int], name: str) -> np.ndarray:
    if datatype == "BYTES":
        return _texts(raw, prod(shape), name)
    dtype = np.dtype(DTYPES[datatype]).newbyteorder("<")
    if len(raw) != prod(shape) * dtype.itemsize:
        raise RequestError(
            f"input {name!r}: {datatype} of the shape {abbreviate(shape)} takes {prod(shape) * dtype.itemsize} "
            f"raw bytes, and it has {len(raw)}"
        )
    if dtype.kind == "b" and (np.frombuffer(raw, np.uint8) > 1).any():
        raise RequestError(f"input {name!r}: each raw BOOL must be 0 or 1")
    # A copy: what lies in a request's bytes is neither aligned nor to be written to.
    return _finite(np.frombuffer(raw, dtype).astype(dtype.newbyteorder("=")), datatype, name)


def _texts(raw: memoryview, count: int, name: str) -> np.ndarray:
    texts: list[str] = []
    while len(raw) >= 4 and len(texts) < count:
        (size,) = struct.unpack_from("<I", raw)
        if size > len(raw) - 4:
            break
        try:
            texts.append(str(raw[4 : 4 + size], "utf-8"))
        except UnicodeDecodeError as error:
            raise RequestError(f"input {name!r}: text {len(texts)} is not UTF-8: {error}") from error
        raw = raw[4 + size :]
    if len(raw) or len(texts) != count:
        raise RequestError(
            f"input {name!r}: raw BYTES must be {count} texts, each behind its length in four bytes; "
            f"{len(texts)} were found, and {len(raw)} bytes are left over"
        )
    array = np.empty(count, dtype=object)
    array[:] = texts
    return array


def _finite(array: np.ndarray, datatype: str, name: str) -> np.ndarray:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(f"input {name!r}: data holds NaN or a number out of the range of {datatype}")
    return array
