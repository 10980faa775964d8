"""The histograms of a column in two datasets have the same bars."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from continuous_training.artifacts.column_statistics import ColumnStatistics
from continuous_training.evaluation.column_histogram import MAX_BARS, ColumnHistogram, column_histogram
from continuous_training.evaluation.statistics_accumulator import StatisticsAccumulator
from workloads.contract import Column

RNG = np.random.default_rng(0)


def summary(values: Any, column: Column | None = None) -> dict[str, ColumnStatistics]:
    column = column or Column("x", "number")
    statistics = StatisticsAccumulator([column])
    statistics.add(pa.record_batch([pa.array(values, column.arrow)], names=["x"]))
    return statistics.result()


def histogram(new: Any, old: Any, column: Column | None = None, name: str = "x") -> ColumnHistogram:
    result = column_histogram(summary(new, column)[name], summary(old, column)[name])
    assert result is not None
    assert result.old is not None
    assert len(result.bars) == len(result.new) == len(result.old)
    return result


@pytest.mark.parametrize("column", [Column("x", "number"), Column("x", "number", 0, 1e9)])
def test_a_shift_within_one_bin_of_the_stored_grid_is_visible(column: Column) -> None:
    old, new = RNG.normal(1300, 15, 5000), RNG.normal(1450, 15, 5000)
    result = histogram(new, old, column)
    edges = np.linspace(*np.quantile(np.concatenate([old, new]), [0.0025, 0.9975]), MAX_BARS + 1)
    expected = np.histogram(np.clip(old, edges[0], edges[-1]), edges)[0] / 5000
    assert np.abs(np.array(result.old) - expected).max() < 0.1
    assert np.dot(result.old or (), result.new) < 0.001, "the histograms do not overlap"


def test_an_outlier_does_not_hide_the_other_rows() -> None:
    values = np.append(RNG.normal(0, 1, 5000), 1e6)
    assert max(histogram(values, values).new) < 0.2


def test_few_values_have_a_bar_each() -> None:
    result = histogram([1.0, 1.0, 2.5, 7.0], [1.0, 9.0])
    assert result.to_json() == {
        "bars": ["1", "2.5", "7", "9"],
        "now": [0.5, 0.25, 0.25, 0],
        "then": [0.5, 0, 0, 0.5],
    }


def test_bars_of_whole_numbers_have_equally_many_values() -> None:
    values = np.repeat(np.arange(60), 10)
    shares = np.array(histogram(values, values, Column("x", "integer")).new)
    assert shares[:-1] == pytest.approx(3 / 60, abs=0.001)


def test_categories_and_words() -> None:
    column = Column("x", "text", values=("a", "b"))
    assert histogram(["a", "a", "b"], ["b"], column).to_json() == {
        "bars": ["a", "b"], "now": [0.66667, 0.33333], "then": [0, 1],
    }  # fmt: skip
    words = histogram(["one"] * 3 + ["two"], ["one"] * 4, Column("x", "text"), "x words")
    assert (words.old or ())[0] == 1
    assert words.new[0] == 0.75
    assert sum(words.new) == pytest.approx(1)


def test_statistics_of_earlier_versions_are_drawn_by_their_histogram() -> None:
    old, new = (summary(RNG.normal(mean, 100, 1000))["x"] for mean in (1000, 2000))
    old = replace(old, quantiles=None)
    result = column_histogram(new, old)
    assert result is not None
    assert result.old is not None
    assert np.argmax(result.old) < np.argmax(result.new)
    assert column_histogram(replace(new, quantiles=None)) is not None


def test_statistics_in_different_forms_have_no_histogram() -> None:
    number, category = summary([1.0])["x"], summary(["a"], Column("x", "text", values=("a",)))["x"]
    assert column_histogram(number, category) is None
    assert column_histogram(ColumnStatistics("number", 0)) is None
