"""Test whether a challenger is worse than the champion by a margin, with groups of dependent rows.

The groups are the independent observations: with a split by group, the holdout is a sample of groups.
"""

from __future__ import annotations

import numpy as np

from continuous_training.evaluation.margin_test import mixture_p_value, row_differences
from continuous_training.evaluation.metrics import Metric
from continuous_training.evaluation.moments import Moments
from continuous_training.evaluation.row_scores import sums_by_group

FEW_GROUPS = 100
"""Below this number of groups, the p-value is multiplied by the ratio of both numbers."""

_LARGEST_LOSS = 2
"""The loss of a group that the holdout may lack, as a multiple of the largest difference of its groups."""


def group_test(
    metric: Metric,
    actual: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    margin: float,
    groups: np.ndarray,
) -> float:
    """Return twice the one-sided p-value that the metric is worse by `margin` or more.

    `groups` has the number of each row's group, from 0. As the test of rows, this is a score test: its
    hypothesis contains rare groups with a large loss. Both constants are chosen so that a challenger that is
    much worse in rare groups passes at most at the promised rate (benchmarks/groups.py). NaN if the metric is
    not finite. 1.0 with less than two groups.
    """
    differences = row_differences(metric, actual, challenger, champion)
    if differences is None:
        return float("nan")
    count = int(groups.max()) + 1
    if count < 2:
        return 1.0
    # Scaled so that the mean over the groups is the mean over the rows, for any sizes of the groups.
    parts = (
        (numbers, differences.of(scores)[:, None] + margin)
        for numbers, scores in differences.scores.with_groups(groups)
    )
    values = sums_by_group(parts, count)[:, 0] * count / len(groups) - margin
    loss = -max(_LARGEST_LOSS * float(np.abs(values).max()), 2 * margin)
    return min(1.0, 2 * max(1.0, FEW_GROUPS / count) * mixture_p_value(Moments.of(values), loss, margin))
