"""Tests of whether two models are equally good, or one is not worse, over rows that both answered."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from continuous_training.evaluation.metrics import RESAMPLES, Metric, chunks
from continuous_training.evaluation.promotion_rule import PromotionRule


def significance(
    rule: PromotionRule,
    metric: Metric,
    actual: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    seed: int,
) -> tuple[str, float] | None:
    """Return the name and p-value of the test that must bear out the interval; None where none fits.

    The p-value is two-sided, or twice a one-sided one, so that 1 minus the rule's confidence is its limit.
    """
    if rule.superiority and metric.name == "accuracy":
        return "McNemar's exact test", mcnemar(actual, challenger, champion)
    if rule.superiority:
        return "the paired permutation test", permutation(metric, actual, challenger, champion, seed)
    if metric.name == "accuracy":
        return "Tango's test of the margin", tango(actual, challenger, champion, rule.margin)
    return None


def mcnemar(actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> float:
    """Return the two-sided p-value of McNemar's test (1947) that both models are right equally often.

    Exact over the rows on which just one of them is right; 1.0 when there are none.
    """
    ours, theirs = challenger == actual, champion == actual
    wins, losses = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    n, k = wins + losses, min(wins, losses)
    if n == 0:
        return 1.0
    # Logarithms keep the binomial's terms from overflowing for thousands of rows.
    steps = np.log(np.arange(n, 0, -1)[:k]) - np.log(np.arange(1, k + 1))
    terms = np.concatenate([[0.0], np.cumsum(steps)]) - n * np.log(2)
    return float(min(1.0, 2 * np.exp(terms).sum()))


def tango(actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray, margin: float) -> float:
    """Return twice the one-sided p-value that the challenger's accuracy is lower by `margin` or more.

    Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design" (1998). Rows on which both models agree say little: where they never differ,
    about 4 / margin rows are needed, while a bootstrap would be certain.
    """
    ours, theirs = challenger == actual, champion == actual
    n, wins, losses = len(actual), int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    gap = -margin
    b, c = -wins - losses + (2 * n - wins + losses) * gap, -losses * gap * (1 - gap)
    lost = (np.sqrt(b**2 - 8 * n * c) - b) / (4 * n)
    spread = n * (2 * lost + gap * (1 - gap))
    if spread <= 0:
        return 1.0
    z = (wins - losses - n * gap) / np.sqrt(spread)
    return min(1.0, 2 * NormalDist().cdf(-float(z)))


def permutation(
    metric: Metric, actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray, seed: int
) -> float:
    """Return the two-sided p-value of the paired permutation test that the models are interchangeable.

    Fisher, "The Design of Experiments" (1935), section 21: under that hypothesis, which model gave which of
    two answers to a row is a coin's toss. Unlike the bootstrap it keeps its promise for few rows and heavy
    tails. The observed arrangement counts as one, so the value is never 0 (Phipson and Smyth, 2010).
    """
    ours, theirs = metric.rows(actual, challenger), metric.rows(actual, champion)
    step, begin, n = theirs - ours, ours.mean(axis=0), len(ours)
    total = begin + theirs.mean(axis=0)
    rng = np.random.default_rng(seed)

    def difference(means: np.ndarray) -> np.ndarray:
        return np.asarray(metric.value(means) - metric.value(total - means))

    with np.errstate(invalid="ignore", divide="ignore"):
        observed = abs(float(difference(begin)))
        if not np.isfinite(observed):
            return float("nan")
        as_large = 0
        for many in chunks(n):
            swapped = rng.integers(0, 2, (many, n), dtype=np.int8).astype(np.float64)
            # Sums in another order differ in their last digits; a tie must stay one.
            as_large += int((abs(difference(begin + swapped @ step / n)) >= observed * (1 - 1e-9)).sum())
    return (1 + as_large) / (1 + RESAMPLES)
