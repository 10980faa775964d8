"""Simulated predictions of pairs of models with a known true difference.

Each generator returns (labels, challenger's predictions, champion's predictions) of `rows` rows. `gain` is
the true improvement of the challenger; 0 means that the models differ only by noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from continuous_training.evaluation.comparison import SEED, ChampionComparison, Comparison
from continuous_training.evaluation.gate import decide
from continuous_training.evaluation.metrics import Interval, find_metric, paired_improvement, score
from continuous_training.evaluation.paired_tests import paired_test
from continuous_training.evaluation.promotion_rule import PromotionRule

Answers = tuple[np.ndarray, np.ndarray, np.ndarray]


def labels(rng: np.random.Generator, rows: int, right: float, differ: float, gain: float) -> Answers:
    """Simulate two classifiers with the accuracy `right` whose correctness differs on the share `differ`."""
    actual = rng.integers(0, 2, rows)
    kind = rng.choice(4, rows, p=[right - differ / 2, (differ + gain) / 2, (differ - gain) / 2,
                                  1 - right - differ / 2])  # fmt: skip
    challenger, champion = np.isin(kind, (0, 1)), np.isin(kind, (0, 2))
    return actual, np.where(challenger, actual, 1 - actual), np.where(champion, actual, 1 - actual)


def numbers(rng: np.random.Generator, rows: int, tail: float, shared: float, gain: float) -> Answers:
    """Simulate two regressions with errors of Student's t (`tail` degrees of freedom, inf: normal).

    `shared` is the correlation of their errors; `gain` is the share of the champion's error that the
    challenger does not make.
    """

    def noise() -> np.ndarray:
        noise_values = rng.standard_normal(rows) if np.isinf(tail) else rng.standard_t(tail, rows)
        return np.asarray(noise_values)

    actual = rng.normal(0, 2, rows)
    common = np.sqrt(shared) * noise()
    challenger, champion = (common + np.sqrt(1 - shared) * noise() for _ in range(2))
    return actual, actual + (1 - gain) * challenger, actual + champion


def promoted(rule: PromotionRule, task: str, answers: Answers) -> bool:
    """Return whether the gate promotes the challenger with these predictions."""
    actual, challenger, champion = answers
    metric = find_metric(task, rule.metric)
    improvement = paired_improvement(metric, actual, challenger, champion, SEED, rule.confidence)
    # If the interval already rejects the challenger, the test takes time and cannot change the decision.
    interval_passes = improvement.low > (0 if rule.superiority else -rule.margin)
    test = paired_test(rule, metric, actual, challenger, champion, SEED) if interval_passes else None
    value = score(metric, actual, challenger)
    comparison = Comparison(
        rows=len(actual),
        metrics={metric.name: Interval(value, value, value)},
        higher_is_better=metric.higher_is_better,
        champion=ChampionComparison("1", {metric.name: improvement}, test),
    )
    return decide(rule, comparison).promoted


@dataclass(frozen=True)
class Case:
    """A kind of comparison: its name, task and metric, and the generator of the predictions for a gain.

    `worse` is a gain below zero, and `margin` is the resulting loss in the metric. `better` is a gain that
    the gate should promote.
    """

    name: str
    task: str
    metric: str
    rows: tuple[int, ...]
    make: Callable[[np.random.Generator, int, float], Answers]
    worse: float
    margin: float
    better: float


def _labels(right: float, differ: float) -> Callable[[np.random.Generator, int, float], Answers]:
    return lambda rng, rows, gain: labels(rng, rows, right, differ, gain)


def _numbers(tail: float, shared: float) -> Callable[[np.random.Generator, int, float], Answers]:
    return lambda rng, rows, gain: numbers(rng, rows, tail, shared, gain)


# 1.1 times the squared error. The targets have a variance of 4, Student's t with 3 degrees of freedom of 3.
_TENTH = 1 - 1.1**0.5
_MANY, _FEW = (50, 200, 1000), (30, 100, 400)

CASES = (
    Case("accuracy 0.99, differing on 1 %", "classification", "accuracy", _MANY,
         _labels(0.985, 0.01), -0.01, 0.01, 0.01),
    Case("accuracy 0.90, differing on 5 %", "classification", "accuracy", _MANY,
         _labels(0.9, 0.05), -0.02, 0.02, 0.03),
    Case("accuracy 0.70, differing on 30 %", "classification", "accuracy", _MANY,
         _labels(0.7, 0.3), -0.05, 0.05, 0.1),
    Case("R², normal errors", "regression", "r2", _FEW, _numbers(np.inf, 0.5), _TENTH, 0.025, 0.1),
    Case("R², heavy tails (t, 3 df)", "regression", "r2", _FEW, _numbers(3, 0.5), _TENTH, 0.075, 0.1),
    Case("MSE, nearly the same model", "regression", "mse", _FEW, _numbers(np.inf, 0.99), _TENTH, 0.1, 0.1),
)  # fmt: skip


def share_promoted(
    case: Case, rows: int, gain: float, comparisons: int, seed: int, margin: float | None = None
) -> float:
    """Return the share of simulated challengers that the gate promotes.

    The rule requires an improvement, or with `margin` a loss that is at most the margin.
    """
    rng = np.random.default_rng([seed, rows])
    floor = 1e9 if case.metric == "mse" else -1e9
    rule = PromotionRule(case.metric, floor, margin or 0.0, superiority=margin is None, minimum_rows=2)
    verdicts = (promoted(rule, case.task, case.make(rng, rows, gain)) for _ in range(comparisons))
    return sum(verdicts) / comparisons
