"""Arrays in temporary files have the values of arrays in memory, and need no memory after each part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from continuous_training.core.stored_array import parts_of, release, stored_array

ROWS, SIZE = 1_000_000, 30_000


def in_parts(values: np.ndarray) -> Sequence[np.ndarray]:
    return np.array_split(values, len(values) // SIZE + 1)


def resident_bytes() -> int:
    """Return the memory of the process that is mapped from stored arrays."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(":")
        if "-" in name.split(" ")[0]:
            inside = "/array-" in line or "/#" in line
        elif name == "Rss" and inside:
            total += 1024 * int(rest.split()[0])
    return total


@pytest.mark.parametrize(
    "values",
    [
        np.arange(10),
        np.arange(ROWS),
        np.linspace(0, 1, ROWS, dtype=np.float32),
        np.arange(ROWS) % 3 == 0,
        np.array(["a", "bc"])[np.arange(ROWS) % 2],
        np.array(["a", "bc"], dtype=object)[np.arange(ROWS) % 2],
    ],
    ids=lambda values: f"{values.dtype} {len(values)}",
)
def test_a_stored_array_has_the_values_and_the_type(values: np.ndarray) -> None:
    stored = stored_array(in_parts(values))
    assert stored.dtype == values.dtype
    assert np.array_equal(stored, values)
    release(stored)
    parts = list(parts_of(stored, values, rows=70_001))
    assert np.array_equal(np.concatenate([part for part, _ in parts]), values)
    assert all(np.array_equal(part, other) for part, other in parts)


@pytest.mark.parametrize("later", [np.arange(ROWS) + 0.5, np.full(ROWS, "x"), np.full(ROWS, None)])
def test_parts_of_several_types_are_concatenated(later: np.ndarray[Any, Any]) -> None:
    parts = [*in_parts(np.arange(ROWS)), *in_parts(later)]
    stored, expected = stored_array(parts), np.concatenate(parts)
    assert stored.dtype == expected.dtype
    assert stored.tolist() == expected.tolist()


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux only")
def test_the_memory_of_a_part_is_free_after_it() -> None:
    stored, before = stored_array(in_parts(np.arange(ROWS))), resident_bytes()
    largest = 0
    for (part,) in parts_of(stored):
        assert part.sum() > 0
        largest = max(largest, resident_bytes() - before)
    assert 0 < largest < stored.nbytes / 4
    assert resident_bytes() - before < 100_000
    assert stored.sum() == ROWS * (ROWS - 1) // 2
    assert resident_bytes() - before >= stored.nbytes
    release(stored[5:])
    assert resident_bytes() - before < 100_000
