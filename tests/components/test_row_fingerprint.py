"""The bytes that the row fingerprint covers, and the limit between training set and holdout."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.prep_data.row_fingerprint import Fingerprint, in_holdout, key_digests


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


def test_pictures_are_covered_by_the_bytes_of_each_row() -> None:
    def pictures(*rows: list[int]) -> str:
        result = Fingerprint()
        column = pa.array(rows, pa.list_(pa.uint8(), 2))
        result.add(pa.RecordBatch.from_arrays([column], names=["x"]))
        return result.hexdigest()

    expected = sum(
        int.from_bytes(hashlib.sha256(b"\0" * 7 + b"\2" + row).digest(), "big") for row in (b"\1\2", b"\3\4")
    )
    content = (expected % 2**256).to_bytes(32, "big") + (2).to_bytes(8, "big")
    assert pictures([1, 2], [3, 4]) == hashlib.sha256(content).hexdigest()


def test_the_border_between_columns_is_part_of_the_fingerprint() -> None:
    assert fingerprint({"x": ["ab"], "y": ["c"]}) != fingerprint({"x": ["a"], "y": ["bc"]})


def test_keys_keep_the_side_that_former_versions_gave_them() -> None:
    keys = pa.array(["row 1", "row 2", "row 3", "row 4", "row 5", "row 6"])
    assert in_holdout(key_digests(keys), 0.3).tolist() == [False, True, False, True, True, False]


def test_the_fingerprint_is_the_hash_of_sum_and_number_of_rows() -> None:
    """The sum of these digests exceeds 2^256, and its highest bit is set."""
    texts = ["a", "b", "c", "d"]
    rows = [hashlib.sha256(len(t).to_bytes(8, "big") + t.encode()).digest() for t in texts]
    total = sum(int.from_bytes(row, "big") for row in rows)
    assert (total >= 2**256, total % 2**256 >= 2**255) == (True, True)
    content = (total % 2**256).to_bytes(32, "big") + len(rows).to_bytes(8, "big")
    assert fingerprint({"x": texts}) == hashlib.sha256(content).hexdigest()


def test_the_digest_of_a_key_is_the_beginning_of_its_sha256() -> None:
    keys = ["a", "", "ü", "\x00"]
    expected = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") for key in keys]
    assert key_digests(pa.array(keys)).tolist() == expected


@pytest.mark.parametrize(
    ("digest", "expected"), [(0, True), (2**63 - 2**12, True), (2**63, False), (2**64 - 1, False)]
)
def test_digests_below_the_share_are_held_out(digest: int, expected: bool) -> None:
    assert in_holdout(np.array([digest], np.uint64), 0.5).tolist() == [expected]
