"""Simulated predictions of pairs of models with a known true difference.

Each generator returns (labels, challenger's predictions, champion's predictions) of `rows` rows. `gain` is
the true improvement of the challenger; 0 means that the models differ only by noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from continuous_training.artifacts.measurements import PairedTest
from continuous_training.evaluation.bootstrap import paired_improvement
from continuous_training.evaluation.comparison import SEED, ChampionComparison, Comparison
from continuous_training.evaluation.gate import decide
from continuous_training.evaluation.metrics import METRICS, Interval, Metric, find_metric, score
from continuous_training.evaluation.paired_tests import non_inferiority_test, paired_test
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


def classes(
    rng: np.random.Generator,
    rows: int,
    weights: Sequence[float],
    gain: float,
    worse_class: int | None = None,
    differ: float = 0.3,
) -> Answers:
    """Simulate two classifiers with an error rate of 0.1 in each class.

    `weights` are the frequencies of the classes, and `differ` is the share of the rows whose errors are
    independent. The gain applies to all classes, or to `worse_class`.
    """
    count = len(weights)
    actual = rng.choice(count, rows, p=weights)
    other_class = (actual + rng.integers(1, count, rows)) % count
    first = rng.random(rows)
    second = np.where(rng.random(rows) < differ, rng.random(rows), first)
    affected = True if worse_class is None else actual == worse_class
    challenger = np.where(first < 0.1 - gain * affected, other_class, actual)
    return actual, challenger, np.where(second < 0.1, other_class, actual)


def rare_losses(rng: np.random.Generator, rows: int, gain: float) -> Answers:
    """Simulate a challenger with 5 % less squared error on 98 % of the rows, and large losses on 2 %."""
    actual, error = rng.normal(0, 2, rows), rng.standard_normal(rows)
    rare = rng.random(rows) < 0.02
    loss = (0.05 * 0.98 - gain) / 0.02
    squared = np.where(rare, error**2 + loss, 0.95 * error**2)
    return actual, actual + np.sign(error) * np.sqrt(squared), actual + error


def heavier_tails(rng: np.random.Generator, rows: int, gain: float) -> Answers:
    """Simulate a challenger whose errors have heavier tails than the champion's, with the same variance."""
    actual, error = rng.normal(0, 2, rows), rng.standard_normal(rows)
    heavy = rng.standard_t(5, rows) / (5 / 3) ** 0.5
    return actual, actual + (1 - gain) * (0.6 * error + 0.8 * heavy), actual + error


def promoted(rule: PromotionRule, task: str, answers: Answers, groups: np.ndarray | None = None) -> bool:
    """Return whether the gate promotes the challenger with these predictions.

    With guards, the primary metric is certain to pass. `groups` has the number of each row's group.
    """
    actual, challenger, champion = answers
    metric = find_metric(task, rule.metric)
    value = score(metric, actual, challenger)
    comparison = Comparison(
        rows=len(actual),
        metrics={metric.name: Interval(value, value, value)},
        higher_is_better=metric.higher_is_better,
    )
    if rule.guards:
        improvements, tests = {metric.name: Interval(1, 1, 1)}, {}
        for name, limit in rule.guards.items():
            guard = find_metric(task, name)
            tests[name] = non_inferiority_test(guard, actual, challenger, champion, limit, groups)
            improvements[name] = _improvement(guard, rule, answers, tests[name], groups)
        opponent = ChampionComparison("1", improvements, guard_tests=tests)
    else:
        if rule.superiority and (value - score(metric, actual, champion)) * _sign(metric) <= 0:
            return False
        test = paired_test(rule, metric, actual, challenger, champion, SEED, groups)
        improvement = _improvement(metric, rule, answers, test, groups)
        opponent = ChampionComparison("1", {metric.name: improvement}, test)
    return decide(rule, replace(comparison, champion=opponent)).promoted


def _improvement(
    metric: Metric, rule: PromotionRule, answers: Answers, test: PairedTest, groups: np.ndarray | None
) -> Interval:
    """Return the interval of the improvement; zeros for equal predictions, or if the test already rejects."""
    if answers[1] is answers[2] or test.p > 1 - rule.confidence:
        return Interval(0, 0, 0)
    return paired_improvement(metric, *answers, SEED, rule.confidence, groups)


def _sign(metric: Metric) -> int:
    return 1 if metric.higher_is_better else -1


@dataclass(frozen=True)
class Case:
    """A kind of comparison: its name, task and metric, and the generator of the predictions for a gain.

    `worse` is a gain below zero, and `margin` is the resulting loss in the metric. `better` is a gain that
    the gate should promote. `enough` is the number of rows from which an identical model is not inferior; 0:
    not known, because the largest error of heavy tails has no typical size.
    """

    name: str
    task: str
    metric: str
    rows: tuple[int, ...]
    make: Callable[[np.random.Generator, int, float], Answers]
    worse: float
    margin: float
    better: float
    enough: int


def _labels(right: float, differ: float) -> Callable[[np.random.Generator, int, float], Answers]:
    return lambda rng, rows, gain: labels(rng, rows, right, differ, gain)


def _numbers(tail: float, shared: float) -> Callable[[np.random.Generator, int, float], Answers]:
    return lambda rng, rows, gain: numbers(rng, rows, tail, shared, gain)


def _classes(
    weights: Sequence[float], worse_class: int | None = None
) -> Callable[[np.random.Generator, int, float], Answers]:
    return lambda rng, rows, gain: classes(rng, rows, weights, gain, worse_class)


# 1.1 times the squared error. The targets have a variance of 4, Student's t with 3 degrees of freedom of 3.
_TENTH = 1 - 1.1**0.5
_MANY, _FEW = (50, 200, 1000), (30, 100, 400)

CASES = (
    Case("accuracy 0.99, differing on 1 %", "classification", "accuracy", _MANY,
         _labels(0.985, 0.01), -0.01, 0.01, 0.01, 381),
    Case("accuracy 0.90, differing on 5 %", "classification", "accuracy", _MANY,
         _labels(0.9, 0.05), -0.02, 0.02, 0.03, 189),
    Case("accuracy 0.70, differing on 30 %", "classification", "accuracy", _MANY,
         _labels(0.7, 0.3), -0.05, 0.05, 0.1, 73),
    Case("balanced accuracy, two classes", "classification", "balanced_accuracy", _MANY,
         _classes((0.5, 0.5)), -0.04, 0.04, 0.05, 117),
    Case("balanced accuracy, worse in a class of 10 %", "classification", "balanced_accuracy", _MANY,
         _classes((0.1, 0.9), 0), -0.1, 0.05, 0.08, 500),
    Case("macro F1, ten classes", "classification", "macro_f1", _MANY,
         _classes((0.1,) * 10), -0.04, 0.04, 0.05, 207),
    Case("R², normal errors", "regression", "r2", _FEW, _numbers(np.inf, 0.5), _TENTH, 0.025, 0.1, 600),
    Case("R², heavy tails (t, 3 df)", "regression", "r2", _FEW, _numbers(3, 0.5), _TENTH, 0.075, 0.1, 0),
    Case("MSE, nearly the same model", "regression", "mse", _FEW,
         _numbers(np.inf, 0.99), _TENTH, 0.1, 0.1, 600),
    Case("MSE, rare large losses", "regression", "mse", _FEW, rare_losses, -0.1, 0.1, 0.049, 600),
    Case("MSE, challenger with heavier tails", "regression", "mse", _FEW, heavier_tails, _TENTH, 0.1, 0.1, 0),
    Case("MAE, normal errors", "regression", "mae", _FEW, _numbers(np.inf, 0.9), _TENTH,
         -_TENTH * (2 / np.pi) ** 0.5, 0.1, 400),
)  # fmt: skip


def share_promoted(
    case: Case,
    rows: int,
    gain: float | None,
    comparisons: int,
    seed: int,
    margin: float | None = None,
    guard: bool = False,
) -> float:
    """Return the share of simulated challengers that the gate promotes; identical ones if `gain` is None.

    The rule requires an improvement, or with `margin` a loss that is at most the margin: of the primary
    metric, or with `guard` of a guard metric.
    """
    rng = np.random.default_rng([seed, rows])
    primary = next(m for m in METRICS[case.task] if (m.name == case.metric) is not guard)
    rule = PromotionRule(primary.name, floor=-1e9 * _sign(primary), minimum_rows=2)
    if guard:
        rule = replace(rule, guards={case.metric: margin or 0.0})
    elif margin is not None:
        rule = replace(rule, superiority=False, margin=margin)
    total = 0
    for _ in range(comparisons):
        actual, challenger, champion = case.make(rng, rows, gain or 0.0)
        total += promoted(rule, case.task, (actual, champion if gain is None else challenger, champion))
    return total / comparisons
