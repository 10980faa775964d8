"""The bytes that the row fingerprint covers, and the limit between training set and holdout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.prep_data.row_fingerprint import Fingerprint, in_holdout


def fingerprint(*batches: dict[str, list[Any]]) -> str:
    result = Fingerprint()
    for batch in batches:
        result.add(pa.RecordBatch.from_pydict(batch))
    return result.hexdigest()


def test_stored_fingerprints_remain_comparable() -> None:
    rows = {"x": ["ab", "ü"], "y": [b"c", b""], "z": [1.5, -2.0]}
    assert fingerprint(rows, {"x": ["ab"], "y": [b"c"], "z": [1.5]}) == (
        "c848a1cd46e229d08507b3a143057c175c6e2c1aa5377e5c24cb55825b458d9a"
    )


def test_the_border_between_columns_is_part_of_the_fingerprint() -> None:
    assert fingerprint({"x": ["ab"], "y": ["c"]}) != fingerprint({"x": ["a"], "y": ["bc"]})


@pytest.mark.parametrize(
    ("digest", "expected"), [(0, True), (2**63 - 2**12, True), (2**63, False), (2**64 - 1, False)]
)
def test_digests_below_the_share_are_held_out(digest: int, expected: bool) -> None:
    assert in_holdout(np.array([digest], np.uint64), 0.5).tolist() == [expected]
