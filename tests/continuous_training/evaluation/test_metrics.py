"""Metrics, bootstrap intervals and paired tests, against known values."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, mean_absolute_error, mean_squared_error, r2_score

from continuous_training.evaluation import bootstrap
from continuous_training.evaluation.bootstrap import metric_interval, paired_improvement
from continuous_training.evaluation.metrics import METRICS, Metric, metrics_over, score
from continuous_training.evaluation.paired_tests import mcnemar, permutation, tango

BY_NAME = {metric.name: metric for metrics in METRICS.values() for metric in metrics}
RNG = np.random.default_rng(7)
LABELS = RNG.integers(0, 3, 400)
PREDICTED_LABELS = np.where(RNG.random(400) < 0.8, LABELS, (LABELS + 1) % 3)
NUMBERS = RNG.normal(100, 20, 400)
PREDICTED_NUMBERS = NUMBERS + RNG.normal(0, 10, 400)


@pytest.mark.parametrize(
    ("name", "actual", "predicted", "expected"),
    [
        ("accuracy", LABELS, PREDICTED_LABELS, accuracy_score(LABELS, PREDICTED_LABELS)),
        ("r2", NUMBERS, PREDICTED_NUMBERS, r2_score(NUMBERS, PREDICTED_NUMBERS)),
        ("mse", NUMBERS, PREDICTED_NUMBERS, mean_squared_error(NUMBERS, PREDICTED_NUMBERS)),
        ("mae", NUMBERS, PREDICTED_NUMBERS, mean_absolute_error(NUMBERS, PREDICTED_NUMBERS)),
    ],
)
def test_metrics_equal_scikit_learn(
    name: str, actual: np.ndarray, predicted: np.ndarray, expected: float
) -> None:
    interval = metric_interval(BY_NAME[name], actual, predicted, seed=0)
    assert interval.value == pytest.approx(expected, rel=1e-9)
    assert score(BY_NAME[name], actual, predicted) == interval.value
    assert interval.low < interval.value < interval.high


def test_the_width_of_an_interval_is_that_of_the_normal_approximation() -> None:
    interval = metric_interval(BY_NAME["accuracy"], LABELS, PREDICTED_LABELS, seed=0)
    half = 1.96 * np.sqrt(interval.value * (1 - interval.value) / len(LABELS))
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.1)


def test_an_interval_depends_on_the_seed_only_slightly() -> None:
    first, repeated, other_seed = (
        metric_interval(BY_NAME["mse"], NUMBERS, PREDICTED_NUMBERS, seed) for seed in (0, 0, 1)
    )
    assert first == repeated
    assert first != other_seed
    assert first.low == pytest.approx(other_seed.low, rel=0.05)


def test_resampling_in_batches_gives_about_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    single = metric_interval(BY_NAME["r2"], NUMBERS, PREDICTED_NUMBERS, 0)
    monkeypatch.setattr(bootstrap, "_MAX_RESAMPLED_VALUES", 10_000)
    batched = metric_interval(BY_NAME["r2"], NUMBERS, PREDICTED_NUMBERS, 0)
    assert batched.value == single.value
    assert (batched.low, batched.high) == (
        pytest.approx(single.low, abs=0.01),
        pytest.approx(single.high, abs=0.01),
    )


@pytest.mark.parametrize("name", ["mse", "macro_f1"])
def test_groups_of_rows_give_about_the_interval_of_single_rows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, metric = np.random.default_rng(8), BY_NAME[name]
    actual = rng.integers(0, 3, 12_001)
    first, second = (np.where(rng.random(12_001) < p, actual, (actual + 1) % 3) for p in (0.9, 0.88))
    grouped = paired_improvement(metric, actual, first, second, 0)
    monkeypatch.setattr(bootstrap, "MAX_UNGROUPED_ROWS", 20_000)
    single = paired_improvement(metric, actual, first, second, 0)
    assert grouped.value == single.value
    width = single.high - single.low
    assert grouped.low == pytest.approx(single.low, abs=0.08 * width)
    assert grouped.high == pytest.approx(single.high, abs=0.08 * width)


def test_the_number_of_resampled_values_does_not_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    draws: list[int] = []
    counts = bootstrap._resample_counts

    def count(n: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
        draws.append(n * resamples)
        return counts(n, resamples, rng)

    monkeypatch.setattr(bootstrap, "_resample_counts", count)
    for repeats in (11, 100):
        draws.clear()
        actual, predicted = np.tile(NUMBERS, repeats), np.tile(PREDICTED_NUMBERS, repeats)
        metric_interval(BY_NAME["r2"], actual, predicted, 0)
        assert sum(draws) == bootstrap.GROUPS * bootstrap.RESAMPLES


@pytest.mark.parametrize("metric", [BY_NAME["r2"], BY_NAME["mse"], BY_NAME["mae"]], ids=lambda m: m.name)
def test_an_improvement_is_positive_for_any_metric(metric: Metric) -> None:
    worse = NUMBERS + 2 * (PREDICTED_NUMBERS - NUMBERS)
    better = paired_improvement(metric, NUMBERS, PREDICTED_NUMBERS, worse, 0)
    reverse = paired_improvement(metric, NUMBERS, worse, PREDICTED_NUMBERS, 0)
    assert 0 < better.low < better.value < better.high
    assert (reverse.value, reverse.high, reverse.low) == (
        pytest.approx(-better.value), pytest.approx(-better.low), pytest.approx(-better.high),
    )  # fmt: skip


def test_a_paired_interval_is_narrower_than_two_separate_ones() -> None:
    """The challenger is correct on all rows of the champion, and on twelve more."""
    better = PREDICTED_LABELS.copy()
    wrong = np.flatnonzero(PREDICTED_LABELS != LABELS)[:12]
    better[wrong] = LABELS[wrong]
    challenger, champion = (
        metric_interval(BY_NAME["accuracy"], LABELS, predicted, 0) for predicted in (better, PREDICTED_LABELS)
    )
    assert challenger.low < champion.high
    paired = paired_improvement(BY_NAME["accuracy"], LABELS, better, PREDICTED_LABELS, 0)
    assert paired.value == pytest.approx(12 / 400)
    assert paired.low > 0


def test_identical_predictions_have_an_improvement_of_zero() -> None:
    interval = paired_improvement(BY_NAME["accuracy"], LABELS, PREDICTED_LABELS, PREDICTED_LABELS, 0)
    assert (interval.value, interval.low, interval.high) == (0, 0, 0)


@pytest.mark.filterwarnings("error")
def test_an_undefined_metric_is_not_finite_and_gives_no_warning() -> None:
    constant = np.ones(30)
    assert not np.isfinite(metric_interval(BY_NAME["r2"], constant, constant * 2, 0).value)
    assert not np.isfinite(score(BY_NAME["r2"], constant[:1], constant[:1]))
    assert np.isnan(metric_interval(BY_NAME["mse"], NUMBERS, np.full(400, np.nan), 0).value)


def discordant(wins: int, losses: int, both: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predictions with the number of rows on which only one model is correct."""
    actual = np.zeros(wins + losses + both)
    challenger, champion = actual.copy(), actual.copy()
    champion[:wins] = 1
    challenger[wins : wins + losses] = 1
    return actual, challenger, champion


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 2**5),
        (10, 2, 0.03857421875),  # 2 * (1 + 12 + 66) / 2^12
        (7, 7, 1.0),
        (12, 5, 0.14346313476562500),  # 2 * sum(C(17, 0..5)) / 2^17
    ],
)
def test_mcnemar_equals_exact_values(wins: int, losses: int, p: float) -> None:
    assert mcnemar(*discordant(wins, losses)) == pytest.approx(p, rel=1e-12)
    assert mcnemar(*discordant(losses, wins)) == pytest.approx(p, rel=1e-12)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_equals_the_binomial_test(wins: int, losses: int) -> None:
    # SciPy returns 0 for some p-values below 1e-254.
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert mcnemar(*discordant(wins, losses)) == pytest.approx(expected, rel=1e-9, abs=1e-240)


def test_class_metrics_equal_scikit_learn() -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score

    assert score(BY_NAME["balanced_accuracy"], LABELS, PREDICTED_LABELS) == pytest.approx(
        balanced_accuracy_score(LABELS, PREDICTED_LABELS)
    )
    assert score(BY_NAME["macro_f1"], LABELS, PREDICTED_LABELS) == pytest.approx(
        f1_score(LABELS, PREDICTED_LABELS, average="macro")
    )


@pytest.mark.parametrize("labels", [(0, 1, 2), (2, 0, 3, 1), ("b", "a", "c", "d")])
@pytest.mark.parametrize("predicts_all", [True, False])
def test_metrics_over_declared_labels_equal_scikit_learn(
    labels: tuple[str | int, ...], predicts_all: bool
) -> None:
    from sklearn.metrics import f1_score, recall_score

    actual = np.array(sorted(labels))[LABELS]
    predicted = np.array(sorted(labels))[PREDICTED_LABELS]
    if predicts_all:
        predicted[:7] = sorted(labels)[-1]
    settings: dict[str, Any] = {"labels": labels, "average": "macro", "zero_division": 0}
    metrics = {metric.name: metric for metric in metrics_over("classification", labels)}
    assert score(metrics["balanced_accuracy"], actual, predicted) == pytest.approx(
        recall_score(actual, predicted, **settings)
    )
    assert score(metrics["macro_f1"], actual, predicted) == pytest.approx(
        f1_score(actual, predicted, **settings)
    )
    assert score(metrics["accuracy"], actual, predicted) == accuracy_score(actual, predicted)
    assert metric_interval(metrics["macro_f1"], actual, predicted, seed=0).finite


def test_a_class_with_one_row_has_a_finite_interval() -> None:
    labels = np.array([0, 1] * 30 + [2])
    for name in ("balanced_accuracy", "macro_f1"):
        interval = metric_interval(BY_NAME[name], labels, np.where(labels == 2, 0, labels), seed=0)
        assert interval.finite


@pytest.mark.parametrize("name", ["mse", "mae", "r2"])
def test_the_permutation_test_equals_scipy(name: str) -> None:
    from scipy.stats import permutation_test

    actual, rng = NUMBERS[:60], np.random.default_rng(3)
    challenger, champion = actual + rng.normal(0, 10, 60), actual + rng.normal(0, 13, 60)
    metric = BY_NAME[name]
    expected = permutation_test(
        (challenger, champion),
        lambda a, b: score(metric, actual, a) - score(metric, actual, b),
        permutation_type="samples",
        n_resamples=4000,
        rng=5,
    ).pvalue
    assert permutation(metric, actual, challenger, champion, seed=0) == pytest.approx(expected, abs=0.03)
    assert permutation(metric, actual, challenger, challenger, seed=0) == 1.0


def test_the_permutation_test_of_many_rows_equals_the_normal_approximation() -> None:
    rng = np.random.default_rng(4)
    actual = rng.normal(0, 2, 9_001)
    challenger, champion = (actual + rng.normal(0, scale, 9_001) for scale in (1, 1.015))
    difference = (actual - challenger) ** 2 - (actual - champion) ** 2
    z = difference.mean() / (difference**2).mean() ** 0.5 * len(actual) ** 0.5
    expected = 2 * NormalDist().cdf(-abs(z))
    assert 0.01 < expected < 0.9
    assert permutation(BY_NAME["mse"], actual, challenger, champion, seed=0) == pytest.approx(
        expected, abs=0.03
    )


def test_the_permutation_test_of_accuracy_equals_mcnemar() -> None:
    champion = np.where(RNG.random(400) < 0.75, LABELS, (LABELS + 1) % 3)
    exact = mcnemar(LABELS, PREDICTED_LABELS, champion)
    assert permutation(BY_NAME["accuracy"], LABELS, PREDICTED_LABELS, champion, seed=0) == pytest.approx(
        exact, abs=0.03
    )


def test_intervals_of_few_rows_are_expanded_by_students_t() -> None:
    from scipy.stats import norm, t

    for n in (6, 20, 88, 1000):
        expected = norm.cdf(-t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1)))
        assert bootstrap._tail(n, 0.95) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("wins", "losses", "margin"), [(5, 9, 0.05), (0, 4, 0.02), (12, 1, 0.1), (0, 0, 0.05)]
)
def test_tango_equals_the_score_test_at_the_constrained_maximum_likelihood(
    wins: int, losses: int, margin: float
) -> None:
    from scipy.optimize import minimize_scalar
    from scipy.stats import norm

    n = 200
    actual = np.zeros(n, int)
    challenger = (np.arange(n) < losses).astype(int)
    champion = ((np.arange(n) >= losses) & (np.arange(n) < losses + wins)).astype(int)

    def negative_log_likelihood(loss_rate: float) -> float:
        win_rate, tie_rate = loss_rate - margin, 1 - 2 * loss_rate + margin
        if min(win_rate, loss_rate, tie_rate) < 0:
            return float("inf")
        terms = ((wins, win_rate), (losses, loss_rate), (n - wins - losses, tie_rate))
        return -sum(count * np.log(max(rate, 1e-300)) for count, rate in terms if count)

    loss_rate = minimize_scalar(
        negative_log_likelihood, bounds=(margin, 0.5), method="bounded", options={"xatol": 1e-10}
    ).x
    z = (wins - losses + n * margin) / np.sqrt(n * (2 * loss_rate - margin - margin**2))
    assert tango(actual, challenger, champion, margin) == pytest.approx(min(1, 2 * norm.sf(z)), rel=1e-3)


def test_tango_needs_four_rows_per_margin_for_models_that_never_differ() -> None:
    zeros = np.zeros(1000, int)
    assert tango(zeros[:340], zeros[:340], zeros[:340], 0.01) > 0.05
    assert tango(zeros[:400], zeros[:400], zeros[:400], 0.01) <= 0.05
    assert tango(zeros, zeros, zeros, 0) == 1
