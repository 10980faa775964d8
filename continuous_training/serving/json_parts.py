"""Parsing of a large JSON body in parts, so that other threads run in between.

orjson holds the interpreter lock while it parses, which takes 400 ms for 8 MB with millions of numbers. Until
it has finished, the event loop in another thread answers no request, and no liveness probe.

The body is divided at commas. Of each window of the body, the first and the last comma of each nesting depth
are known: a part between two of them is either short, or contains one long value, which is divided in turn.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import orjson

PART_BYTES = 1 << 16
"""The size of the windows. A part that is parsed at once has at most twice this size, if it has commas."""

_MAX_DEPTH = 16
"""Values that are nested deeper are not divided."""

_SPACES = b" \t\n\r"
_QUOTE, _COMMA = ord('"'), ord(",")
_OPENING, _CLOSING = (ord("["), ord("{")), (ord("]"), ord("}"))


def parse_in_parts(body: bytes) -> Any:
    """Return the same value as `orjson.loads`. Raises orjson.JSONDecodeError for invalid JSON."""
    # An escaped quote does not end a string. Bodies with escapes contain texts, which are parsed fast.
    if len(body) <= 2 * PART_BYTES or b"\\" in body:
        return orjson.loads(body)
    return _Parts(body, _find_commas(body)).value(0, len(body), 1)


def _find_commas(body: bytes) -> list[list[int]]:
    """Return the positions of the first and the last comma of each window by depth: 1 in the outer value."""
    commas: list[list[int]] = [[] for _ in range(_MAX_DEPTH + 1)]
    depth, in_string = 0, 0
    for begin in range(0, len(body), PART_BYTES):
        window = np.frombuffer(body, np.uint8, min(PART_BYTES, len(body) - begin), begin)
        quotes = np.cumsum(window == _QUOTE) + in_string
        is_structure = quotes % 2 == 0
        opens = ((window == _OPENING[0]) | (window == _OPENING[1])) & is_structure
        closes = ((window == _CLOSING[0]) | (window == _CLOSING[1])) & is_structure
        depths = np.cumsum(opens.astype(np.int32) - closes) + depth
        positions = np.flatnonzero((window == _COMMA) & is_structure)
        levels = np.clip(depths[positions], 0, _MAX_DEPTH + 1)
        for level in np.flatnonzero(np.bincount(levels, minlength=1)):
            if 1 <= level <= _MAX_DEPTH:
                of_level = positions[levels == level]
                commas[level] += sorted({begin + int(of_level[0]), begin + int(of_level[-1])})
        in_string, depth = int(quotes[-1]) % 2, int(depths[-1])
    return commas


@dataclass(frozen=True)
class _Parts:
    """A body, and the positions of commas by depth at which it can be divided."""

    body: bytes
    commas: list[list[int]]

    def value(self, begin: int, end: int, depth: int) -> Any:
        """Parse the value between two positions. The commas of its elements have the depth `depth`."""
        text = self.body[begin:end]
        stripped = text.strip(_SPACES)
        if end - begin <= 2 * PART_BYTES or depth > _MAX_DEPTH or stripped[:1] not in (b"[", b"{"):
            return self._parse(begin, end)
        begin += len(text) - len(text.lstrip(_SPACES))
        end = begin + len(stripped)
        commas = self.commas[depth]
        inner = commas[bisect_right(commas, begin) : bisect_left(commas, end)]
        # Bodies whose brackets do not match are invalid, and have no commas where they are expected.
        if stripped[-1:] != (b"]" if stripped[:1] == b"[" else b"}"):
            return self._parse(begin, end)
        bounds = [begin, *inner, end - 1]
        parts = [(first + 1, last) for first, last in pairwise(bounds)]
        return self._array(parts, depth) if stripped[:1] == b"[" else self._object(parts, depth)

    def _array(self, parts: list[tuple[int, int]], depth: int) -> list[Any]:
        elements: list[Any] = []
        for begin, end in parts:
            if end - begin > 2 * PART_BYTES:
                elements.append(self.value(begin, end, depth + 1))
            else:
                elements += self._several(begin, end, parts, b"[%b]")
        return elements

    def _object(self, parts: list[tuple[int, int]], depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for begin, end in parts:
            colon = self._end_of_key(begin, end)
            if end - begin > 2 * PART_BYTES and colon:
                key = self._parse(begin, colon)
                members[key] = self.value(colon + 1, end, depth + 1)
            else:
                members |= self._several(begin, end, parts, b"{%b}")
        return members

    def _several(self, begin: int, end: int, parts: list[tuple[int, int]], form: bytes) -> Any:
        """Parse several elements of an array or members of an object."""
        if len(parts) > 1 and not self.body[begin:end].strip(_SPACES):
            raise self._error("a value is missing between two commas", begin)
        return self._parse(begin, end, form)

    def _parse(self, begin: int, end: int, form: bytes = b"%b") -> Any:
        """Parse a part of the body, in the brackets of `form`."""
        try:
            return orjson.loads(form % self.body[begin:end])
        except orjson.JSONDecodeError as error:
            raise self._error(error.msg, begin, error.pos - form.index(b"%")) from error

    def _error(self, message: str, begin: int, characters: int = 0) -> orjson.JSONDecodeError:
        """Return an error with the position in the whole body, which is a number of characters."""
        document = self.body.decode("utf-8", "replace")
        position = len(self.body[:begin].decode("utf-8", "replace")) + characters
        return orjson.JSONDecodeError(message, document, max(0, min(position, len(document))))

    def _end_of_key(self, begin: int, end: int) -> int | None:
        """Return the position of the colon after the key at `begin`, or None if there is no key."""
        quote = self.body.find(b'"', begin, end)
        closing = self.body.find(b'"', quote + 1, end) if quote >= 0 else -1
        colon = self.body.find(b":", closing, end) if closing >= 0 else -1
        is_key = colon >= 0 and not self.body[begin:quote].strip(_SPACES)
        return colon if is_key and not self.body[closing + 1 : colon].strip(_SPACES) else None
