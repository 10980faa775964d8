"""The test of a margin, and the number of rows that it needs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from continuous_training.evaluation.margin_test import margin_test, t_tail
from continuous_training.evaluation.metrics import METRICS, find_metric
from continuous_training.evaluation.paired_tests import tango
from continuous_training.evaluation.required_rows import required_rows

RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, 2, 1000)
NUMBERS = RNG.normal(0, 2, 1000)
ERRORS = RNG.normal(0, 1, 1000)


def identical(metric: str, rows: int, margin: float, classes: int = 2) -> float:
    """Return the p-value of a model with the same predictions as the champion, which are all correct."""
    actual = np.arange(rows) % classes
    return margin_test(find_metric("classification", metric), actual, actual, actual, margin)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_identical_models_need_as_many_rows_as_by_tangos_test(metric: str) -> None:
    equal = np.zeros(382, dtype=int)
    assert tango(equal, equal, equal, 0.01) < 0.05 < tango(equal[2:], equal[2:], equal[2:], 0.01)
    # Student's t is wider than the normal distribution that Tango uses: three more rows.
    assert identical(metric, 386, 0.01) < 0.05 < identical(metric, 380, 0.01)
    assert identical(metric, 50, 0.01) > 0.4


@pytest.mark.parametrize("metric", ["mse", "mae", "r2"])
def test_identical_regressions_pass_from_a_number_of_rows_that_their_largest_error_determines(
    metric: str,
) -> None:
    p = [
        margin_test(find_metric("regression", metric), NUMBERS[:n], predicted, predicted, 0.1)
        for n, predicted in ((n, NUMBERS[:n] + ERRORS[:n]) for n in (10, 30, 100, 300, 1000))
    ]
    assert all(first > second for first, second in pairwise(p))
    assert p[0] > 0.05 > p[-1]


def test_identical_exact_regressions_need_a_few_rows() -> None:
    mse = find_metric("regression", "mse")
    assert margin_test(mse, NUMBERS[:3], NUMBERS[:3], NUMBERS[:3], 0.1) > 0.05
    assert margin_test(mse, NUMBERS[:15], NUMBERS[:15], NUMBERS[:15], 0.1) < 0.05


def test_a_model_that_is_worse_by_more_than_the_margin_has_p_1() -> None:
    mse = find_metric("regression", "mse")
    assert margin_test(mse, NUMBERS, NUMBERS + 1, NUMBERS, 0.9) == 1.0
    assert margin_test(mse, NUMBERS, NUMBERS + ERRORS, NUMBERS + ERRORS, 0.0) == 1.0


def test_the_sign_of_an_improvement_follows_the_metric() -> None:
    for task, actual, better, worse in (
        ("regression", NUMBERS, NUMBERS + 0.5 * ERRORS, NUMBERS + ERRORS),
        ("classification", LABELS, LABELS, np.where(ERRORS > 1, 1 - LABELS, LABELS)),
    ):
        for metric in METRICS[task]:
            assert margin_test(metric, actual, better, worse, 0.02) < 0.01
            assert margin_test(metric, actual, worse, better, 0.02) == 1.0


def test_the_p_value_does_not_depend_on_the_unit() -> None:
    for metric in ("mse", "mae"):
        power = 2 if metric == "mse" else 1
        p = [
            margin_test(
                find_metric("regression", metric),
                unit * NUMBERS[:200],
                unit * (NUMBERS + ERRORS)[:200],
                unit * (NUMBERS + 1.02 * ERRORS)[:200],
                0.2 * unit**power,
            )
            for unit in (1e-4, 1, 1e6)
        ]
        assert p == pytest.approx([p[0]] * 3, rel=1e-4)
        assert 0 < p[0] < 1


def test_an_undefined_metric_has_no_p_value() -> None:
    constant = np.ones(10)
    assert np.isnan(margin_test(find_metric("regression", "r2"), constant, constant, constant, 0.1))


@pytest.mark.parametrize(
    ("t", "degrees", "expected"),
    [
        # scipy.stats.t.sf
        (1.96, 20, 0.03203913),
        (2.045, 29, 0.02502126),
        (2.5, 100, 0.00702289),
        (0.0, 5, 0.5),
    ],
)
def test_t_tail(t: float, degrees: int, expected: float) -> None:
    assert t_tail(t, degrees) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("metric", "margin", "classes", "rows"),
    [
        ("accuracy", 0.01, 2, 381),
        ("accuracy", 0.05, 10, 73),
        ("accuracy", 0.15, 2, 22),
        ("mae", 0.01, 0, 2),
    ],
)
def test_required_rows(metric: str, margin: float, classes: int, rows: int) -> None:
    assert required_rows(metric, margin, 0.95, classes) == rows
    if metric == "accuracy":
        equal = np.zeros(rows, dtype=int)
        assert tango(equal, equal, equal, margin) <= 0.05 < tango(equal[1:], equal[1:], equal[1:], margin)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
@pytest.mark.parametrize(("classes", "right"), [(2, 1.0), (2, 0.6), (10, 0.9)])
def test_an_identical_model_passes_on_the_required_rows_in_90_percent_of_the_runs(
    metric: str, classes: int, right: float
) -> None:
    rng = np.random.default_rng(0)
    rows = required_rows(metric, 0.02, 0.95, classes)
    passed = 0
    for _ in range(500):
        actual = rng.integers(0, classes, rows)
        predicted = np.where(rng.random(rows) < right, actual, rng.integers(0, classes, rows))
        p = margin_test(find_metric("classification", metric), actual, predicted, predicted, 0.02)
        passed += p <= 0.05
    assert passed / 500 > 0.9
