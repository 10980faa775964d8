"""The rows that a plot shows: all of them, or some of many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from continuous_training.core.stored_array import parts_of
from continuous_training.evaluation.predictions import Predictions
from continuous_training.report.report_data import ReportData

MAX_DRAWN_ROWS = 200_000
"""Rows that the plots of a regression are computed from, so that their memory is constant."""

_SELECTED_ROWS = 4096
"""Rows that are selected at a time."""

MAX_ROWS = 20_000
"""Rows from which lines and quantiles of a plot are computed, so that its time is constant."""


def sampling_step(rows: int, largest: int = MAX_ROWS) -> int:
    """Return the step between the selected rows, so that at most `largest` are selected."""
    return max(1, -(-rows // largest))


def sample_note(step: int) -> str:
    """Return the addition to a title that states which rows a plot shows; empty for all rows."""
    return f" · one row in {step:,}" if step > 1 else ""


def drawn_rows(data: ReportData) -> ReportData:
    """Return the data with the rows of the holdout that the plots of a regression are computed from."""
    step = sampling_step(len(data.predictions.actual), MAX_DRAWN_ROWS)
    if step == 1:
        return data

    def select(values: np.ndarray) -> np.ndarray:
        # A copy, because a part of a stored array is in memory only until the next one.
        parts = parts_of(values, rows=_SELECTED_ROWS * step)
        return np.concatenate([part[::step].copy() for (part,) in parts])

    predictions = data.predictions
    champion = None if predictions.champion is None else select(predictions.champion)
    return replace(
        data,
        predictions=Predictions(select(predictions.actual), select(predictions.challenger), champion),
        feature=data.feature and (data.feature[0], select(data.feature[1])),
        row_step=step,
    )
