"""JSON with an indentation, as `json.dumps` writes it, but encoded by its C encoder.

`json.dumps` with an indentation uses an encoder in Python, which takes seconds for the statistics of a
thousand columns.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

_INDENT = 2


def indented_json(value: Any) -> str:
    """Return the text of `json.dumps` with an indentation of two spaces, sorted keys and all characters.

    Raises ValueError for NaN and infinities.
    """
    return _encode(value, 0)


def _encode(value: Any, level: int) -> str:
    if not isinstance(value, dict | list | tuple) or not value:
        return _encoder(0).encode(value)
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return _encode_in_python(value, level)
        if any(map(_is_nested, value.values())):
            parts = [f"{_encoder(0).encode(key)}: {_encode(value[key], level + 1)}" for key in sorted(value)]
            return _lines(f",\n{_spaces(level + 1)}".join(parts), level, "{}")
    elif any(map(_is_nested, value)):
        return _lines(
            f",\n{_spaces(level + 1)}".join(_encode(item, level + 1) for item in value), level, "[]"
        )
    return _lines(_encoder(level + 1).encode(value)[1:-1], level, "{}" if isinstance(value, dict) else "[]")


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list | tuple) and len(value) > 0


def _lines(content: str, level: int, brackets: str) -> str:
    return f"{brackets[0]}\n{_spaces(level + 1)}{content}\n{_spaces(level)}{brackets[1]}"


def _spaces(level: int) -> str:
    return " " * (_INDENT * level)


@cache
def _encoder(level: int) -> json.JSONEncoder:
    """Return the encoder of an object or array without nested ones, whose items are at this level."""
    separators = (f",\n{_spaces(level)}", ": ")
    return json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=separators)


def _encode_in_python(value: Any, level: int) -> str:
    text = json.dumps(value, indent=_INDENT, sort_keys=True, ensure_ascii=False, allow_nan=False)
    # A line feed in a string is escaped, so each line feed is followed by an indentation.
    return text.replace("\n", f"\n{_spaces(level)}")
