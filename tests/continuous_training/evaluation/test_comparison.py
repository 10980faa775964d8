"""The comparison of two models on the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from continuous_training.artifacts.measurements import PairedTest, ServingCost
from continuous_training.core.errors import UserError
from continuous_training.evaluation.bootstrap import metric_interval, paired_improvement
from continuous_training.evaluation.comparison import SEED, Comparison, Costs, compare
from continuous_training.evaluation.metrics import find_metric
from continuous_training.evaluation.paired_tests import mcnemar
from continuous_training.evaluation.predictions import Predictions
from continuous_training.evaluation.promotion_rule import PromotionRule

RNG = np.random.default_rng(3)
ACTUAL = RNG.integers(0, 3, 200)
CHALLENGER = np.where(RNG.random(200) < 0.9, ACTUAL, (ACTUAL + 1) % 3)
CHAMPION = np.where(RNG.random(200) < 0.7, ACTUAL, (ACTUAL + 1) % 3)
RULE = PromotionRule("macro_f1", 0.5, guards={"accuracy": 0.1})
COSTS = Costs(ServingCost(1.0, 2.0), ServingCost(3.0, 4.0))


def comparison(champion: np.ndarray | None = CHAMPION) -> Comparison:
    slices = {"class 0": ACTUAL == 0, "empty": np.zeros(200, bool)}
    predictions = Predictions(ACTUAL, CHALLENGER, champion)
    version = None if champion is None else "7"
    return compare(RULE, "classification", predictions, slices, COSTS, version, ["output y in 1 of 2 rows"])


def test_metrics_are_those_of_the_task_with_the_primary_one_first() -> None:
    result = comparison()
    assert list(result.metrics) == ["macro_f1", "accuracy", "balanced_accuracy"]
    accuracy = find_metric("classification", "accuracy")
    assert result.metrics["accuracy"] == metric_interval(accuracy, ACTUAL, CHALLENGER, SEED)
    assert (result.rows, result.higher_is_better) == (200, True)
    assert result.non_finite == ("output y in 1 of 2 rows",)
    assert result.cost == COSTS.challenger


def test_the_champion_is_compared_in_the_primary_metric_and_the_guards() -> None:
    champion = comparison().champion
    assert champion is not None
    assert (champion.version, champion.cost) == ("7", COSTS.champion)
    assert set(champion.improvements) == {"macro_f1", "accuracy"}
    macro_f1 = find_metric("classification", "macro_f1")
    assert champion.improvements["macro_f1"] == paired_improvement(
        macro_f1, ACTUAL, CHALLENGER, CHAMPION, SEED
    )
    assert champion.metrics["macro_f1"] == metric_interval(macro_f1, ACTUAL, CHAMPION, SEED)
    assert champion.mcnemar_p == mcnemar(ACTUAL, CHALLENGER, CHAMPION)
    assert champion.test is not None
    assert champion.test.name == "paired permutation test"


def grouped(metric: str, groups: np.ndarray | None, repeats: int = 10, **rule: Any) -> Comparison:
    """Compare models on 40 rows, each of which occurs `repeats` times."""
    rows = [np.repeat(values[:40], repeats) for values in (ACTUAL, CHALLENGER, CHAMPION)]
    predictions = Predictions(*rows, groups=groups)
    changed = PromotionRule(metric, 0.0, **rule)
    return compare(changed, "classification", predictions, {}, COSTS, "7", labels=(0, 1, 2))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_repeated_rows_of_a_group_add_no_certainty(metric: str) -> None:
    single = grouped(metric, None, repeats=1)
    by_group, by_row = grouped(metric, np.repeat(np.arange(40), 10)), grouped(metric, None)
    widths = []
    for result in (single, by_group, by_row):
        assert result.champion is not None
        interval = result.champion.improvements[metric]
        widths.append(
            (interval.high - interval.low, result.metrics[metric].high - result.metrics[metric].low)
        )
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    assert all(row < 0.5 * group for row, group in zip(widths[2], widths[0], strict=True))
    assert by_group.champion is not None
    assert by_group.champion.test is not None
    assert by_group.champion.test.name == "score test of 40 groups"
    assert by_row.champion is not None
    assert by_row.champion.test is not None
    assert by_row.champion.test.p < 0.001


def test_the_guards_are_tested_by_group_as_well() -> None:
    groups = np.repeat(np.arange(40), 10)
    result = grouped("macro_f1", groups, guards={"accuracy": 0.2}, superiority=False, margin=0.2).champion
    assert result is not None
    assert {test.name for test in result.guard_tests.values()} == {"score test of 40 groups"}


@pytest.mark.parametrize(("count", "passes"), [(1, False), (12, False), (13, True), (100, True)])
def test_an_identical_model_is_not_inferior_on_thirteen_groups(count: int, passes: bool) -> None:
    actual = np.arange(4000) % 3
    predictions = Predictions(actual, actual, actual, groups=np.arange(4000) % count)
    rule = PromotionRule("accuracy", 0.5, superiority=False, margin=0.01)
    result = compare(rule, "classification", predictions, {}, COSTS, "7").champion
    assert result is not None
    assert result.test is not None
    assert (result.test.p <= 0.05) is passes


def test_a_slice_has_the_metric_of_both_models_on_its_rows() -> None:
    slices = comparison().slices
    assert set(slices) == {"class 0"}
    part, mask = slices["class 0"], ACTUAL == 0
    assert part.rows == mask.sum()
    assert part.low <= part.value <= part.high
    assert part.champion is not None
    assert part.champion < part.value


def test_a_first_model_is_not_compared() -> None:
    result = comparison(champion=None)
    assert result.champion is None
    assert result.slices["class 0"].champion is None


def test_a_regression_has_no_mcnemar_test() -> None:
    actual = RNG.normal(size=50)
    predictions = Predictions(actual, actual + 0.1, actual + 0.5)
    result = compare(PromotionRule("mse", 1), "regression", predictions, {}, COSTS, "7")
    assert result.higher_is_better is False
    assert result.champion is not None
    assert result.champion.mcnemar_p is None
    assert isinstance(result.champion.test, PairedTest)


def test_a_metric_of_another_task_is_an_error() -> None:
    predictions = Predictions(ACTUAL, CHALLENGER)
    with pytest.raises(UserError, match="'r2', which classification does not have; use one of accuracy"):
        compare(PromotionRule("r2", 0), "classification", predictions, {}, COSTS)
