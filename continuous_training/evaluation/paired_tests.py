"""Statistical tests of two models on the same rows: superiority and non-inferiority."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from continuous_training.artifacts.measurements import PairedTest
from continuous_training.core.stored_array import parts_of
from continuous_training.evaluation.bootstrap import (
    GROUPS,
    MAX_UNGROUPED_ROWS,
    RESAMPLES,
    resample_batches,
)
from continuous_training.evaluation.group_test import group_test
from continuous_training.evaluation.margin_test import margin_test
from continuous_training.evaluation.metrics import Metric
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.evaluation.row_scores import RowScores


def paired_test(
    rule: PromotionRule,
    metric: Metric,
    actual: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    seed: int,
    groups: np.ndarray | None = None,
) -> PairedTest:
    """Return the test that must confirm the interval of the improvement in the primary metric.

    For superiority in a metric other than accuracy, a score test is made first, and before it a test of the
    groups with `groups`, the number of each row's group from 0. The first test that fails is the result. The
    p-value is two-sided, or twice a one-sided one, so that its limit is 1 minus the
    rule's confidence.
    """
    if not rule.superiority:
        return non_inferiority_test(metric, actual, challenger, champion, rule.margin, groups)
    if groups is not None:
        p = group_test(metric, actual, challenger, champion, 0.0, groups)
        if not p <= 1 - rule.confidence:
            return _group_result(p, groups)
    return _superiority_test(rule, metric, actual, challenger, champion, seed)


def _superiority_test(
    rule: PromotionRule,
    metric: Metric,
    actual: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    seed: int,
) -> PairedTest:
    if metric.name == "accuracy":
        return PairedTest("McNemar's exact test", mcnemar(actual, challenger, champion))
    # The permutation test misses rare large losses of a model that is slightly better on most rows.
    test = PairedTest("score test", margin_test(metric, actual, challenger, champion, 0.0))
    if test.p > 1 - rule.confidence:
        return test
    return PairedTest("paired permutation test", permutation(metric, actual, challenger, champion, seed))


def non_inferiority_test(
    metric: Metric,
    actual: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    margin: float,
    groups: np.ndarray | None = None,
) -> PairedTest:
    """Return the test that the challenger is not worse by `margin`; its p-value is twice a one-sided one.

    With `groups`, the number of each row's group from 0, a test of the groups must confirm it as well.
    """
    if metric.name == "accuracy":
        test = PairedTest("Tango's test of the margin", tango(actual, challenger, champion, margin))
    else:
        p = margin_test(metric, actual, challenger, champion, margin)
        test = PairedTest("score test of the margin", p)
    if groups is None:
        return test
    p = group_test(metric, actual, challenger, champion, margin, groups)
    return test if p <= test.p else _group_result(p, groups)


def _group_result(p: float, groups: np.ndarray) -> PairedTest:
    return PairedTest(f"score test of {int(groups.max()) + 1} groups", p)


def mcnemar(actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> float:
    """Return the two-sided p-value of McNemar's test (1947) that both models are equally often correct.

    Exact over the rows on which exactly one model is correct; 1.0 without such rows.
    """
    wins, losses = _discordant(actual, challenger, champion)
    n, k = wins + losses, min(wins, losses)
    if n == 0:
        return 1.0
    # Logarithms prevent an overflow of the binomial's terms for thousands of rows.
    steps = np.log(np.arange(n, 0, -1)[:k]) - np.log(np.arange(1, k + 1))
    terms = np.concatenate([[0.0], np.cumsum(steps)]) - n * np.log(2)
    return float(min(1.0, 2 * np.exp(terms).sum()))


def tango(actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray, margin: float) -> float:
    """Return twice the one-sided p-value that the challenger's accuracy is lower by `margin` or more.

    Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design" (1998). Rows on which both models agree carry little information: if the models
    never differ, about 4 / margin rows are needed, where a bootstrap would report certainty.
    """
    n = len(actual)
    wins, losses = _discordant(actual, challenger, champion)
    gap = -margin
    b, c = -wins - losses + (2 * n - wins + losses) * gap, -losses * gap * (1 - gap)
    # The discriminant is never negative, except by rounding.
    loss_rate = (np.sqrt(max(b**2 - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * loss_rate + gap * (1 - gap))
    if variance <= 0:
        return 1.0
    z = (wins - losses - n * gap) / np.sqrt(variance)
    return min(1.0, 2 * NormalDist().cdf(-float(z)))


def _discordant(actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> tuple[int, int]:
    """Return the number of rows on which only the challenger, and only the champion, is correct."""
    wins = losses = 0
    for labels, challenger_part, champion_part in parts_of(actual, challenger, champion):
        challenger_correct, champion_correct = challenger_part == labels, champion_part == labels
        wins += int((challenger_correct & ~champion_correct).sum())
        losses += int((~challenger_correct & champion_correct).sum())
    return wins, losses


def permutation(
    metric: Metric, actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray, seed: int
) -> float:
    """Return the two-sided p-value of the paired permutation test that the models are interchangeable.

    Under that hypothesis, the two predictions of a row are assigned to the models by a coin toss (Fisher,
    "The Design of Experiments", 1935, section 21). Unlike the bootstrap, the test keeps its error rate for
    few rows and heavy tails. The observed assignment is counted, so the value is never 0 (Phipson and Smyth,
    2010). NaN if the metric is not finite.
    """
    scores, n = RowScores.of(metric, actual, challenger, champion), len(actual)
    start, champion_means = np.split(scores.means(), 2)
    total = start + champion_means
    rng = np.random.default_rng(seed)
    # One coin for a random group of rows is as valid as one for each row, and takes constant time.
    sums = scores.group_sums(GROUPS, rng)[0] if n > MAX_UNGROUPED_ROWS else scores.all()
    challenger_sums, champion_sums = np.split(sums, 2, axis=1)
    swap = champion_sums - challenger_sums

    def difference(means: np.ndarray) -> np.ndarray:
        return np.asarray(metric.from_means(means) - metric.from_means(total - means))

    with np.errstate(invalid="ignore", divide="ignore"):
        observed = abs(float(difference(start)))
        if not np.isfinite(observed):
            return float("nan")
        as_large = 0
        for size in resample_batches(len(swap)):
            swapped = rng.integers(0, 2, (size, len(swap)), dtype=np.int8).astype(np.float64)
            # The order of a sum changes its last digits; the tolerance keeps a tie a tie.
            as_large += int((abs(difference(start + swapped @ swap / n)) >= observed * (1 - 1e-9)).sum())
    return (1 + as_large) / (1 + RESAMPLES)
