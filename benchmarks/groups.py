"""Simulated comparisons on a holdout of groups whose rows depend on each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.simulated import Answers, promoted
from continuous_training.evaluation.promotion_rule import PromotionRule

SIZE = 10
"""The mean number of rows of a group."""

COUNTS = (20, 50, 200)
"""The numbers of groups."""

Effects = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class GroupCase:
    """How the models differ between the groups: the name, the metric, and the effects with a mean of 0.

    The effect of a group is the challenger's gain on its rows: in the probability of a correct row, or in the
    mean squared error.
    """

    name: str
    task: str
    metric: str
    margin: float
    effects: Effects


def _normal(deviation: float) -> Effects:
    return lambda rng, count: rng.normal(0, deviation, count)


def _rare_losses(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return small gains in nine of ten groups and large losses in the others."""
    return np.where(rng.random(count) < 0.1, -0.27, 0.03)


CASES = (
    GroupCase("accuracy, groups differ", "classification", "accuracy", 0.05, _normal(0.1)),
    GroupCase("accuracy, worse in one of ten groups", "classification", "accuracy", 0.05, _rare_losses),
    GroupCase("balanced accuracy, groups differ", "classification", "balanced_accuracy", 0.05, _normal(0.1)),
    GroupCase("MSE, groups differ", "regression", "mse", 0.1, _normal(0.3)),
    GroupCase(
        "R², worse in one of ten groups", "regression", "r2", 0.05, lambda rng, n: 2 * _rare_losses(rng, n)
    ),
)


def simulate(
    name: str,
    groups: int,
    comparisons: int,
    seed: int,
    *,
    gain: float = 0.0,
    limit: bool = False,
    by_group: bool = True,
) -> float:
    """Return the share of challengers that are promoted.

    With `limit`, the rule is non-inferiority and the challenger is worse by exactly the margin. Without
    `by_group`, the gate treats the rows as independent.
    """
    case = next(case for case in CASES if case.name == name)
    sign = -1 if case.metric == "mse" else 1
    rule = PromotionRule(case.metric, floor=-1e9 * sign, minimum_rows=2)
    if limit:
        rule = PromotionRule(case.metric, -1e9 * sign, case.margin, superiority=False, minimum_rows=2)
        gain = -case.margin
    rng = np.random.default_rng([seed, groups])
    total = 0
    for _ in range(comparisons):
        answers, numbers = _draw(case, rng, groups, gain)
        total += promoted(rule, case.task, answers, numbers if by_group else None)
    return total / comparisons


def _draw(case: GroupCase, rng: np.random.Generator, groups: int, gain: float) -> tuple[Answers, np.ndarray]:
    """Return the answers and the number of each row's group. Most groups are small, and some are large."""
    numbers = np.repeat(np.arange(groups), rng.geometric(1 / SIZE, groups))
    effects = (case.effects(rng, groups) + gain)[numbers]
    if case.task == "classification":
        labels, draw = rng.integers(0, 2, len(numbers)), rng.random(len(numbers))
        right = [draw < 0.7 + part * effects for part in (0.5, -0.5)]
        challenger, champion = (np.where(correct, labels, 1 - labels) for correct in right)
        return (labels, challenger, champion), numbers
    # The variance of the labels is 1 for R², so that a gain has the unit of the metric.
    actual, noise = rng.normal(0, 1, len(numbers)), rng.normal(0, 1, len(numbers))
    first, second = (np.sqrt(np.maximum(0.8 + part * effects, 0.01)) for part in (-0.5, 0.5))
    return (actual, actual + noise * first, actual + noise * second), numbers
