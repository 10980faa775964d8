"""The scores of rows in parts give the same results as the scores of all rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from continuous_training.evaluation import bootstrap, row_scores
from continuous_training.evaluation.bootstrap import (
    MAX_UNGROUPED_ROWS,
    metric_interval,
    metric_intervals,
    paired_improvement,
)
from continuous_training.evaluation.margin_test import margin_test
from continuous_training.evaluation.metrics import Metric, metrics_over
from continuous_training.evaluation.paired_tests import permutation

ROWS = MAX_UNGROUPED_ROWS + 1000
LABELS = ("a", "b", "c", "never")
METRICS = [
    *metrics_over("regression", ()),
    *metrics_over("classification", LABELS),
    *metrics_over("classification", ()),
]


def results(metric: Metric, actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> list[float]:
    interval = metric_interval(metric, actual, challenger, 0)
    difference = paired_improvement(metric, actual, challenger, champion, 0)
    tests = [
        test(metric, actual, challenger, champion, value)
        for test, value in ((permutation, 0), (margin_test, 0.01))
    ]
    return [
        *(interval.value, interval.low, interval.high),
        *(difference.value, difference.low, difference.high),
        *tests,
    ]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: f"{metric.name} {len(metric.labels)}")
def test_parts_and_all_rows_give_the_same_results(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    if metric.higher_is_better and metric.bounded:
        # "c" occurs only in the last part.
        actual = np.array(["a", "b"])[random.integers(0, 2, ROWS)]
        actual[-10:] = "c"
        wrong = [random.random(ROWS) < share for share in (0.2, 0.21)]
        challenger, champion = (np.where(mask, "a", actual) for mask in wrong)
    else:
        actual = random.normal(size=ROWS)
        challenger, champion = (actual + scale * random.normal(size=ROWS) for scale in (1.0, 1.02))
    expected = results(metric, actual, challenger, champion)
    monkeypatch.setattr(row_scores, "PART_ROWS", 97)
    assert results(metric, actual, challenger, champion) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("rows", [50, 500, ROWS])
def test_metrics_that_share_resamples_have_the_same_intervals(
    task: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, draws = np.random.default_rng(0), []
    actual, predicted = random.normal(size=rows), random.normal(size=rows)
    if task == "classification":
        actual, predicted = (np.array(LABELS)[(values > 0).astype(int)] for values in (actual, predicted))
    groups = random.integers(0, 20, rows)
    metrics = metrics_over(task, LABELS)
    single = [
        {metric.name: metric_interval(metric, actual, predicted, 0, by) for metric in metrics}
        for by in (None, groups)
    ]
    drawn = bootstrap._bootstrap

    def count(*arguments: Any, **options: Any) -> Any:
        draws.append(1)
        return drawn(*arguments, **options)

    monkeypatch.setattr(bootstrap, "_bootstrap", count)
    shared = [metric_intervals(metrics, actual, predicted, 0, by) for by in (None, groups)]
    assert shared == single
    assert [list(intervals) for intervals in shared] == 2 * [[metric.name for metric in metrics]]
    assert len(draws) == 2 * len({metric.row_scores for metric in metrics}) < 2 * len(metrics)
