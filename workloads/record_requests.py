"""Requests whose rows are objects of named numbers; travels in the archives of the handlers that use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LARGEST = 1e100
"""Beyond this a weighted sum may be infinite, for which JSON has no word."""


def read_rows(request: Any, one: str, several: str, names: Sequence[str]) -> np.ndarray:
    """Return the numbers of `{one: {...}}` or `{several: [{...}, ...]}`: float64 [rows, names].

    Raises ValueError, with a message for the caller, for anything else.
    """
    if not isinstance(request, dict) or list(request) not in ([one], [several]):
        raise ValueError(f'send {{"{one}": {{...}}}} or {{"{several}": [...]}} with {", ".join(names)}')
    rows = [request[one]] if one in request else request[several]
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{several} is a list that holds at least one {one}")
    return np.array([_numbers(row, one, names) for row in rows], dtype=np.float64)


def _numbers(row: Any, one: str, names: Sequence[str]) -> list[float]:
    if not isinstance(row, dict):
        raise ValueError(f"a {one} is an object with {', '.join(names)}")
    wrong = sorted(set(names) - set(row)) or sorted(set(row) - set(names))
    if wrong:
        raise ValueError(f"a {one} has exactly {', '.join(names)}; look at {', '.join(map(str, wrong))}")
    for name in names:
        value = row[name]
        # The comparison is false for NaN, and for a whole number that no float can hold.
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            raise ValueError(f"{name}: {value!r:.100} is not a number (of at most {LARGEST:g})")
    return [float(row[name]) for name in names]
