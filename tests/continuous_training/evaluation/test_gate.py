"""The gate for every outcome: promoted, rejected, tie, too few rows, NaN, no champion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from continuous_training.artifacts.measurements import PairedTest, ServingCost, SliceMetric
from continuous_training.evaluation.check import Check, note
from continuous_training.evaluation.comparison import ChampionComparison, Comparison
from continuous_training.evaluation.gate import Decision, decide, promote_same_model
from continuous_training.evaluation.metrics import Interval
from continuous_training.evaluation.promotion_rule import PromotionRule

NAN = float("nan")
RULE = PromotionRule(
    metric="accuracy", floor=0.9, margin=0.02, minimum_rows=100, slice_floor=0.8, slice_rows=20
)
ERROR_RULE = PromotionRule(metric="mse", floor=10, margin=1, minimum_rows=100, slice_floor=20, slice_rows=20)
BETTER = Interval(0.03, 0.01, 0.05)


def decision(
    rule: PromotionRule = RULE,
    value: float | Interval = 0.95,
    difference: Interval | None = None,
    guards: dict[str, Interval] | None = None,
    p: float = 0.0,
    champion_cost: ServingCost | None = None,
    **changes: Any,
) -> Decision:
    """Return the decision on a comparison that passes, with changes."""
    interval = value if isinstance(value, Interval) else Interval(value, value - 0.01, value + 0.01)
    champion = None
    if difference:
        improvements = {rule.metric: difference, **(guards or {})}
        champion = ChampionComparison("7", improvements, PairedTest("the test", p), champion_cost)
    comparison = Comparison(100, {rule.metric: interval}, rule is not ERROR_RULE, champion=champion)
    return decide(rule, replace(comparison, **changes))


def failed_checks(result: Decision) -> list[Check]:
    assert result.promoted is all(check.passed for check in result.checks)
    return [check for check in result.checks if not check.passed]


def test_a_first_model_is_promoted_by_the_floors_with_a_note() -> None:
    result = decision()
    assert result.promoted
    assert result.checks == (
        Check("accuracy", "0.95 on 100 holdout rows", "at least 0.9", True),
        Check("champion", "there is no champion yet, so only the floors decide", "", True),
        Check("holdout rows", "100", "at least 100", True),
        Check("accuracy in each slice of 20 rows or more", "no slice of that size", "at least 0.8", True),
    )


@pytest.mark.parametrize(("value", "promoted"), [(0.9, True), (0.8999, False)])
def test_a_value_equal_to_the_floor_passes(value: float, promoted: bool) -> None:
    result = decision(value=value)
    assert result.promoted is promoted
    if not promoted:
        assert failed_checks(result) == [
            Check("accuracy", "0.8999 on 100 holdout rows", "at least 0.9", False)
        ]


def test_too_few_rows_are_rejected() -> None:
    assert failed_checks(decision(rows=99)) == [Check("holdout rows", "99", "at least 100", False)]


@pytest.mark.parametrize(
    ("difference", "promoted", "measured"),
    [
        (BETTER, True, "+0.03 (95 % interval +0.01 to +0.05)"),
        (Interval(0.03, 0.0, 0.05), False, "+0.03 (95 % interval +0 to +0.05)"),
        (Interval(0.03, -0.01, 0.05), False, "+0.03 (95 % interval -0.01 to +0.05)"),
        (Interval(-0.03, -0.05, -0.01), False, "-0.03 (95 % interval -0.05 to -0.01)"),
        (Interval(0.0, 0.0, 0.0), False, "no difference on any row"),
    ],
)
def test_superiority_requires_an_interval_above_zero(
    difference: Interval, promoted: bool, measured: str
) -> None:
    result = decision(difference=difference)
    assert result.promoted is promoted
    assert result.checks[1] == Check(
        "accuracy against champion 7 on the same rows", measured, "interval above 0", promoted
    )


@pytest.mark.parametrize(("low", "promoted"), [(-0.01, True), (-0.02, True), (-0.0201, False)])
def test_non_inferiority_requires_an_interval_above_the_negative_margin(low: float, promoted: bool) -> None:
    result = decision(replace(RULE, superiority=False), difference=Interval(0.0, low, 0.03))
    assert result.promoted is promoted
    assert result.checks[1].limit == "not worse by more than the margin of 0.02"
    assert result.checks[1].passed is promoted


def test_identical_predictions_are_not_inferior() -> None:
    assert decision(replace(RULE, superiority=False, margin=0), difference=Interval(0, 0, 0)).promoted


@pytest.mark.parametrize(("p", "promoted"), [(0.05, True), (0.0501, False)])
def test_the_paired_test_must_confirm_the_interval(p: float, promoted: bool) -> None:
    result = decision(difference=BETTER, p=p)
    assert result.promoted is promoted
    if not promoted:
        assert failed_checks(result) == [Check("the test", "p = 0.0501", "p at most 0.05", False)]
    non_inferiority = replace(RULE, superiority=False)
    assert decision(non_inferiority, difference=Interval(0, 0, 0), p=p).promoted is promoted


@pytest.mark.parametrize(("low", "promoted"), [(-2.0, True), (-2.1, False)])
def test_a_guard_metric_may_get_worse_up_to_its_limit(low: float, promoted: bool) -> None:
    rule = replace(RULE, guards={"mae": 2.0})
    result = decision(rule, difference=BETTER, guards={"mae": Interval(1.0, low, 2.0)})
    assert result.promoted is promoted
    if not promoted:
        name = "mae against champion 7 on the same rows (guard)"
        measured = "+1 (95 % interval -2.1 to +2)"
        assert failed_checks(result) == [Check(name, measured, "not worse by more than 2", False)]
    assert decision(rule).promoted, "a first model has no guard metrics"


def with_guard_test(p: float, interval: Interval) -> Decision:
    champion = ChampionComparison(
        "7",
        {"accuracy": BETTER, "balanced_accuracy": interval},
        PairedTest("the test", 0.0),
        guard_tests={"balanced_accuracy": PairedTest("guard test", p)},
    )
    return decision(replace(RULE, guards={"balanced_accuracy": 0.01}), champion=champion)


@pytest.mark.parametrize(("p", "promoted"), [(0.05, True), (0.0501, False), (1.0, False)])
def test_the_test_of_a_guard_must_confirm_its_interval(p: float, promoted: bool) -> None:
    result = with_guard_test(p, Interval(0.001, -0.005, 0.006))
    assert result.promoted is promoted
    if not promoted:
        name = "guard test (guard balanced_accuracy)"
        assert failed_checks(result) == [Check(name, f"p = {p:.3g}", "p at most 0.05", False)]


def test_the_test_of_a_guard_states_the_rows_that_models_without_a_difference_need() -> None:
    check = failed_checks(with_guard_test(0.317, Interval(0, 0, 0)))[0]
    assert check.measured == "p = 0.317; without any difference, about 384 rows suffice"
    # No number of rows suffices for p = 1.
    assert failed_checks(with_guard_test(1.0, Interval(0, 0, 0)))[0].measured == "p = 1"


def test_a_guard_test_that_is_nan_rejects() -> None:
    assert failed_checks(with_guard_test(NAN, BETTER))[0].name == "finite numbers"


@pytest.mark.parametrize(
    ("budget", "cost", "champion", "failed"),
    [
        ({"latency_ms": 5}, ServingCost(5, 1), None, None),
        ({"latency_ms": 5}, ServingCost(5.1, 1), None, ("request latency", "5.1 ms", "at most 5 ms")),
        ({"size_mb": 1}, ServingCost(None, 1), None, None),
        ({"size_mb": 1}, ServingCost(None, 1.5), None, ("model size", "1.5 MB", "at most 1 MB")),
        ({"latency_ratio": 2, "size_ratio": 2}, ServingCost(99, 99), None, None),
        ({"latency_ratio": 2}, ServingCost(4, 1), ServingCost(2, 1), None),
        (
            {"latency_ratio": 2},
            ServingCost(4.1, 1),
            ServingCost(2, 1),
            (
                "request latency against champion 7",
                "4.1 ms, champion 2 ms",
                "at most 2 times the champion's",
            ),
        ),
        ({"size_ratio": 2}, ServingCost(None, 2), ServingCost(None, 1), None),
        (
            {"size_ratio": 2},
            ServingCost(None, 2.1),
            ServingCost(None, 1),
            ("model size against champion 7", "2.1 MB, champion 1 MB", "at most 2 times the champion's"),
        ),
    ],
)
def test_budgets_are_absolute_or_relative_to_the_champion(
    budget: dict[str, float],
    cost: ServingCost,
    champion: ServingCost | None,
    failed: tuple[str, str, str] | None,
) -> None:
    difference = BETTER if champion else None
    result = decision(replace(RULE, **budget), cost=cost, champion_cost=champion, difference=difference)
    assert failed_checks(result) == ([Check(*failed, False)] if failed else [])


def test_without_a_budget_the_cost_is_not_checked() -> None:
    cost, champion_cost = ServingCost(1e9, 1e9), ServingCost(1, 1)
    assert decision(difference=Interval(1, 1, 1), cost=cost, champion_cost=champion_cost).promoted


@pytest.mark.parametrize(
    ("part", "promoted"),
    [
        (SliceMetric(20, 0.8), True),
        (SliceMetric(20, 0.79), False),
        (SliceMetric(19, 0.1), True),
        (SliceMetric(19, NAN), True),
    ],
)
def test_a_slice_with_enough_rows_must_reach_the_slice_floor(part: SliceMetric, promoted: bool) -> None:
    result = decision(slices={"digit 3": part})
    assert result.promoted is promoted
    if not promoted:
        name = "accuracy in each slice of 20 rows or more"
        assert failed_checks(result) == [Check(name, "0.79 in digit 3", "at least 0.8", False)]


def test_the_slice_check_names_each_failed_slice_or_the_worst_one() -> None:
    slices = {"a": SliceMetric(20, 0.7), "b": SliceMetric(20, 0.9), "c": SliceMetric(20, 0.6)}
    assert decision(slices=slices).checks[-1].measured == "0.7 in a, 0.6 in c"
    passing = {"a": SliceMetric(20, 0.9), "b": SliceMetric(20, 0.85)}
    assert decision(slices=passing).checks[-1].measured == "0.85 in b, the worst of 2"
    errors = {"a": SliceMetric(20, 5), "b": SliceMetric(20, 9)}
    assert decision(ERROR_RULE, 5, slices=errors).checks[-1].measured == "9 in b, the worst of 2"


def test_without_a_slice_floor_slices_are_not_checked() -> None:
    result = decision(replace(RULE, slice_floor=None), slices={"digit 3": SliceMetric(50, 0.1)})
    assert result.promoted
    assert len(result.checks) == 3


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"value": NAN}, "accuracy"),
        ({"value": Interval(0.95, NAN, 1)}, "accuracy"),
        ({"value": Interval(0.95, 0.9, float("inf"))}, "accuracy"),
        ({"metrics": {"accuracy": Interval(1, 1, 1), "other": Interval(NAN, 1, 1)}}, "other"),
        ({"slices": {"digit 3": SliceMetric(20, NAN)}}, "digit 3"),
        ({"difference": Interval(0.1, NAN, 0.2)}, "the comparison with the champion"),
        ({"difference": Interval(1, 1, 1), "p": NAN}, "the comparison with the champion"),
        (
            {"difference": Interval(1, 1, 1), "guards": {"mae": Interval(0, 0, NAN)}},
            "the comparison with the champion",
        ),
        (
            {"value": NAN, "difference": Interval(NAN, NAN, NAN), "rows": 1},
            "accuracy, the comparison with the champion",
        ),
        ({"non_finite": ["output y in 1 of 100 rows"]}, "output y in 1 of 100 rows"),
    ],
)
def test_a_number_that_is_not_finite_rejects_without_any_other_check(
    changes: dict[str, Any], names: str
) -> None:
    result = decision(**changes)
    assert result == Decision(
        False, (Check("finite numbers", f"not in {names}", "no NaN or infinite number", False),)
    )


def test_every_failed_check_is_a_reason() -> None:
    result = decision(
        value=0.5, rows=10, slices={"a": SliceMetric(30, 0.1)}, difference=Interval(-0.4, -0.5, -0.3), p=0.2
    )
    assert not result.promoted
    assert [check.name for check in failed_checks(result)] == [
        "accuracy",
        "accuracy against champion 7 on the same rows",
        "the test",
        "holdout rows",
        "accuracy in each slice of 20 rows or more",
    ]
    assert result.reasons == tuple(map(str, result.checks))


def test_the_reasons_of_a_promotion_are_the_floor_and_the_comparison() -> None:
    assert decision(difference=BETTER).reasons == (
        "accuracy: 0.95 on 100 holdout rows; required: at least 0.9",
        "accuracy against champion 7 on the same rows: +0.03 (95 % interval +0.01 to +0.05); "
        "required: interval above 0",
    )


def test_notes_are_reasons_of_any_decision() -> None:
    for difference in (BETTER, Interval(-0.03, -0.05, -0.01)):
        result = decision(difference=difference)
        with_note = result.with_notes(note("sample data", "the result is only a trial"))
        assert with_note.promoted is result.promoted
        assert with_note.reasons == (*result.reasons, "sample data: the result is only a trial")


def test_a_model_with_the_bytes_of_the_champion_is_promoted() -> None:
    result = promote_same_model("7")
    assert result.promoted
    assert result.reasons == ("model digest against champion 7: identical to the byte; required: identical",)
    assert [check.passed for check in result.checks] == [True]


@pytest.mark.parametrize(
    ("value", "part", "promoted"), [(10, 20, True), (10.1, 20, False), (10, 20.1, False), (0, 0, True)]
)
def test_for_an_error_metric_lower_is_better(value: float, part: float, promoted: bool) -> None:
    assert decision(ERROR_RULE, value, slices={"a": SliceMetric(30, part)}).promoted is promoted


def test_a_person_accepts_the_checks_against_the_champion_only() -> None:
    cost, champion_cost = ServingCost(None, 3), ServingCost(None, 1)
    rule = replace(RULE, guards={"macro_f1": 0.01}, size_ratio=2, size_mb=2)
    worse = Interval(-0.03, -0.05, -0.01)
    changes = {"guards": {"macro_f1": worse}, "p": 1.0, "cost": cost, "champion_cost": champion_cost}
    accepted = {"accepted": "a reason", "accepts_comparison": True}
    before = failed_checks(decision(rule, difference=worse, **changes))
    result = decision(rule, difference=worse, **changes, **accepted)
    assert [check.name for check in failed_checks(result)] == ["model size"]
    notes = [check for check in result.checks if check.name == "accepted comparison"]
    assert notes == [
        note("accepted comparison", f"a reason ({check})") for check in before if check.name != "model size"
    ]
    assert len(notes) == 4
    assert decision(rule, difference=worse, **{**changes, "cost": None}, **accepted).promoted
