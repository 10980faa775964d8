"""Metrics and their intervals, against known values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, mean_absolute_error, mean_squared_error, r2_score

from continuous_training.evaluation import metrics as scores
from continuous_training.evaluation.metrics import METRICS, Metric, improvement, measure, score
from continuous_training.evaluation.paired_tests import mcnemar, permutation, tango

BY_NAME = {metric.name: metric for metrics in METRICS.values() for metric in metrics}
RNG = np.random.default_rng(7)
LABELS = RNG.integers(0, 3, 400)
GUESSES = np.where(RNG.random(400) < 0.8, LABELS, (LABELS + 1) % 3)
NUMBERS = RNG.normal(100, 20, 400)
ESTIMATES = NUMBERS + RNG.normal(0, 10, 400)


@pytest.mark.parametrize(
    ("name", "actual", "predicted", "expected"),
    [
        ("accuracy", LABELS, GUESSES, accuracy_score(LABELS, GUESSES)),
        ("r2", NUMBERS, ESTIMATES, r2_score(NUMBERS, ESTIMATES)),
        ("mse", NUMBERS, ESTIMATES, mean_squared_error(NUMBERS, ESTIMATES)),
        ("mae", NUMBERS, ESTIMATES, mean_absolute_error(NUMBERS, ESTIMATES)),
    ],
)
def test_the_values_are_scikit_learns(
    name: str, actual: np.ndarray, predicted: np.ndarray, expected: float
) -> None:
    found = measure(BY_NAME[name], actual, predicted, seed=0)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert score(BY_NAME[name], actual, predicted) == found.value
    assert found.low < found.value < found.high


def test_an_interval_is_as_wide_as_the_normal_approximation_says() -> None:
    found = measure(BY_NAME["accuracy"], LABELS, GUESSES, seed=0)
    half = 1.96 * np.sqrt(found.value * (1 - found.value) / len(LABELS))
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_a_seed_gives_the_same_interval_again_and_another_one_a_close_one() -> None:
    first, again, other = (measure(BY_NAME["mse"], NUMBERS, ESTIMATES, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first.low == pytest.approx(other.low, rel=0.05)


def test_resampling_in_pieces_is_as_good_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(BY_NAME["r2"], NUMBERS, ESTIMATES, 0)
    monkeypatch.setattr(scores, "_CHUNK", 10_000)
    pieces = measure(BY_NAME["r2"], NUMBERS, ESTIMATES, 0)
    assert pieces.value == whole.value
    assert (pieces.low, pieces.high) == (
        pytest.approx(whole.low, abs=0.01),
        pytest.approx(whole.high, abs=0.01),
    )


@pytest.mark.parametrize("metric", [BY_NAME["r2"], BY_NAME["mse"], BY_NAME["mae"]], ids=lambda m: m.name)
def test_an_improvement_is_positive_whichever_way_the_metric_goes(metric: Metric) -> None:
    worse = NUMBERS + 2 * (ESTIMATES - NUMBERS)
    better = improvement(metric, NUMBERS, ESTIMATES, worse, 0)
    back = improvement(metric, NUMBERS, worse, ESTIMATES, 0)
    assert 0 < better.low < better.value < better.high
    assert (back.value, back.high, back.low) == (
        pytest.approx(-better.value), pytest.approx(-better.low), pytest.approx(-better.high),
    )  # fmt: skip


def test_a_pairing_sees_what_two_intervals_do_not() -> None:
    """Both models err on the same rows; the challenger is right on twelve more, and wrong on none."""
    better = GUESSES.copy()
    wrong = np.flatnonzero(GUESSES != LABELS)[:12]
    better[wrong] = LABELS[wrong]
    ours, theirs = (measure(BY_NAME["accuracy"], LABELS, guesses, 0) for guesses in (better, GUESSES))
    assert ours.low < theirs.high
    paired = improvement(BY_NAME["accuracy"], LABELS, better, GUESSES, 0)
    assert paired.value == pytest.approx(12 / 400)
    assert paired.low > 0


def test_the_same_answers_are_no_improvement_at_all() -> None:
    same = improvement(BY_NAME["accuracy"], LABELS, GUESSES, GUESSES, 0)
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.mark.filterwarnings("error")
def test_what_has_no_value_is_no_number_and_no_warning() -> None:
    constant = np.ones(30)
    assert not np.isfinite(measure(BY_NAME["r2"], constant, constant * 2, 0).value)
    assert not np.isfinite(score(BY_NAME["r2"], constant[:1], constant[:1]))
    assert np.isnan(measure(BY_NAME["mse"], NUMBERS, np.full(400, np.nan), 0).value)


def disagreeing(wins: int, losses: int, both: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers with that many rows on which the challenger alone, or the champion alone, is right."""
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
def test_mcnemar_is_exact(wins: int, losses: int, p: float) -> None:
    assert mcnemar(*disagreeing(wins, losses)) == pytest.approx(p, rel=1e-12)
    assert mcnemar(*disagreeing(losses, wins)) == pytest.approx(p, rel=1e-12)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_the_binomial_test(wins: int, losses: int) -> None:
    # SciPy returns 0 for some p-values below 1e-254.
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert mcnemar(*disagreeing(wins, losses)) == pytest.approx(expected, rel=1e-9, abs=1e-240)


def test_class_metrics_are_scikit_learns() -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score

    assert score(BY_NAME["balanced_accuracy"], LABELS, GUESSES) == pytest.approx(
        balanced_accuracy_score(LABELS, GUESSES)
    )
    assert score(BY_NAME["macro_f1"], LABELS, GUESSES) == pytest.approx(
        f1_score(LABELS, GUESSES, average="macro")
    )


def test_a_class_of_one_row_does_not_make_an_interval_nan() -> None:
    labels = np.array([0, 1] * 30 + [2])
    for name in ("balanced_accuracy", "macro_f1"):
        found = measure(BY_NAME[name], labels, np.where(labels == 2, 0, labels), seed=0)
        assert np.isfinite([found.value, found.low, found.high]).all()


@pytest.mark.parametrize("name", ["mse", "mae", "r2"])
def test_the_permutation_test_is_scipys(name: str) -> None:
    from scipy.stats import permutation_test

    actual, rng = NUMBERS[:60], np.random.default_rng(3)
    ours, theirs = actual + rng.normal(0, 10, 60), actual + rng.normal(0, 13, 60)
    metric = BY_NAME[name]
    theirs_p = permutation_test(
        (ours, theirs),
        lambda a, b: score(metric, actual, a) - score(metric, actual, b),
        permutation_type="samples",
        n_resamples=4000,
        rng=5,
    ).pvalue
    assert permutation(metric, actual, ours, theirs, seed=0) == pytest.approx(theirs_p, abs=0.03)
    assert permutation(metric, actual, ours, ours, seed=0) == 1.0


def test_the_permutation_test_of_accuracy_is_mcnemars() -> None:
    theirs = np.where(RNG.random(400) < 0.75, LABELS, (LABELS + 1) % 3)
    exact = mcnemar(LABELS, GUESSES, theirs)
    assert permutation(BY_NAME["accuracy"], LABELS, GUESSES, theirs, seed=0) == pytest.approx(exact, abs=0.03)


def test_intervals_of_few_rows_reach_farther_by_students_t() -> None:
    from scipy.stats import norm, t

    for n in (6, 20, 88, 1000):
        expected = norm.cdf(-t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1)))
        assert scores._tail(n, 0.95) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("wins", "losses", "margin"), [(5, 9, 0.05), (0, 4, 0.02), (12, 1, 0.1), (0, 0, 0.05)]
)
def test_tangos_test_is_the_score_test_at_the_likeliest_model_that_is_worse_by_the_margin(
    wins: int, losses: int, margin: float
) -> None:
    from scipy.optimize import minimize_scalar
    from scipy.stats import norm

    n = 200
    actual = np.zeros(n, int)
    ours = (np.arange(n) < losses).astype(int)
    theirs = ((np.arange(n) >= losses) & (np.arange(n) < losses + wins)).astype(int)

    def unlikely(lost: float) -> float:
        won, both = lost - margin, 1 - 2 * lost + margin
        if min(won, lost, both) < 0:
            return float("inf")
        parts = ((wins, won), (losses, lost), (n - wins - losses, both))
        return -sum(count * np.log(max(share, 1e-300)) for count, share in parts if count)

    lost = minimize_scalar(unlikely, bounds=(margin, 0.5), method="bounded", options={"xatol": 1e-10}).x
    z = (wins - losses + n * margin) / np.sqrt(n * (2 * lost - margin - margin**2))
    assert tango(actual, ours, theirs, margin) == pytest.approx(min(1, 2 * norm.sf(z)), rel=1e-3)


def test_models_that_never_differ_need_four_rows_in_a_margin_to_be_told_not_worse() -> None:
    zeros = np.zeros(1000, int)
    assert tango(zeros[:340], zeros[:340], zeros[:340], 0.01) > 0.05
    assert tango(zeros[:400], zeros[:400], zeros[:400], 0.01) <= 0.05
    assert tango(zeros, zeros, zeros, 0) == 1
