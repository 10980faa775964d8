"""The rows that a plot shows: all of them, or some of many."""

from __future__ import annotations

MAX_ROWS = 20_000
"""Rows from which lines and quantiles of a plot are computed, so that its time is constant."""


def sampling_step(rows: int, largest: int = MAX_ROWS) -> int:
    """Return the step between the selected rows, so that at most `largest` are selected."""
    return max(1, -(-rows // largest))


def sample_note(step: int) -> str:
    """Return the addition to a title that states which rows a plot shows; empty for all rows."""
    return f" · one row in {step:,}" if step > 1 else ""
