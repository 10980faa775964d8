"""Parse requests whose rows are objects with named numbers. Handlers import this module into archives."""

from __future__ import annotations

import heapq
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from .handler import check_row_count

LARGEST = 1e100
"""The largest absolute value. Larger inputs may produce infinite sums, which JSON cannot represent."""

_MAX_NAMES = 20
"""The maximum number of unknown names in a message."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 300
_short.maxlist = _short.maxdict = 20
_short.maxlevel = 2


def read_rows(request: Any, singular: str, plural: str, names: Sequence[str]) -> np.ndarray:
    """Return the numbers of `{singular: {...}}` or `{plural: [{...}, ...]}`, float64 [rows, names].

    Raises ValueError with a message for the client if the request has another form.
    """
    if not isinstance(request, dict) or list(request) not in ([singular], [plural]):
        raise ValueError(f'send {{"{singular}": {{...}}}} or {{"{plural}": [...]}} with {", ".join(names)}')
    rows = [request[singular]] if singular in request else request[plural]
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{plural} must be a list with at least one {singular}")
    check_row_count(rows)
    return np.array([_numbers(row, singular, names) for row in rows], dtype=np.float64)


def _numbers(row: Any, singular: str, names: Sequence[str]) -> list[float]:
    if not isinstance(row, dict):
        raise ValueError(f"a {singular} is an object with {', '.join(names)}")
    missing = sorted(set(names) - set(row))
    # Sorting all names of a large object would hold the interpreter lock for too long.
    unknown = heapq.nsmallest(_MAX_NAMES, set(row) - set(names))
    if missing or unknown:
        problem = f"missing: {', '.join(missing)}" if missing else f"unknown: {', '.join(map(str, unknown))}"
        raise ValueError(f"a {singular} has exactly {', '.join(names)}; {problem}")
    for name in names:
        value = row[name]
        # The comparison is false for NaN.
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            raise ValueError(f"{name}: {_short.repr(value):.100} is not a number (of at most {LARGEST:g})")
    return [float(row[name]) for name in names]
