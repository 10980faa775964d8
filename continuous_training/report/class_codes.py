"""The classes of a classification as numbers, so that plots count them in time linear in the rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from continuous_training.report.formatting import clean


def class_codes(*columns: np.ndarray) -> tuple[list[str], list[np.ndarray]]:
    """Return the names of all classes, and for each column the index of each row's class.

    Numeric classes are in numeric order and come first, the others in alphabetical order. 3 and 3.0 are the
    same class.
    """
    encoded = [_encode(np.asarray(column).ravel()) for column in columns]
    names = sorted({_name(value) for values, _ in encoded for value in values}, key=_natural_order)
    index = {name: number for number, name in enumerate(names)}
    return names, [
        np.array([index[_name(value)] for value in values], dtype=np.intp)[codes] for values, codes in encoded
    ]


def _encode(labels: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """Return the distinct labels, and the index of each row's label."""
    if labels.dtype.kind in "OU":
        numbers: dict[Any, int] = {}
        indices = [numbers.setdefault(label, len(numbers)) for label in labels.tolist()]
        return list(numbers), np.array(indices, dtype=np.intp)
    values, codes = np.unique(labels, return_inverse=True)
    return list(values.tolist()), np.asarray(codes)


def _name(label: object) -> str:
    return clean(int(label) if isinstance(label, float) and label.is_integer() else label)


def _natural_order(name: str) -> tuple[bool, float, str]:
    try:
        value = float(name)
    except ValueError:
        value = math.nan
    return (False, value, name) if math.isfinite(value) else (True, 0.0, name)
