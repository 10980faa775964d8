"""Check input tensors against the ranges that the handler declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from continuous_training.artifacts.bundle import TensorSpec
from continuous_training.serving.errors import RequestError


def check_ranges(tensors: Mapping[str, np.ndarray], signature: Sequence[TensorSpec]) -> None:
    """Raise RequestError for an element outside the range of its tensor. NaN is outside every range."""
    for spec in signature:
        if spec.minimum is None and spec.maximum is None:
            continue
        array = tensors.get(spec.name)
        if array is None or not array.size:
            continue
        low = -np.inf if spec.minimum is None else spec.minimum
        high = np.inf if spec.maximum is None else spec.maximum
        if not (low <= array.min() and array.max() <= high):
            value = array[~((array >= low) & (array <= high))][0]
            raise RequestError(
                f"input {spec.name!r}: {value:g} is out of range; send numbers from {low:g} to {high:g}"
            )
