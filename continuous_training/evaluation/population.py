"""Decide whether today's data are a different population than the data that the champion was promoted on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from continuous_training.artifacts.column_statistics import ColumnStatistics
from continuous_training.artifacts.measurements import ColumnDrift, Interval
from continuous_training.artifacts.population import ColumnMove, PopulationChange, ScoreChange
from continuous_training.evaluation.column_moves import column_moves
from continuous_training.evaluation.drift import column_drift
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.evaluation.score_change import STANDARD_ERRORS, score_change


@dataclass(frozen=True)
class ObservedData:
    """What is known about a dataset, and about the champion on its holdout.

    `score` is the champion's primary metric; None if it is not known. `train_rows`, `holdout_rows` and
    `gap_rows` (the gap of a split by time) count the rows, and `statistics` describes the columns of the
    training rows.
    """

    train_rows: int
    holdout_rows: int | None
    statistics: Mapping[str, ColumnStatistics]
    score: Interval | None
    gap_rows: int = 0


def population_change(
    rule: PromotionRule,
    champion: str,
    promoted: ObservedData,
    today: ObservedData,
    label_column: str,
    ignored_columns: frozenset[str] = frozenset(),
) -> PopulationChange:
    """Return the changes since the champion was promoted, and which bounds of the rule it exceeds.

    `promoted` describes the data that the champion was promoted on. `ignored_columns` may move without
    bounds, for example the key.
    """
    rows = promoted.train_rows, today.train_rows
    if promoted.holdout_rows is not None and today.holdout_rows is not None:
        rows = (
            rows[0] + promoted.holdout_rows + promoted.gap_rows,
            rows[1] + today.holdout_rows + today.gap_rows,
        )
    ignored = {f"{name}{part}" for name in ignored_columns for part in ("", " characters", " words")}
    old, new = (
        {name: column for name, column in data.statistics.items() if name not in ignored}
        for data in (promoted, today)
    )
    drifts = column_drift(new, old)
    change = PopulationChange(
        champion=champion,
        rows=rows[1],
        champion_rows=rows[0],
        score=_score(rule, promoted, today, label_column),
        columns=tuple(column_moves(drifts, new, old)),
        not_compared=tuple(_not_compared(promoted, drifts, new)),
    )
    return replace(change, exceeded=tuple(_exceeded(rule, change)))


def _score(
    rule: PromotionRule, promoted: ObservedData, today: ObservedData, label_column: str
) -> ScoreChange | None:
    if promoted.score is None or today.score is None:
        return None
    today_rows = today.holdout_rows or 0
    rows = promoted.holdout_rows or today_rows, today_rows
    label = promoted.statistics.get(label_column)
    return score_change(rule.metric, promoted.score, today.score, rows, label.std if label else None)


def _not_compared(promoted: ObservedData, drifts: list[ColumnDrift], new: Iterable[str]) -> Iterator[str]:
    """Yield what is unknown about the champion's data, for example because an earlier version trained it."""
    if promoted.score is None:
        yield "the champion's score when it was promoted is not recorded"
    if columns := sorted(set(new) - {drift.column for drift in drifts}):
        yield f"the champion's data have no comparable statistics of {', '.join(columns)}"


def _exceeded(rule: PromotionRule, change: PopulationChange) -> Iterator[str]:
    """Yield a text for each bound of the rule that the change exceeds."""
    score = change.score
    limit = rule.score_fall
    if score and limit is not None and score.fall > limit and score.standard_errors > STANDARD_ERRORS:
        yield (
            f"{score.metric} of champion {change.champion} was {score.promoted.value:.4g} when it was "
            f"promoted and is {score.today.value:.4g} today (a fall of {score.fall:.3g}; limit {limit:g})"
        )
    yield from _exceeded_rows(rule, change)
    for column in change.columns:
        yield from _exceeded_column(rule, column)


def _exceeded_rows(rule: PromotionRule, change: PopulationChange) -> Iterator[str]:
    if not change.champion_rows:
        return
    ratio = change.rows / change.champion_rows
    text = f"{change.rows} rows, {change.champion_rows} when champion {change.champion} was promoted"
    if rule.rows_fall is not None and ratio < rule.rows_fall:
        yield f"{text} (at least {rule.rows_fall:g} times as many are required)"
    if rule.rows_rise is not None and ratio > rule.rows_rise:
        yield f"{text} (at most {rule.rows_rise:g} times as many are allowed)"


def _exceeded_column(rule: PromotionRule, column: ColumnMove) -> Iterator[str]:
    name, shift, spread, lost = column.column, column.mean_shift, column.spread_ratio, column.lost_values
    if shift is not None and rule.mean_shift is not None and abs(shift) > rule.mean_shift:
        yield f"{name}: the mean moved by {shift:+.3g} standard deviations (limit {rule.mean_shift:g})"
    if spread is not None and rule.spread_ratio is not None:
        limit = rule.spread_ratio
        if spread > limit or spread * limit < 1:
            yield (
                f"{name}: the standard deviation is {spread:.3g} times the champion's (at most "
                f"{limit:g} times as large or small)"
            )
    if lost is not None and rule.lost_values is not None and lost > rule.lost_values:
        yield (
            f"{name}: the values of {lost:.3g} of the champion's rows no longer occur (limit "
            f"{rule.lost_values:g})"
        )
    change = column.vocabulary_change
    if change is not None and rule.vocabulary_change is not None and change > rule.vocabulary_change:
        limit = rule.vocabulary_change
        yield f"{name}: the words changed by {change:.3g} (limit {limit:g}; 1: no word in common)"
