"""The hashes of packed rows, against the hashes of the values one by one."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from components.prep_data.packed_rows import sha256_of_rows, sha256_of_values

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)
BATCH = pa.RecordBatch.from_pydict(
    {
        "text": ["", "ü", "\x00long" * 50],
        "number": [1.5, -0.0, float("nan")],
        "picture": pa.FixedSizeListArray.from_arrays(pa.array(PIXELS.ravel()), 4),
        "integer": pa.array([1, 2, -(2**40)]),
        "bytes": [b"", b"\xff", b"ab"],
        "flag": [True, False, True],
    }
)


def value_bytes(batch: pa.RecordBatch, name: str, row: int) -> bytes:
    value = batch.column(name)[row].as_py()
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return bytes(value)
    return value if isinstance(value, bytes) else np.array(value).tobytes()


@pytest.mark.parametrize("batch", [BATCH, BATCH.slice(1, 2), BATCH.slice(0, 0), BATCH.select(["number"])])
def test_a_row_is_hashed_with_the_length_of_each_value(batch: pa.RecordBatch) -> None:
    expected = []
    for row in range(batch.num_rows):
        parts = [value_bytes(batch, name, row) for name in sorted(batch.schema.names)]
        content = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        expected.append(hashlib.sha256(content).digest())
    assert [bytes(digest) for digest in sha256_of_rows(batch)] == expected


@pytest.mark.parametrize("name", BATCH.schema.names)
def test_a_value_is_hashed_without_its_length(name: str) -> None:
    expected = [hashlib.sha256(value_bytes(BATCH, name, row)).digest() for row in range(BATCH.num_rows)]
    assert [bytes(digest) for digest in sha256_of_values(BATCH.column(name))] == expected
