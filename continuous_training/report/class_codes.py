"""The classes of a classification as numbers, so that plots count them in time linear in the rows."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from continuous_training.core.stored_array import parts_of
from continuous_training.report.formatting import clean


class ClassPairs(NamedTuple):
    """The names of all classes, and the number of rows of each pair of an actual and a predicted class.

    A pair consists of the indices of its classes in `names`. Numeric classes are in numeric order and come
    first, the others in alphabetical order. 3 and 3.0 are the same class.
    """

    names: list[str]
    actual: np.ndarray
    predicted: np.ndarray
    rows: np.ndarray


def class_pairs(actual: np.ndarray, predicted: np.ndarray) -> ClassPairs:
    """Count the pairs of classes of all rows."""
    counts = Counter[tuple[str, str]]()
    for columns in parts_of(actual.ravel(), predicted.ravel()):
        (actual_values, actual_codes), (values, codes) = map(_encode, columns)
        pairs, numbers = np.unique(actual_codes * len(values) + codes, return_counts=True)
        for pair, number in zip(pairs.tolist(), numbers.tolist(), strict=True):
            row, column = divmod(pair, len(values))
            counts[_name(actual_values[row]), _name(values[column])] += number
    names = sorted({name for pair in counts for name in pair}, key=_natural_order)
    index = {name: number for number, name in enumerate(names)}
    codes = np.array([[index[row], index[column]] for row, column in counts], dtype=np.intp).reshape(-1, 2)
    return ClassPairs(names, codes[:, 0], codes[:, 1], np.array(list(counts.values()), dtype=np.int64))


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
