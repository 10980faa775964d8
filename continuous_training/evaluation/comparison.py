"""Compare the challenger with the champion on the same holdout rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from continuous_training.artifacts.measurements import PairedTest, ServingCost, SliceMetric
from continuous_training.artifacts.population import PopulationChange
from continuous_training.core.errors import UserError
from continuous_training.evaluation.bootstrap import metric_interval, metric_intervals, paired_improvement
from continuous_training.evaluation.metrics import METRICS, Interval, Metric, find_metric, metrics_over
from continuous_training.evaluation.paired_tests import mcnemar, non_inferiority_test, paired_test
from continuous_training.evaluation.predictions import Predictions
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.evaluation.row_scores import RowScores

SEED = 0


@dataclass(frozen=True)
class ChampionComparison:
    """The champion's metrics, and the challenger's improvement over it.

    `improvements` has the primary metric and the guard metrics; positive is better. `test` is the paired test
    of the primary metric, and `guard_tests` has the tests of the guard metrics. `mcnemar_p` is None for a
    regression.
    """

    version: str
    improvements: Mapping[str, Interval]
    test: PairedTest | None = None
    cost: ServingCost | None = None
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    mcnemar_p: float | None = None
    guard_tests: Mapping[str, PairedTest] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """All measurements that the gate decides on.

    `metrics` are the challenger's, the primary one first, and `higher_is_better` applies to the primary one.
    `champion` is None for a first model. `non_finite` describes the outputs with NaN or infinity, and
    `request_difference` a row whose request leads to other outputs than the evaluation; otherwise empty.
    `population` compares today's data with the champion's; None if there is nothing to compare with.
    `accepted` is the reason for which a person accepts data that differ, or empty. It also applies to the
    comparison with the champion if `accepts_comparison`.
    """

    rows: int
    metrics: Mapping[str, Interval]
    higher_is_better: bool
    slices: Mapping[str, SliceMetric] = field(default_factory=dict)
    cost: ServingCost | None = None
    champion: ChampionComparison | None = None
    non_finite: Sequence[str] = ()
    request_difference: str = ""
    population: PopulationChange | None = None
    accepted: str = ""
    accepts_comparison: bool = False


@dataclass(frozen=True)
class Costs:
    """The serving costs of both models; `champion` is None for a first model."""

    challenger: ServingCost
    champion: ServingCost | None = None


def compare(
    rule: PromotionRule,
    task: str,
    predictions: Predictions,
    slices: Mapping[str, np.ndarray],
    costs: Costs,
    champion_version: str | None = None,
    non_finite: Sequence[str] = (),
    request_difference: str = "",
    labels: Sequence[str | int] = (),
) -> Comparison:
    """Return the comparison of both models' predictions.

    `slices` are boolean masks over the rows, by name; slices without rows are left out. `champion_version` is
    required if there are predictions of a champion. The metrics count each of `labels`, the declared label
    values; those of a slice count the labels that occur in it.
    """
    primary = primary_metric(rule, task)
    metrics = sorted(metrics_over(task, labels), key=lambda metric: metric.name != primary.name)
    champion = None
    if predictions.champion is not None and champion_version is not None:
        champion = _compare_with_champion(
            rule, task, metrics, predictions, predictions.champion, champion_version, costs.champion
        )
    return Comparison(
        rows=len(predictions.actual),
        metrics=_intervals(metrics, predictions, predictions.challenger),
        higher_is_better=primary.higher_is_better,
        slices={
            name: _slice_metric(primary, predictions, mask) for name, mask in slices.items() if mask.any()
        },
        cost=costs.challenger,
        champion=champion,
        non_finite=tuple(non_finite),
        request_difference=request_difference,
    )


def primary_metric(rule: PromotionRule, task: str) -> Metric:
    """Return the metric that the rule names; UserError if the task does not have it."""
    try:
        return find_metric(task, rule.metric)
    except KeyError:
        names = ", ".join(metric.name for metric in METRICS[task])
        raise UserError(
            f"the promotion rule names the metric {rule.metric!r}, which {task} does not have; use one of "
            f"{names}"
        ) from None


def _compare_with_champion(
    rule: PromotionRule,
    task: str,
    metrics: Sequence[Metric],
    predictions: Predictions,
    champion: np.ndarray,
    version: str,
    cost: ServingCost | None,
) -> ChampionComparison:
    """Return the comparison with the champion; the first of `metrics` is the primary one."""
    actual, challenger, groups = predictions.actual, predictions.challenger, predictions.groups
    primary = metrics[0]
    guards = [metric for metric in metrics if metric.name in rule.guards]
    return ChampionComparison(
        version=version,
        improvements={
            metric.name: paired_improvement(
                metric, actual, challenger, champion, SEED, rule.confidence, groups
            )
            for metric in dict.fromkeys((primary, *guards))
        },
        test=paired_test(rule, primary, actual, challenger, champion, SEED, groups),
        cost=cost,
        metrics=_intervals(metrics, predictions, champion),
        mcnemar_p=mcnemar(actual, challenger, champion) if task == "classification" else None,
        guard_tests={
            metric.name: non_inferiority_test(
                metric, actual, challenger, champion, rule.guards[metric.name], groups
            )
            for metric in guards
        },
    )


def _intervals(
    metrics: Sequence[Metric], predictions: Predictions, predicted: np.ndarray
) -> dict[str, Interval]:
    return metric_intervals(metrics, predictions.actual, predicted, SEED, predictions.groups)


def _slice_metric(metric: Metric, predictions: Predictions, mask: np.ndarray) -> SliceMetric:
    actual, champion = predictions.actual, predictions.champion
    challenger = metric_interval(metric, actual, predictions.challenger, SEED, mask=mask)
    return SliceMetric(
        rows=int(mask.sum()),
        value=challenger.value,
        champion=None if champion is None else RowScores.of(metric, actual, champion, mask=mask).value(),
        low=challenger.low,
        high=challenger.high,
    )
