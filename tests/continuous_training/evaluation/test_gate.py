"""The gate, in every direction: yes, no, tie, too few, NaN, nothing to compare with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from continuous_training.evaluation.budgets import Cost
from continuous_training.evaluation.gate import Against, Evidence, Slice, Verdict, judge
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.report.report_data import Interval

NAN = float("nan")
RULE = PromotionRule(
    metric="accuracy", floor=0.9, margin=0.02, minimum_rows=100, slice_floor=0.8, slice_rows=20
)
ERROR = PromotionRule(metric="mse", floor=10, margin=1, minimum_rows=100, slice_floor=20, slice_rows=20)


def decide(
    rule: PromotionRule = RULE,
    value: float | Interval = 0.95,
    difference: Interval | None = None,
    guards: dict[str, Interval] | None = None,
    p: float = 0.0,
    champion_cost: Cost | None = None,
    **changes: Any,
) -> Verdict:
    interval = value if isinstance(value, Interval) else Interval(value, value - 0.01, value + 0.01)
    against = None
    if difference:
        against = Against("7", {rule.metric: difference, **(guards or {})}, ("the test", p), champion_cost)
    given: dict[str, Any] = {
        "rows": 100, "metrics": {rule.metric: interval}, "higher_is_better": rule is not ERROR,
        "against": against,
    }  # fmt: skip
    return judge(rule, Evidence(**(given | changes)))


def only(verdict: Verdict, promoted: bool, *words: str) -> None:
    assert verdict.promoted is promoted
    assert len(verdict.reasons) == len(words), verdict.reasons
    for reason, expected in zip(verdict.reasons, words, strict=True):
        assert expected in reason


def test_a_first_model_needs_the_floors_alone_and_it_is_said() -> None:
    only(
        decide(),
        True,
        "accuracy 0.95 reaches the floor of 0.9 on 100 holdout rows",
        "there is no champion yet",
    )


@pytest.mark.parametrize(("value", "promoted"), [(0.9, True), (0.8999, False)])
def test_the_floor_is_reached_where_it_is_equalled(value: float, promoted: bool) -> None:
    assert decide(value=value).promoted is promoted
    if not promoted:
        only(decide(value=value), False, "accuracy 0.8999 does not reach the floor of 0.9")


def test_too_few_rows_decide_nothing() -> None:
    only(decide(rows=99), False, "99 holdout rows are too few to judge by: the rule asks for 100")


@pytest.mark.parametrize(
    ("difference", "promoted", "words"),
    [
        (
            Interval(0.03, 0.01, 0.05),
            True,
            "+0.03 (95 % interval +0.01 to +0.05); the whole interval lies above zero",
        ),
        (Interval(0.03, 0.0, 0.05), False, "an improvement that the interval tells from zero is asked for"),
        (Interval(0.03, -0.01, 0.05), False, "an improvement that the interval tells from zero is asked for"),
        (Interval(-0.03, -0.05, -0.01), False, "-0.03 (95 % interval -0.05 to -0.01)"),
        (Interval(0.0, 0.0, 0.0), False, "accuracy is the very same as champion 7's, row by row"),
    ],
)
def test_a_challenger_must_be_better_than_the_champion(
    difference: Interval, promoted: bool, words: str
) -> None:
    verdict = decide(difference=difference)
    assert verdict.promoted is promoted
    assert words in verdict.reasons[-1]


@pytest.mark.parametrize(
    ("low", "promoted", "words"),
    [
        (-0.01, True, "the whole interval lies above minus the margin of 0.02"),
        (-0.02, True, "the whole interval lies above minus the margin of 0.02"),
        (-0.0201, False, "it may be worse by more than the margin of 0.02"),
    ],
)
def test_where_superiority_is_not_asked_for_it_must_not_be_worse_by_more_than_the_margin(
    low: float, promoted: bool, words: str
) -> None:
    verdict = decide(replace(RULE, superiority=False), difference=Interval(0.0, low, 0.03))
    assert verdict.promoted is promoted
    assert words in verdict.reasons[-1]


def test_the_same_model_is_not_worse() -> None:
    assert decide(replace(RULE, superiority=False, margin=0), difference=Interval(0, 0, 0)).promoted


@pytest.mark.parametrize(("p", "promoted"), [(0.05, True), (0.0501, False)])
def test_an_improvement_on_a_handful_of_rows_is_none(p: float, promoted: bool) -> None:
    verdict = decide(difference=Interval(0.03, 0.01, 0.05), p=p)
    assert verdict.promoted is promoted
    if not promoted:
        only(
            verdict,
            False,
            "too few rows bear that out: the test has p = 0.05, and 0.05 or less is asked for",
        )
    assert decide(replace(RULE, superiority=False), difference=Interval(0, 0, 0), p=p).promoted is promoted


@pytest.mark.parametrize(("low", "promoted"), [(-2.0, True), (-2.1, False)])
def test_a_guard_may_be_worse_by_as_much_as_it_says(low: float, promoted: bool) -> None:
    rule, better = replace(RULE, guards={"mae": 2.0}), Interval(0.03, 0.01, 0.05)
    verdict = decide(rule, difference=better, guards={"mae": Interval(1.0, low, 2.0)})
    assert verdict.promoted is promoted
    if not promoted:
        only(verdict, False, "mae against champion 7 on the same rows: +1 (95 % interval -2.1 to +2); as a")
    assert decide(rule).promoted, "a guard compares, so it has nothing to say of a first model"


@pytest.mark.parametrize(
    ("budget", "cost", "champion", "words"),
    [
        ({"latency_ms": 5}, Cost(5, 1), None, None),
        ({"latency_ms": 5}, Cost(5.1, 1), None, "a request takes 5.1 ms, over the budget of 5 ms"),
        ({"size_mb": 1}, Cost(None, 1), None, None),
        ({"size_mb": 1}, Cost(None, 1.5), None, "its files take 1.5 MB, over the budget of 1 MB"),
        ({"latency_ratio": 2, "size_ratio": 2}, Cost(99, 99), None, None),
        ({"latency_ratio": 2}, Cost(4, 1), Cost(2, 1), None),
        ({"latency_ratio": 2}, Cost(4.1, 1), Cost(2, 1), "takes 4.1 ms and the champion's 2, over"),
        ({"size_ratio": 2}, Cost(None, 2), Cost(None, 1), None),
        ({"size_ratio": 2}, Cost(None, 2.1), Cost(None, 1), "take 2.1 MB and the champion's 1, over"),
    ],
)
def test_budgets_are_bounds_or_ratios_to_the_champion(
    budget: dict[str, float], cost: Cost, champion: Cost | None, words: str | None
) -> None:
    difference = Interval(0.03, 0.01, 0.05) if champion else None
    verdict = decide(replace(RULE, **budget), cost=cost, champion_cost=champion, difference=difference)
    assert verdict.promoted is (words is None)
    if words:
        only(verdict, False, words)


def test_without_a_budget_cost_decides_nothing() -> None:
    assert decide(difference=Interval(1, 1, 1), cost=Cost(1e9, 1e9), champion_cost=Cost(1, 1)).promoted


@pytest.mark.parametrize(
    ("part", "promoted"),
    [(Slice(20, 0.8), True), (Slice(20, 0.79), False), (Slice(19, 0.1), True), (Slice(19, NAN), True)],
)
def test_a_slice_has_a_floor_of_its_own_unless_it_is_small(part: Slice, promoted: bool) -> None:
    verdict = decide(slices={"digit 3": part})
    assert verdict.promoted is promoted
    if not promoted:
        only(verdict, False, "digit 3: accuracy 0.79 does not reach the slice floor of 0.8")


def test_without_a_slice_floor_slices_decide_nothing() -> None:
    assert decide(replace(RULE, slice_floor=None), slices={"digit 3": Slice(50, 0.1)}).promoted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"value": NAN}, "not a number: accuracy;"),
        ({"value": Interval(0.95, NAN, 1)}, "not a number: accuracy;"),
        ({"value": Interval(0.95, 0.9, float("inf"))}, "not a number: accuracy;"),
        ({"metrics": {"accuracy": Interval(1, 1, 1), "other": Interval(NAN, 1, 1)}}, "not a number: other;"),
        ({"slices": {"digit 3": Slice(20, NAN)}}, "not a number: digit 3;"),
        ({"difference": Interval(0.1, NAN, 0.2)}, "not a number: the comparison with the champion;"),
        ({"difference": Interval(1, 1, 1), "p": NAN}, "not a number: the comparison with the champion;"),
        ({"difference": Interval(1, 1, 1), "guards": {"mae": Interval(0, 0, NAN)}}, "the comparison with"),
        ({"value": NAN, "difference": Interval(NAN, NAN, NAN), "rows": 1}, "accuracy, the comparison"),
    ],
)
def test_any_nan_refuses(changes: dict[str, Any], words: str) -> None:
    only(decide(**changes), False, words)


def test_every_reason_against_is_told() -> None:
    verdict = decide(value=0.5, rows=10, slices={"a": Slice(30, 0.1)}, difference=Interval(-0.4, -0.5, -0.3))
    only(verdict, False, "too few", "does not reach the floor", "slice floor", "against champion 7")


@pytest.mark.parametrize(
    ("value", "part", "promoted"), [(10, 20, True), (10.1, 20, False), (10, 20.1, False), (0, 0, True)]
)
def test_lower_is_better_for_errors(value: float, part: float, promoted: bool) -> None:
    assert decide(ERROR, value, slices={"a": Slice(30, part)}).promoted is promoted
