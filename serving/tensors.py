"""Tensors as the Open Inference Protocol v2 writes them in JSON, checked against the signature.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
BYTES tensors are object arrays of `str` in the handler.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from .errors import RequestError

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


def read_inputs(given: Any, signature: Sequence[dict[str, Any]]) -> Tensors:
    """Turn a request's `inputs` into arrays of the signature's names, types and shapes.

    RequestError says which tensor is wrong and how. Data may be nested as its shape, or flat.
    """
    if not isinstance(given, list) or not all(isinstance(tensor, dict) for tensor in given):
        raise RequestError('"inputs" must be a list of tensors: {"name", "shape", "datatype", "data"}')
    wanted = {tensor["name"]: tensor for tensor in signature}
    names = [tensor.get("name") for tensor in given]
    if sorted(map(repr, names)) != sorted(map(repr, wanted)):
        raise RequestError(f"the inputs are {names}, and the model takes exactly {list(wanted)}")
    tensors = {tensor["name"]: _read(tensor, wanted[tensor["name"]]) for tensor in given}
    rows = {name: len(array) for name, array in tensors.items()}
    if len(set(rows.values())) > 1:
        raise RequestError(f"the inputs must have the same number of rows, and they have {rows}")
    return tensors


def _read(tensor: dict[str, Any], wanted: dict[str, Any]) -> np.ndarray:
    name, datatype, shape = wanted["name"], wanted["datatype"], tensor.get("shape")
    if tensor.get("datatype") != datatype:
        raise RequestError(
            f"input {name!r}: datatype is {tensor.get('datatype')!r}, and it must be {datatype!r}"
        )
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise RequestError(f"input {name!r}: shape must be a list of whole numbers")
    if len(shape) != len(wanted["shape"]) or any(
        w not in (-1, s) for w, s in zip(wanted["shape"], shape, strict=True)
    ):
        raise RequestError(
            f"input {name!r}: shape is {shape}, and it must be {wanted['shape']} (-1: any size)"
        )
    if shape and shape[0] == 0:
        raise RequestError(f"input {name!r} has no rows; send at least one")
    if "data" not in tensor:
        raise RequestError(
            f'input {name!r} has no "data"; send it as JSON (the binary extension is not supported)'
        )
    flat = _flatten(tensor["data"], shape, name)
    return _array(flat, datatype, name).reshape(shape)


def _flatten(data: Any, shape: list[int], name: str) -> list[Any]:
    """Flatten nested or flat data, level by level, and hold it against the shape."""
    if not isinstance(data, list):
        raise RequestError(f"input {name!r}: data must be a list")
    found, level = [len(data)], data
    while level and list in (kinds := set(map(type, level))):
        sizes = set(map(len, level)) if kinds == {list} else set()
        if len(sizes) != 1:
            raise RequestError(f"input {name!r}: data is ragged: its rows must all have the same size")
        found.append(sizes.pop())
        level = list(chain.from_iterable(level))
    if found != shape and found != [prod(shape)]:
        raise RequestError(f"input {name!r}: data has the shape {found}, and {shape} was announced")
    return level


def _array(flat: list[Any], datatype: str, name: str) -> np.ndarray:
    dtype = np.dtype(DTYPES[datatype])
    allowed, words = _PYTHON[dtype.kind]
    if not set(map(type, flat)) <= allowed:
        raise RequestError(f"input {name!r}: data of {datatype} must be {words} and nothing else")
    if dtype.kind in "iu" and flat:
        limits = np.iinfo(dtype)
        if min(flat) < limits.min or max(flat) > limits.max:
            raise RequestError(f"input {name!r}: data holds a number out of the range of {datatype}")
    with np.errstate(over="ignore"):
        array = np.array(flat, dtype=dtype)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(f"input {name!r}: data holds a number out of the range of {datatype}")
    return array


def write_outputs(
    tensors: Tensors, signature: Sequence[dict[str, Any]], wanted: list[str]
) -> list[dict[str, Any]]:
    """Write the wanted outputs as v2 JSON; ValueError when the handler did not give what it promised."""
    written = []
    for tensor in signature:
        if tensor["name"] not in wanted:
            continue
        if tensor["name"] not in tensors:
            raise ValueError(f"the handler gave no output {tensor['name']!r}, which its signature promises")
        dtype = np.dtype(DTYPES[tensor["datatype"]])
        array = np.asarray(tensors[tensor["name"]]).astype(dtype, copy=False)
        data = [_text(item) for item in array.ravel()] if dtype.kind == "O" else array.ravel().tolist()
        written.append(
            {"name": tensor["name"], "shape": list(array.shape), "datatype": tensor["datatype"], "data": data}
        )
    return written


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)
