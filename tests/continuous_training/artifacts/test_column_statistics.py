"""Tests of the stored form of column statistics: writing and reading, and damaged documents."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from continuous_training.artifacts.column_statistics import ColumnStatistics
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import JsonObject
from continuous_training.evaluation.statistics_accumulator import StatisticsAccumulator
from workloads.contract import Column

NUMBER = {
    **{"kind": "number", "rows": 3, "mean": 2.0, "std": 1.0, "grid": "log", "minimum": 1.0, "maximum": 3.0},
    **{"edges": [1.0, 2.0, 3.0], "histogram": [1, 2]},
    "quantiles": {"values": [1.0, 2.0, 3.0], "less": [0, 1, 2], "less_or_equal": [1, 2, 3]},
}


def read(content: Any) -> ColumnStatistics:
    return ColumnStatistics.from_json(JsonObject(content, "dataset.json", field="statistics.x"))


@pytest.mark.parametrize(
    "content",
    [
        NUMBER,
        {"kind": "integer", "rows": 5, "counts": {"0": 2, "1": 3}},
        {"kind": "characters", "rows": 2, "counts": {"hangul": 1.25, "spaces": 0.75}},
        {"kind": "words", "rows": 2, "words": "0 2 0"},
        {"kind": "number", "rows": 0},
        {"kind": "number", "rows": 9, "mean": 0.5, "edges": [0, 1], "histogram": [9]},
    ],
)
def test_written_statistics_are_read_unchanged(content: dict[str, Any]) -> None:
    assert read(content).to_json() == content


def test_the_statistics_of_every_kind_of_column_are_the_same_after_writing_and_reading() -> None:
    columns = [Column("n", "number"), Column("t", "text"), Column("c", "integer", values=(0, 1))]
    accumulator = StatisticsAccumulator(columns)
    arrays = [pa.array([0.5, 2.0]), pa.array(["a b", "가나"]), pa.array([0, 1])]
    accumulator.add(pa.record_batch(arrays, names=["n", "t", "c"]))
    result = accumulator.result()
    assert set(result) == {"n", "t", "t characters", "t words", "c"}
    assert {name: read(column.to_json()) for name, column in result.items()} == result


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": "3"}, r"statistics\.x\.rows is '3'; it must be a whole number"),
        ({"mean": "2"}, r"statistics\.x\.mean is '2'; it must be a number"),
        ({"histogram": [1]}, r"statistics\.x\.edges .* with one number more than the histogram"),
        ({"histogram": [1, None]}, r"statistics\.x\.histogram .* a list of numbers"),
        ({"counts": {"0": True}}, r"statistics\.x\.counts .* a JSON object of numbers"),
        ({"words": "1 two"}, r"statistics\.x\.words .* a text with whole numbers"),
        (
            {"quantiles": {"values": [1.0], "less": [0], "less_or_equal": []}},
            r"statistics\.x\.quantiles\.values .* as many numbers as less and less_or_equal",
        ),
    ],
)
def test_damaged_statistics_are_rejected_with_the_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^dataset.json: {message}"):
        read(NUMBER | change)
