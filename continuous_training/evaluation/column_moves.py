"""How far the columns of two datasets differ, in measures that a yearly season changes only a little."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from continuous_training.artifacts.column_statistics import ColumnStatistics, Quantiles
from continuous_training.artifacts.measurements import ColumnDrift
from continuous_training.artifacts.population import ColumnMove
from continuous_training.evaluation.cumulative_counts import CumulativeCounts
from continuous_training.evaluation.vocabulary import vocabulary_change

CHANCE = 1e-6
"""The p-value of the drift test from which a difference is far beyond chance."""

LEAST_DISTANCE = 0.1
"""The least KS distance of a move. With many rows, a tiny difference is beyond chance, too."""

LEAST_CHANGE = 0.3
"""The least change of a vocabulary that is a move."""

_LEVELS = np.clip(np.linspace(0.005, 0.995, 100), 0.05, 0.95)
"""The quantiles that represent a column. The outer 5 % on each side count as the value at that quantile."""


def column_moves(
    drifts: Iterable[ColumnDrift],
    new: Mapping[str, ColumnStatistics],
    old: Mapping[str, ColumnStatistics],
) -> list[ColumnMove]:
    """Return the move of each column whose drift is far beyond chance.

    `drifts` is the drift of the columns, and `new` and `old` are their statistics.
    """
    moves = [
        _move(drift.column, new[drift.column], old[drift.column]) for drift in drifts if _beyond_chance(drift)
    ]
    return [
        move for move in moves if move.vocabulary_change is None or move.vocabulary_change >= LEAST_CHANGE
    ]


def _beyond_chance(drift: ColumnDrift) -> bool:
    return drift.p < CHANCE and (drift.test != "KS" or drift.statistic >= LEAST_DISTANCE)


def _move(column: str, new: ColumnStatistics, old: ColumnStatistics) -> ColumnMove:
    if new.word_counts is not None and old.word_counts is not None:
        # Most words are rare, so words that do not occur again are normal.
        return ColumnMove(
            column, vocabulary_change=vocabulary_change(np.array(new.word_counts), np.array(old.word_counts))
        )
    if new.counts is not None and old.counts is not None:
        return ColumnMove(column, lost_values=_lost_values(new.counts, old.counts))
    new_mean, new_std, old_mean, old_std = _moments(new, old)
    # A constant column has no scale of its own.
    scale, difference = old_std or new_std, new_mean - old_mean
    shift = difference / scale if scale else math.copysign(math.inf, difference) if difference else 0.0
    return ColumnMove(column, mean_shift=shift, spread_ratio=_ratio(new_std, old_std))


def _moments(new: ColumnStatistics, old: ColumnStatistics) -> tuple[float, float, float, float]:
    """Return mean and standard deviation of both columns, without the tails if the quantiles are stored."""
    if new.quantiles and old.quantiles:
        values = [_quantiles(quantiles) for quantiles in (new.quantiles, old.quantiles)]
        new_std, old_std = (float(value.std()) for value in values)
        if new_std or old_std:
            return float(values[0].mean()), new_std, float(values[1].mean()), old_std
    return new.mean or 0.0, new.std or 0.0, old.mean or 0.0, old.std or 0.0


def _quantiles(quantiles: Quantiles) -> np.ndarray:
    counts = CumulativeCounts.of(quantiles)
    shares = np.stack([counts.less, counts.less_or_equal], axis=1).ravel() / counts.total
    return np.asarray(np.interp(_LEVELS, shares, np.repeat(counts.values, 2)))


def _ratio(new: float, old: float) -> float:
    if old == 0:
        return 1.0 if new == 0 else math.inf
    return new / old


def _lost_values(new: Mapping[str, float], old: Mapping[str, float]) -> float:
    """Return the share of the old rows whose value does not occur in the new rows."""
    lost = sum(count for value, count in old.items() if not new.get(value))
    return float(lost / sum(old.values()))
