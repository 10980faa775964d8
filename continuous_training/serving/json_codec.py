"""JSON decoding and encoding with errors for values that JSON cannot represent."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from continuous_training.serving.errors import EncodingError, RequestError
from continuous_training.serving.gc_pause import gc_paused
from continuous_training.serving.json_limits import JsonLimits
from continuous_training.serving.json_parts import parse_in_parts

LARGE_BYTES = 64 * 1024
"""The limits of values apply to larger bodies, and the garbage collector is off while they are parsed."""

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY

_abbreviated = reprlib.Repr()
_abbreviated.maxstring = _abbreviated.maxother = 80
_abbreviated.maxlist = _abbreviated.maxdict = 8


def abbreviate(value: Any) -> str:
    """Return a short representation of a value of any size and depth, for error messages."""
    return _abbreviated.repr(value)


def decode(body: bytes | memoryview, limits: JsonLimits | None = None) -> Any:
    """Parse the JSON body of a request. RequestError names the position of the first syntax error.

    A large body that exceeds the limits is not parsed, and is a RequestError too.
    """
    try:
        return orjson.loads(body) if len(body) <= LARGE_BYTES else _decode_large(bytes(body), limits)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}. Send UTF-8 JSON.") from error


def _decode_large(body: bytes, limits: JsonLimits | None) -> Any:
    if limits is not None:
        limits.check(body)
    with gc_paused():
        return parse_in_parts(body)


def encode(value: Any) -> bytes:
    """Encode a value as JSON. EncodingError if the value has an unsupported type, or contains NaN."""
    try:
        text = orjson.dumps(value, option=_OPTIONS)
    except TypeError as error:  # orjson.JSONEncodeError
        raise EncodingError(f"the response cannot be encoded as JSON: {error}") from error
    # orjson encodes NaN and infinity as null. Only values with a null need the slow search for them.
    if b"null" in text and (path := _non_finite_path(value, "response")):
        raise EncodingError(f"{path} is NaN or infinite, which JSON cannot represent")
    return text


def _non_finite_path(value: Any, path: str) -> str | None:
    """Return the path of the first NaN or infinite number in a value, or None."""
    if isinstance(value, float | np.floating):
        return None if math.isfinite(value) else path
    if isinstance(value, np.ndarray):
        finite = value.dtype.kind != "f" or bool(np.isfinite(value).all())
        return None if finite else path
    if isinstance(value, dict):
        return _first(_non_finite_path(item, f"{path}.{key}") for key, item in value.items())
    if isinstance(value, list | tuple):
        return _first(_non_finite_path(item, f"{path}[{i}]") for i, item in enumerate(value))
    return None


def _first(paths: Iterable[str | None]) -> str | None:
    return next((path for path in paths if path), None)
