"""Drift: two-sample tests against scipy, stability indices, and the column statistics that they use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from continuous_training.artifacts.column_statistics import ColumnStatistics, Histogram
from continuous_training.artifacts.measurements import ColumnDrift
from continuous_training.evaluation.drift import column_drift, psi
from continuous_training.evaluation.statistics_accumulator import StatisticsAccumulator
from continuous_training.evaluation.two_sample_tests import chi_square, chi_square_tail, kolmogorov_smirnov
from continuous_training.evaluation.unicode_profile import kind_of
from workloads.contract import Column

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 99, 100])
@pytest.mark.parametrize("statistic", [1e-6, 0.5, 1, 4, 30, 120, 900])
def test_chi_square_tail_equals_scipy(statistic: float, degrees: int) -> None:
    expected = stats.chi2.sf(statistic, degrees)
    assert chi_square_tail(statistic, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_zero_degrees_of_freedom_or_zero_distance_gives_p_1() -> None:
    assert chi_square_tail(5.0, 0) == chi_square_tail(0.0, 3) == 1.0
    assert chi_square(np.array([4.0, 0]), np.array([7.0, 0])) == (0.0, 1.0)


@pytest.mark.parametrize("new", [(50, 50, 0), (40, 60, 0), (34, 66, 3), (5, 5, 90)])
def test_chi_square_equals_scipy(new: tuple[int, ...]) -> None:
    table = np.array([new, (100, 120, 30)], dtype=float)
    expected = stats.chi2_contingency(table, correction=False)
    assert chi_square(*table) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.2, 1.0])
def test_kolmogorov_smirnov_equals_scipy_with_fine_bins(shift: float) -> None:
    samples = RNG.normal(shift, 1, 900), RNG.normal(0, 1, 700)
    edges = np.unique(np.concatenate(samples))
    edges = np.append(edges, edges[-1] + 1)
    new, old = (np.histogram(sample, edges)[0].astype(float) for sample in samples)
    distance, p = kolmogorov_smirnov(new, old, (900, 700))
    expected = stats.ks_2samp(*samples, method="asymp")
    assert distance == pytest.approx(expected.statistic)
    assert p == pytest.approx(expected.pvalue, abs=0.03)


def test_kolmogorov_smirnov_is_conservative_with_coarse_bins() -> None:
    for shift in (0.0, 0.1, 0.3):
        samples = RNG.normal(shift, 1, 400), RNG.normal(0, 1, 400)
        edges = np.linspace(-6, 6, 13)
        new, old = (np.histogram(sample, edges)[0].astype(float) for sample in samples)
        distance, p = kolmogorov_smirnov(new, old, (400, 400))
        exact = stats.ks_2samp(*samples, method="asymp")
        assert distance <= exact.statistic + 1e-12
        assert p >= exact.pvalue - 0.03


def statistics(*columns: Column, **values: Any) -> dict[str, ColumnStatistics]:
    """Return the statistics of one batch with the given values per column."""
    accumulator = StatisticsAccumulator(columns)
    arrays = [pa.array(values[column.name], column.arrow) for column in columns]
    accumulator.add(pa.record_batch(arrays, names=[column.name for column in columns]))
    return accumulator.result()


def drift_of(column: Column, old: Any, new: Any, name: str = "") -> ColumnDrift:
    """Return the drift of the column, or of another entry of its statistics."""
    drifts = column_drift(*(statistics(column, **{column.name: values}) for values in (new, old)))
    return next(drift for drift in drifts if drift.column == (name or column.name))


BOUNDED = Column("x", "number", 0, 1000)
UNBOUNDED = Column("x", "number")


@pytest.mark.parametrize("column", [BOUNDED, UNBOUNDED], ids=["bounded", "unbounded"])
def test_drift_of_numbers_grows_with_the_shift(column: Column) -> None:
    old = RNG.normal(150, 20, 2000)
    unchanged = drift_of(column, old, RNG.normal(150, 20, 2000))
    assert (unchanged.level, unchanged.test) == ("stable", "KS")
    moderate, large = (drift_of(column, old, RNG.normal(150 + shift, 20, 2000)) for shift in (9, 40))
    assert (moderate.level, large.level) == ("moderate", "large")
    assert large.p < 1e-6
    assert large.statistic > moderate.statistic > unchanged.statistic


def test_numbers_of_any_magnitude_and_sign_are_compared() -> None:
    old = RNG.normal(0, 1, 3000)
    for factor in (1e-5, 1e-2, 1e3, 1e9):
        assert drift_of(UNBOUNDED, factor * old, factor * RNG.normal(0, 1, 3000)).level == "stable"
        assert drift_of(UNBOUNDED, factor * old, -factor * np.abs(old)).level == "large"
    extreme = drift_of(UNBOUNDED, np.full(500, 1e30), np.full(500, -1e30))
    assert (extreme.level, extreme.statistic) == ("large", 1.0)


def test_text_is_compared_by_length() -> None:
    column = Column("x", "text")
    old = ["a" * int(n) for n in RNG.poisson(30, 1000)]
    assert drift_of(column, old, ["b" * int(n) for n in RNG.poisson(30, 1000)]).level == "stable"
    assert drift_of(column, old, ["b" * int(n) for n in RNG.poisson(90, 1000)]).level == "large"
    assert drift_of(column, old, [""] * 1000).level == "large"


def test_text_is_compared_by_the_kinds_of_its_characters() -> None:
    """The lengths are the same and the script differs; each text has the same weight."""
    column = Column("x", "text")
    korean = [f"재미 {'있' * int(n)}!" for n in RNG.poisson(30, 1000)]
    mixed = [text if RNG.random() < 0.7 else "x" * len(text) for text in korean]

    unchanged = drift_of(column, korean[:500], korean[500:], "x characters")
    large = drift_of(column, korean, mixed, "x characters")
    assert (unchanged.level, large.level, large.test) == ("stable", "large", "χ²")
    assert drift_of(column, korean, mixed).level == "stable", "the lengths have not changed"
    profile = statistics(column, x=["가나다라", "ab", "", "1 漢🙂" * 500])["x characters"]
    assert profile.rows == 4
    assert profile.counts == {
        **{"hangul": 1, "han": 0.25, "latin": 1, "digits": 0.25, "symbols": 0.25, "spaces": 0.25},
        "no character": 1,
    }


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *[("한", "hangul"), ("ㅋ", "hangul"), ("漢", "han"), ("か", "kana"), ("カ", "kana"), ("é", "latin")],
        *[("ж", "cyrillic"), ("ω", "greek"), ("ع", "arabic"), ("ส", "other letters"), ("٣", "digits")],
        *[("…", "punctuation"), ("♥", "symbols"), ("🙂", "symbols"), ("\t", "spaces"), ("\xa0", "spaces")],
        *[("\0", "others"), ("\U000e0001", "others")],
    ],
)
def test_kind_of_a_character(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def test_categories_are_compared_by_their_counts() -> None:
    column = Column("x", "text", values=("cat", "dog"))
    old = ["cat", "dog"] * 300
    assert drift_of(column, old, ["dog", "cat"] * 300).level == "stable"
    drift = drift_of(column, old, ["dog", "dog", "dog", "cat"] * 150)
    assert (drift.level, drift.test) == ("large", "χ²")


def test_drift_that_chance_explains_is_stable_for_any_index() -> None:
    """With thirty rows each, the index of two samples of the same population often exceeds the limits."""
    drifts = [drift_of(BOUNDED, RNG.normal(500, 90, 30), RNG.normal(500, 90, 30)) for _ in range(40)]
    assert sum(drift.psi > 0.25 for drift in drifts) > 20
    assert sum(drift.level != "stable" for drift in drifts) <= 6


def test_empty_bins_do_not_inflate_the_index() -> None:
    """The index uses tenths of the old rows. With a hundred bins, the empty ones would increase it."""
    old, new = RNG.uniform(0, 1000, 300), RNG.uniform(0, 1000, 300)
    assert drift_of(BOUNDED, old, new).psi < 0.1


def counts(rows: int, *frequencies: int) -> ColumnStatistics:
    """Return the statistics of a column of categories."""
    frequency_by_name = {str(index): frequency for index, frequency in enumerate(frequencies)}
    return ColumnStatistics("integer", rows, frequency_by_name)


def histogram(rows: int, frequencies: list[int], mean: float = 5.0) -> ColumnStatistics:
    """Return the statistics of a column of numbers from 0 to 10."""
    edges = np.linspace(0, 10, len(frequencies) + 1).tolist()
    return ColumnStatistics("number", rows, mean=mean, histogram=Histogram(tuple(edges), tuple(frequencies)))


def test_psi_of_known_shares() -> None:
    # (0.5 - 0.25) ln 2 + (0.5 - 0.75) ln(2/3)
    assert psi(np.array([50, 50]), np.array([25, 75])) == pytest.approx(0.25 * math.log(3))
    assert psi(np.array([10, 0, 30]), np.array([100, 0, 300])) == pytest.approx(0.0)
    # An empty bin is counted as half a row: shares 100/100.5 and 0.5/100.5 against one half each.
    p = np.array([100, 0.5]) / 100.5
    expected = ((p - 0.5) * np.log(p / 0.5)).sum()
    assert psi(np.array([100, 0]), np.array([50, 50])) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("new", "level"),
    [((50, 50), "stable"), ((40, 60), "stable"), ((34, 66), "moderate"), ((20, 80), "large")],
)
def test_the_level_of_drift(new: tuple[int, int], level: str) -> None:
    (drift,) = column_drift({"label": counts(100, *new)}, {"label": counts(100, 50, 50)})
    assert drift.level == level
    assert drift.chance == pytest.approx(0.02)


def test_drift_is_sorted_and_leaves_out_columns_with_other_bins() -> None:
    new = {
        "unchanged": histogram(100, [50, 50]),
        "moved": histogram(100, [90, 10], 2.0),
        "other bins": histogram(100, [50, 25, 25]),
        "without histogram": ColumnStatistics("text", 100, mean=8.0),
        "empty": histogram(0, [0, 0]),
        "new column": histogram(100, [50, 50]),
    }
    old = {name: histogram(100, [50, 50], 4.0) for name in new if name != "new column"}
    drifts = column_drift(new, old)
    assert [drift.column for drift in drifts] == ["moved", "unchanged"]
    assert (drifts[0].old_mean, drifts[0].new_mean) == (4.0, 2.0)


def test_a_new_category_is_drift() -> None:
    (drift,) = column_drift({"label": counts(100, 40, 40, 20)}, {"label": counts(100, 50, 50)})
    assert drift.level == "large"
