"""The scores of rows in parts give the same results as the scores of all rows at once."""

from __future__ import annotations

import numpy as np
import pytest

from continuous_training.evaluation import row_scores
from continuous_training.evaluation.bootstrap import MAX_UNGROUPED_ROWS, metric_interval, paired_improvement
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
