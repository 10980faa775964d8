"""Tests of the JSON Schemas of requests, and of their ranges from the training rows."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from continuous_training.artifacts.column_statistics import ColumnStatistics
from workloads.contract import Column
from workloads.discovery import get, names
from workloads.schemas import exactly, one_or_many, picture, record, with_ranges

COLUMNS = (Column("age", "number", help="years"), Column("kind", "integer", values=(1, 2, 3)))
STATISTICS = {
    "age": ColumnStatistics("number", mean=40.04, minimum=10.0, maximum=70.0),
    "kind": ColumnStatistics("integer", counts={"1": 3, "2": 9, "3": 0}),
}


@pytest.mark.parametrize(
    ("request_", "valid"),
    [
        ({"row": {"age": 3, "kind": 1}}, True),
        ({"rows": [{"age": 3, "kind": 1}]}, True),
        ({"row": {"age": 3}}, False),
        ({"row": {"age": 3, "kind": 1, "more": 1}}, False),
        ({"row": {"age": 1e9, "kind": 1}}, False),
        ({"rows": []}, False),
        ({}, False),
    ],
)
def test_the_schema_accepts_one_row_or_several_rows_only(request_: Any, valid: bool) -> None:
    schema = one_or_many("row", "rows", record(COLUMNS, 1e6))
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid(request_) is valid


def test_ranges_come_from_the_training_rows() -> None:
    result = with_ranges(one_or_many("row", "rows", record(COLUMNS, 1e6)), COLUMNS, STATISTICS)
    for row in (result["oneOf"][0]["properties"]["row"], result["oneOf"][1]["properties"]["rows"]["items"]):
        assert row["properties"]["age"]["x-range"] == {
            "minimum": 10.0,
            "maximum": 70.0,
            "default": 40.0,
            "step": 0.1,
        }
        kinds = {"minimum": 1, "maximum": 3, "default": 2, "step": 1}
        assert row["properties"]["kind"]["x-range"] == kinds


def test_a_declared_range_stays_and_a_name_without_statistics_gets_no_range() -> None:
    declared = {"type": "number", "x-range": {"minimum": 0, "maximum": 1}}
    schema = exactly(age=declared, other={"type": "number"})
    result = with_ranges(schema, COLUMNS, STATISTICS)
    assert result == schema
    assert with_ranges(schema, COLUMNS, {}) == schema


def test_a_picture_schema_checks_the_shape_and_the_pixel_range() -> None:
    validator = Draft202012Validator(picture(2, 3, 9))
    assert validator.is_valid([[0, 9, 1.5], [0, 0, 0]])
    for invalid in ([[0, 0, 0]], [[0, 0], [0, 0]], [[0, 0, 10], [0, 0, 0]], [[0, 0, "a"], [0, 0, 0]]):
        assert not validator.is_valid(invalid)


@pytest.mark.parametrize("name", names())
def test_the_schemas_of_every_workload_are_valid(name: str) -> None:
    workload = get(name)
    for schema in (workload.request_schema, workload.answer_schema):
        Draft202012Validator.check_schema(schema)
