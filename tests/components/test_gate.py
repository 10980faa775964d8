"""The gate, in every direction: yes, no, tie, too few, NaN, nothing to compare with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.evaluate.gate import Slice, Verdict, judge
from components.report.facts import Interval
from workloads.contract import Rule

NAN = float("nan")
RULE = Rule(metric="accuracy", floor=0.9, margin=0.02, minimum_rows=100, slice_floor=0.8, slice_rows=20)
ERROR = Rule(metric="mse", floor=10, margin=1, minimum_rows=100, slice_floor=20, slice_rows=20)


def decide(rule: Rule = RULE, value: float | Interval = 0.95, **changes: Any) -> Verdict:
    interval = value if isinstance(value, Interval) else Interval(value, value - 0.01, value + 0.01)
    given: dict[str, Any] = {
        "rows": 100, "metrics": {rule.metric: interval}, "higher_is_better": rule is not ERROR,
        "difference": None, "slices": {}, "champion": "7",
    }  # fmt: skip
    return judge(rule, **(given | changes))


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
