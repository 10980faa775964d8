"""JSON in and out of the server, strict where the parser is lenient."""

from __future__ import annotations

import math
import reprlib
from typing import Any

import numpy as np
import orjson

from continuous_training.serving.errors import EncodingError, RequestError

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
_short.maxlist = _short.maxdict = 8


def abbreviate(value: Any) -> str:
    """Show a value of a caller's, however large or deep it is, in a few words."""
    return _short.repr(value)


def decode(body: bytes | memoryview) -> Any:
    """Parse a request's body; RequestError says where it stops being JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}. Send UTF-8 JSON.") from error


def encode(value: Any) -> bytes:
    """Write a value as JSON; EncodingError (a ValueError) when JSON has no word for it, as for NaN."""
    try:
        text = orjson.dumps(value, option=_OPTIONS)
    except TypeError as error:  # orjson.JSONEncodeError
        raise EncodingError(f"the answer cannot be written as JSON: {error}") from error
    # orjson writes NaN and infinities as null without a word: only then is the slow walk needed.
    if b"null" in text and (where := _not_finite(value, "answer")):
        raise EncodingError(f"{where} is NaN or infinite, for which JSON has no word")
    return text


def _not_finite(value: Any, path: str) -> str | None:
    if isinstance(value, float | np.floating):
        return None if math.isfinite(value) else path
    if isinstance(value, np.ndarray):
        finite = value.dtype.kind != "f" or bool(np.isfinite(value).all())
        return None if finite else path
    if isinstance(value, dict):
        return _first(_not_finite(item, f"{path}.{key}") for key, item in value.items())
    if isinstance(value, list | tuple):
        return _first(_not_finite(item, f"{path}[{i}]") for i, item in enumerate(value))
    return None


def _first(found: Any) -> str | None:
    return next((path for path in found if path), None)
