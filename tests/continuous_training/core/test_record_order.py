"""The order of records: by position, and by time for records of earlier versions."""

from __future__ import annotations

import pytest

from continuous_training.core.record_order import in_order, next_position


def ordered(*records: tuple[str, int | None, str]) -> str:
    """Return the names of records (name, position, time) in their order."""
    result = in_order(records, lambda record: record[1], lambda record: record[2])
    return "".join(name for name, _, _ in result)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], ""),
        ([("b", None, "2"), ("a", None, "1")], "ab"),
        ([("b", 1, "1"), ("a", 0, "2")], "ab"),
        # The clock was set back after the records of an earlier version.
        ([("a", None, "8"), ("b", None, "9"), ("c", 2, "1"), ("d", 3, "2")], "abcd"),
        # An earlier version has written "c" between the records of this version.
        ([("a", None, "1"), ("b", 1, "2"), ("c", None, "3"), ("d", 3, "4")], "abcd"),
        ([("a", None, "1"), ("b", 1, "2"), ("c", None, "3")], "abc"),
        # The record with position 1 was removed.
        ([("a", 0, "1"), ("c", 2, "2"), ("d", 3, "3")], "acd"),
        # Two processes wrote at the same time.
        ([("b", 1, "2"), ("c", 1, "3"), ("a", 0, "1"), ("d", 3, "0")], "abcd"),
    ],
)
def test_the_order_follows_the_positions(records: list[tuple[str, int | None, str]], expected: str) -> None:
    assert ordered(*records) == expected
    assert ordered(*reversed(records)) == expected


@pytest.mark.parametrize(
    ("positions", "expected"), [([], 0), ([None, None], 2), ([None, 1], 2), ([0, 2], 3), ([0, None, None], 3)]
)
def test_a_new_record_is_after_all_others(positions: list[int | None], expected: int) -> None:
    assert next_position(positions) == expected
