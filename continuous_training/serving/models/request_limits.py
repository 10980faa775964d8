"""Limits of one request: its rows, and the JSON values with which they can be written."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from continuous_training.artifacts.bundle import TensorSpec
from continuous_training.serving.json_limits import DEFAULT_LIMITS, JsonLimits

MAX_ROWS_PER_REQUEST = 1024
"""The maximum number of rows in one request. It limits the time and the size of one response."""


def json_limits(inputs: Sequence[TensorSpec]) -> JsonLimits:
    """Return limits that allow `MAX_ROWS_PER_REQUEST` rows of a model's inputs, and at least the default.

    A row with at most one further axis may be an object with a key for each element.
    """
    values = containers = 1
    for spec in inputs:
        axes = [max(size, 1) for size in spec.shape[1:]]
        elements = prod(axes)
        values += elements
        containers += sum(prod(axes[:depth]) for depth in range(len(axes)))
        if len(axes) < 2 or spec.datatype == "BYTES":
            containers += elements
    return JsonLimits(
        max(DEFAULT_LIMITS.values, MAX_ROWS_PER_REQUEST * values),
        max(DEFAULT_LIMITS.containers, MAX_ROWS_PER_REQUEST * containers),
    )
