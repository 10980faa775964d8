"""The number of holdout rows from which a model that is identical to the champion passes a margin."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist

from continuous_training.core.errors import UserError
from continuous_training.evaluation.margin_test import t_tail
from continuous_training.evaluation.promotion_rule import METRIC_NAMES, PromotionRule

_RARE = 0.05
"""The share of runs in which the rarest class may have too few rows."""


def require_achievable(rule: PromotionRule, classes: int) -> None:
    """Raise UserError if no model can pass a margin or a guard of the rule on `minimum_rows` rows."""
    if problems := list(rule_problems(rule, classes)):
        raise UserError("the promotion rule cannot be fulfilled: " + "; ".join(problems))


def rule_problems(rule: PromotionRule, classes: int) -> Iterator[str]:
    """Yield each margin and guard of a rule that no model can pass on `minimum_rows` holdout rows.

    `classes` is the number of values of the label column of a classification.
    """
    limits = [(f"the guard {metric}", metric, limit) for metric, limit in rule.guards.items()]
    if not rule.superiority:
        limits.insert(0, ("the margin", rule.metric, rule.margin))
    for name, metric, limit in limits:
        if limit <= 0:
            yield f"{name} is {limit:g}, which not even an identical model passes: set a number above 0"
            continue
        rows = required_rows(metric, limit, rule.confidence, classes)
        if rows > rule.minimum_rows:
            yield (
                f"{name} of {limit:g} needs at least {rows} holdout rows, and minimum_rows is "
                f"{rule.minimum_rows}: with fewer rows not even an identical model passes. Set minimum_rows "
                f"(gate_rows) to {rows}, or allow a larger loss"
            )


def required_rows(metric: str, margin: float, confidence: float, classes: int) -> int:
    """Return the number of rows on which an identical model is shown not to be worse by `margin`.

    For a metric that averages over the classes, they are assumed to be equally frequent, and the rarest one
    has enough rows in 95 % of the runs. 2 for a regression, where the number depends on the errors.
    """
    if metric not in METRIC_NAMES["classification"]:
        return 2
    classes = 1 if metric == "accuracy" else max(classes, 2)
    too_few, enough = 1, 2
    while not _is_enough(enough, margin, confidence, classes):
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if _is_enough(middle, margin, confidence, classes):
            enough = middle
        else:
            too_few = middle
    return enough


def _is_enough(rows: int, margin: float, confidence: float, classes: int) -> bool:
    """Return whether the test of the margin passes if the models differ on none of the rows."""
    share = 1 / classes
    deviation = (rows * share * (1 - share)) ** 0.5
    rarest = rows * share - NormalDist().inv_cdf(1 - _RARE / classes) * deviation
    if rarest < 1:
        return False
    loss = rows / classes / rarest
    if loss <= margin:
        return True
    z = (rows * margin / (loss - margin)) ** 0.5
    tail = NormalDist().cdf(-z) if classes == 1 else t_tail(z, rows - 1)
    return 2 * tail <= 1 - confidence
