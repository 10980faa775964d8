"""The hashes of rows that find rows with the same content."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from components.prep_data.content_hashes import content_hashes

VECTORS = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(8, dtype=np.float32)), 2)
ROWS = pa.RecordBatch.from_pydict(
    {
        "text": ["", "ü", "a", "b"],
        "bytes": [b"", b"\xff", b"a", b"b"],
        "number": [0.0, -0.0, 1.0, 2.0],
        "integer": [0, 1, 2**40, -1],
        "vector": VECTORS,
    }
)


def test_equal_rows_have_equal_hashes_in_any_batch() -> None:
    hashes = content_hashes(ROWS).tolist()
    assert len(set(hashes)) == 4
    again = content_hashes(pa.concat_batches([ROWS.slice(2), ROWS.slice(0, 2)])).tolist()
    assert again == hashes[2:] + hashes[:2]
    assert content_hashes(ROWS.slice(1, 2)).tolist() == hashes[1:3]
    assert content_hashes(ROWS.slice(0, 0)).tolist() == []


@pytest.mark.parametrize("name", ROWS.schema.names)
def test_each_column_is_part_of_the_hash(name: str) -> None:
    index = ROWS.schema.get_field_index(name)
    other = ROWS.set_column(
        index, name, pa.concat_arrays([ROWS.column(name).slice(1), ROWS.column(name)[:1]])
    )
    assert not set(content_hashes(ROWS).tolist()) & set(content_hashes(other).tolist())


def test_small_differences_and_exchanged_values_give_other_hashes() -> None:
    """All pairs of integers below 300: a hash that adds its words would have collisions."""
    a, b = (values.ravel() for values in np.meshgrid(np.arange(300), np.arange(300)))
    for dtype in (np.int64, np.float64):
        rows = pa.RecordBatch.from_pydict({"a": a.astype(dtype), "b": b.astype(dtype)})
        assert len(np.unique(content_hashes(rows))) == 90_000
