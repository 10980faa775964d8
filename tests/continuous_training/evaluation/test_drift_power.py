"""Drift of numbers against scipy and a textbook index: power, false alarms, offsets, and old statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from continuous_training.artifacts.column_statistics import LOG_GRID, ColumnStatistics, Histogram
from continuous_training.artifacts.measurements import ColumnDrift
from continuous_training.evaluation.drift import ALPHA, column_drift
from continuous_training.evaluation.statistics_accumulator import StatisticsAccumulator
from workloads.contract import Column

NUMBER = Column("x", "number")
WIDE = Column("x", "number", 0, 1e9)


def accumulate(values: np.ndarray, column: Column = NUMBER, batch: int = 10_000) -> StatisticsAccumulator:
    accumulator = StatisticsAccumulator([column])
    for start in range(0, len(values), batch):
        part = pa.array(values[start : start + batch], column.arrow)
        accumulator.add(pa.record_batch([part], names=["x"]))
    return accumulator


def drift(old: np.ndarray, new: np.ndarray, column: Column = NUMBER) -> ColumnDrift:
    summaries = (accumulate(values, column).result() for values in (new, old))
    (result,) = column_drift(*summaries)
    return result


def textbook_psi(old: np.ndarray, new: np.ndarray) -> float:
    edges = np.quantile(old, np.linspace(0, 1, 11)[1:-1])
    q, p = (np.bincount(np.searchsorted(edges, values), minlength=10) / len(values) for values in (old, new))
    p = np.maximum(p, 0.5 / len(new))
    return float(((p - q) * np.log(p / q)).sum())


POPULATIONS: dict[str, Any] = {
    "normal": lambda rng, rows: rng.normal(0, 1, rows),
    "exponential": lambda rng, rows: rng.exponential(1, rows),
    "heavy tails": lambda rng, rows: rng.standard_t(3, rows),
    "integers": lambda rng, rows: rng.poisson(40, rows).astype(float),
    "many integers": lambda rng, rows: rng.poisson(3000, rows).astype(float),
    "mostly zero": lambda rng, rows: np.where(rng.random(rows) < 0.7, 0.0, rng.exponential(1, rows)),
}


@pytest.mark.parametrize("offset", [0.0, 1300.0, -1.6e9])
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("rows", [300, 1000, 20_000])
def test_the_index_and_the_test_equal_scipy_and_the_textbook(rows: int, shift: float, offset: float) -> None:
    rng = np.random.default_rng([rows, int(100 * shift)])
    old, new = rng.normal(offset, 1, rows), rng.normal(offset + shift, 1, rows)
    measured, expected = drift(old, new), stats.ks_2samp(old, new, method="asymp")
    assert measured.statistic == pytest.approx(expected.statistic, abs=0.012)
    # From 8,192 rows on, the test allows for the error of interpolated quantiles.
    assert measured.p >= expected.pvalue - 0.12
    if rows < 8192 or shift > 0:
        assert measured.p == pytest.approx(expected.pvalue, abs=0.12)
    assert measured.psi == pytest.approx(textbook_psi(old, new), rel=0.1, abs=0.02)


@pytest.mark.parametrize("offset", [0.0, 1300.0, 1.6e9])
def test_one_standard_deviation_is_found_in_1000_rows(offset: float) -> None:
    rng = np.random.default_rng(1)
    old = accumulate(rng.normal(offset, 1, 1000)).result()
    levels = [
        column_drift(accumulate(rng.normal(offset + 1, 1, 1000)).result(), old)[0].level for _ in range(500)
    ]
    assert levels.count("large") == 500


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize(("rows", "runs"), [(50, 600), (1000, 600), (30_000, 200), (1_000_000, 8)])
def test_false_alarms_are_at_most_at_their_rate(population: str, rows: int, runs: int) -> None:
    rng = np.random.default_rng(rows)
    sample = POPULATIONS[population]
    drifts = [drift(sample(rng, rows), sample(rng, rows)) for _ in range(runs)]
    alarms = sum(result.p < ALPHA for result in drifts)
    assert stats.binomtest(alarms, runs, ALPHA, alternative="greater").pvalue > 0.001
    assert sum(result.level != "stable" for result in drifts) <= alarms


def test_the_range_of_a_column_does_not_hide_a_change() -> None:
    rng = np.random.default_rng(2)
    prices = rng.lognormal(np.log(6e5), 0.3, 2000)
    assert drift(prices, 1.5 * prices, WIDE).level == "large"
    assert drift(rng.normal(1300, 15, 2000), rng.normal(1450, 15, 2000)).level == "large"
    assert drift(rng.normal(1300, 15, 2000), rng.normal(1300, 15, 2000)).level == "stable"


def test_a_value_that_occurs_often_is_compared_by_its_frequency() -> None:
    rng = np.random.default_rng(3)
    old, new = ((rng.random(2000) < share).astype(float) for share in (0.05, 0.5))
    result = drift(old, new)
    assert (result.level, result.statistic) == ("large", pytest.approx(abs(old.mean() - new.mean())))


@pytest.mark.parametrize("rows", [10, 8193, 100_000])
def test_the_standard_deviation_is_accurate_beside_a_large_mean(rows: int) -> None:
    values = np.random.default_rng(4).normal(1.6e9, 1, rows)
    for batch in (1, 1000) if rows == 10 else (1000,):
        assert accumulate(values, batch=batch).result()["x"].std == pytest.approx(values.std(), rel=1e-6)


def test_merged_statistics_equal_those_of_one_pass() -> None:
    values = np.random.default_rng(5).lognormal(0, 1, 200_000)
    merged = accumulate(values[:70_000])
    merged.merge(accumulate(values[70_000:]))
    record, expected = merged.result()["x"], accumulate(values).result()["x"]
    for key in ("rows", "minimum", "maximum"):
        assert getattr(record, key) == getattr(expected, key)
    assert (record.mean, record.std) == pytest.approx((values.mean(), values.std()))
    quantiles = record.quantiles
    assert quantiles is not None
    exact = np.searchsorted(np.sort(values), quantiles.values, side="right")
    assert np.abs(np.array(quantiles.less_or_equal) - exact).max() < 0.002 * len(values)


def test_merged_texts_and_categories_equal_those_of_one_pass() -> None:
    columns = [Column("text", "text"), Column("label", "integer", values=(0, 1))]
    batches = [
        pa.record_batch([pa.array(["가", "ab"]), pa.array([0, 1])], names=["text", "label"]),
        pa.record_batch([pa.array(["", "cde"]), pa.array([1, 1])], names=["text", "label"]),
    ]
    one_pass, first, second = (StatisticsAccumulator(columns) for _ in range(3))
    for batch, part in zip(batches, (first, second), strict=True):
        one_pass.add(batch)
        part.add(batch)
    first.merge(second)
    assert first.result() == one_pass.result()


def test_memory_does_not_grow_with_the_rows() -> None:
    accumulator = accumulate(np.random.default_rng(6).normal(0, 1, 3_000_000), batch=50_000)
    values, weights = accumulator.columns["x"].sketch.weighted_values()
    assert len(values) < 30_000
    assert weights.sum() == 3_000_000
    quantiles = accumulator.result()["x"].quantiles
    assert quantiles is not None
    assert len(quantiles.values) <= 112


GRID_SUMMARY = ColumnStatistics(
    "number", 100, mean=1300.0, histogram=Histogram((1000.0, 1584.89), (100,), LOG_GRID)
)
"""A column without a range as earlier versions stored it: one bin of the logarithmic grid."""


def test_old_statistics_are_compared_by_their_bins() -> None:
    rng = np.random.default_rng(7)
    inside, outside = (accumulate(rng.normal(mean, 15, 500)).result() for mean in (1300, 3000))
    old = {"x": GRID_SUMMARY}
    assert [column_drift(new, old)[0].level for new in (inside, outside, old)] == [
        "stable",
        "large",
        "stable",
    ]
    assert column_drift(old, outside)[0].level == "large"

    ranged = Column("x", "number", 0, 10)
    values = rng.uniform(0, 10, 1000)
    edges = np.linspace(0, 10, 101)
    counts = np.histogram(values, edges)[0]
    old = {"x": ColumnStatistics("number", 1000, histogram=Histogram(tuple(edges), tuple(counts)))}
    assert column_drift(accumulate(values, ranged).result(), old)[0].statistic < 0.005
    assert column_drift(accumulate(values / 2, ranged).result(), old)[0].level == "large"


@pytest.mark.parametrize("value", [0.0, 5.0, 1e30, -1e300])
def test_constant_columns_are_compared(value: float) -> None:
    constant = np.full(500, value)
    assert drift(constant, constant).statistic == 0
    assert drift(constant, constant + max(1.0, abs(value))).statistic == 1
