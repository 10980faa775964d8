"""Decoding of Open Inference Protocol v2 input tensors, with checks against the model's signature.

BYTES tensors are decoded to object arrays of `str`. Raw tensors are little-endian and in row-major order; in
a raw BYTES tensor, each element is preceded by its length in four bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from continuous_training.artifacts.bundle import TensorSpec
from continuous_training.artifacts.tensor_datatypes import NUMPY_DTYPES
from continuous_training.core.json_object import Json
from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import abbreviate
from continuous_training.serving.models.model import Tensors

_PART = 1 << 14
"""The number of elements that one call of a built-in function processes."""

_JSON_TYPES: dict[str, tuple[set[type], str]] = {
    "b": ({bool}, "true and false"),
    "i": ({int}, "integers"),
    "u": ({int}, "integers"),
    "f": ({int, float}, "numbers"),
    "O": ({str}, "strings"),
}
"""The Python types of JSON elements by the kind of the NumPy dtype, and their description."""


def decode_inputs(inputs: Any, signature: Sequence[TensorSpec], raw: memoryview) -> Tensors:
    """Convert a request's `inputs` to arrays with the names, types and shapes of the signature.

    JSON data may be flat or nested like the shape. `raw` contains the raw tensors in order, without gaps.
    RequestError names the tensor and the problem.
    """
    if not isinstance(inputs, list) or not all(isinstance(tensor, dict) for tensor in inputs):
        raise RequestError('"inputs" must be a list of tensors: {"name", "shape", "datatype", "data"}')
    specs = {spec.name: spec for spec in signature}
    names = [tensor.get("name") for tensor in inputs]
    if len(names) != len(specs) or any(not isinstance(n, str) or n not in specs for n in names):
        raise RequestError(f"the inputs are {abbreviate(names)}, and the model takes exactly {list(specs)}")
    tensors: Tensors = {}
    for tensor in inputs:
        name = tensor["name"]
        if name in tensors:
            raise RequestError(f"the input {name!r} occurs twice; the model takes each of {list(specs)} once")
        tensors[name], raw = _decode_tensor(tensor, specs[name], raw)
    if len(raw):
        raise RequestError(f"{len(raw)} bytes follow the last raw tensor; check binary_data_size")
    rows = {name: len(array) for name, array in tensors.items()}
    if len(set(rows.values())) > 1:
        raise RequestError(f"the inputs must have the same number of rows, and they have {rows}")
    return tensors


def _decode_tensor(tensor: Json, spec: TensorSpec, raw: memoryview) -> tuple[np.ndarray, memoryview]:
    """Decode one tensor and return it with the rest of the raw data."""
    shape = _check_shape(tensor, spec)
    size = _raw_size(tensor, spec.name)
    if size is None:
        data = tensor["data"]
        elements, types = _flatten(data, shape, spec.name)
        array = _from_json(elements, types, spec).reshape(shape)
        if len(elements) > _PART:
            _free(data)
            _free(elements)
        return array, raw
    if size > len(raw):
        raise RequestError(
            f"input {spec.name!r}: binary_data_size is {size}, and the body contains {len(raw)} bytes"
        )
    return _from_raw(raw[:size], shape, spec).reshape(shape), raw[size:]


def _check_shape(tensor: Json, spec: TensorSpec) -> list[int]:
    """Return the tensor's shape if datatype and shape fit the signature."""
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    if datatype != spec.datatype:
        raise RequestError(
            f"input {spec.name!r}: datatype is {abbreviate(datatype)}, and it must be {spec.datatype!r}"
        )
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise RequestError(f"input {spec.name!r}: shape must be a list of integers")
    if len(shape) != len(spec.shape) or any(
        expected not in (-1, size) for expected, size in zip(spec.shape, shape, strict=True)
    ):
        raise RequestError(
            f"input {spec.name!r}: shape is {abbreviate(shape)}, and it must be {list(spec.shape)} "
            f"(-1: any size)"
        )
    if shape and shape[0] == 0:
        raise RequestError(f"input {spec.name!r} has no rows; send at least one")
    return shape


def _raw_size(tensor: Json, name: str) -> int | None:
    """Return the size of the tensor's raw data in bytes, or None if its data is in the JSON."""
    parameters = tensor.get("parameters")
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict):
        raise RequestError(f"input {name!r}: parameters must be an object")
    size = parameters.get("binary_data_size")
    if (size is None) == ("data" not in tensor):
        raise RequestError(
            f'input {name!r} must have either "data" or the parameter binary_data_size (with the bytes '
            f"after the JSON), and not both; shared memory is not supported"
        )
    if size is not None and (type(size) is not int or size < 0):
        raise RequestError(f"input {name!r}: binary_data_size must be a number of bytes")
    return size


def _flatten(data: Any, shape: list[int], name: str) -> tuple[list[Any], set[type]]:
    """Return the elements of flat or nested data and their Python types, if the data fits the shape."""
    if not isinstance(data, list):
        raise RequestError(f"input {name!r}: data must be a list")
    data_shape, level = [len(data)], data
    while list in (types := _distinct(type, level)):
        sizes = _distinct(len, level) if types == {list} else set()
        if len(sizes) != 1:
            raise RequestError(f"input {name!r}: data is ragged: its rows must all have the same size")
        data_shape.append(sizes.pop())
        level = list(chain.from_iterable(level)) if prod(shape) <= _PART else list(_elements(level))
    if data_shape != shape and data_shape != [prod(shape)]:
        raise RequestError(
            f"input {name!r}: the shape of data is {abbreviate(data_shape)}, and shape is {abbreviate(shape)}"
        )
    return level, types


def _from_json(elements: list[Any], types: set[type], spec: TensorSpec) -> np.ndarray:
    dtype = np.dtype(NUMPY_DTYPES[spec.datatype])
    allowed, description = _JSON_TYPES[dtype.kind]
    if not types <= allowed:
        raise RequestError(f"input {spec.name!r}: data of {spec.datatype} must contain only {description}")
    if dtype.kind in "iu" and elements:
        limits = np.iinfo(dtype)
        if _extreme(min, elements) < limits.min or _extreme(max, elements) > limits.max:
            raise RequestError(
                f"input {spec.name!r}: data contains a number out of the range of {spec.datatype}"
            )
    with np.errstate(over="ignore"):
        return _check_finite(_to_array(elements, dtype), spec)


def _to_array(elements: list[Any], dtype: np.dtype[Any]) -> np.ndarray:
    if len(elements) <= _PART:
        return np.array(elements, dtype=dtype)
    array = np.empty(len(elements), dtype)
    for begin in range(0, len(elements), _PART):
        array[begin : begin + _PART] = elements[begin : begin + _PART]
    return array


def _extreme(function: Callable[[Any], Any], elements: list[Any]) -> Any:
    """Return the minimum or the maximum."""
    return function(elements) if len(elements) <= _PART else function(map(function, _parts(elements)))


def _elements(rows: list[Any]) -> Iterator[Any]:
    """Yield the elements of all rows."""
    for row in rows:
        yield from row


def _parts(elements: list[Any]) -> Iterator[list[Any]]:
    """Yield the elements in parts. Between two parts, the interpreter lock can be released."""
    for begin in range(0, len(elements), _PART):
        yield elements[begin : begin + _PART]


def _distinct(function: Callable[[Any], Any], elements: list[Any]) -> set[Any]:
    """Return the distinct results of a function."""
    if len(elements) <= _PART:
        return set(map(function, elements))
    results: set[Any] = set()
    for part in _parts(elements):
        results.update(map(function, part))
    return results


def _free(elements: list[Any]) -> None:
    """Remove the elements of a list in parts: a million lists at once would take 80 ms."""
    step = max(1, len(elements) // 64)
    while elements:
        del elements[-step:]


def _from_raw(raw: memoryview, shape: list[int], spec: TensorSpec) -> np.ndarray:
    if spec.datatype == "BYTES":
        return _from_raw_bytes(raw, prod(shape), spec.name)
    dtype = np.dtype(NUMPY_DTYPES[spec.datatype]).newbyteorder("<")
    size = prod(shape) * dtype.itemsize
    if len(raw) != size:
        raise RequestError(
            f"input {spec.name!r}: {spec.datatype} of the shape {abbreviate(shape)} has {size} raw bytes, "
            f"and {len(raw)} were sent"
        )
    if dtype.kind == "b" and (np.frombuffer(raw, np.uint8) > 1).any():
        raise RequestError(f"input {spec.name!r}: each raw BOOL must be 0 or 1")
    # Copy the data: the bytes of a request are neither aligned nor writable.
    array = np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="))
    _check_byte_order(array, spec)
    return _check_finite(array, spec)


def _check_byte_order(array: np.ndarray, spec: TensorSpec) -> None:
    """Raise RequestError if only subnormal numbers and zeros occur: whole numbers in big-endian order."""
    if array.dtype.kind != "f" or not array.any():
        return
    if np.abs(array).max() < np.finfo(array.dtype).smallest_normal:
        raise RequestError(
            f"input {spec.name!r}: all raw numbers are below {np.finfo(array.dtype).smallest_normal:g}; "
            f"send {spec.datatype} in little-endian order"
        )


def _from_raw_bytes(raw: memoryview, count: int, name: str) -> np.ndarray:
    strings: list[str] = []
    while len(raw) >= 4 and len(strings) < count:
        (size,) = struct.unpack_from("<I", raw)
        if size > len(raw) - 4:
            break
        try:
            strings.append(str(raw[4 : 4 + size], "utf-8"))
        except UnicodeDecodeError as error:
            raise RequestError(f"input {name!r}: element {len(strings)} is not UTF-8: {error}") from error
        raw = raw[4 + size :]
    if len(raw) or len(strings) != count:
        raise RequestError(
            f"input {name!r}: raw BYTES must contain {count} elements, each after its length in four bytes; "
            f"{len(strings)} were found, and {len(raw)} bytes are left over"
        )
    array = np.empty(count, dtype=object)
    array[:] = strings
    return array


def _check_finite(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(
            f"input {spec.name!r}: data contains NaN or a number out of the range of {spec.datatype}"
        )
    return array
