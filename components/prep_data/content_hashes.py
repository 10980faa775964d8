"""Fast 64-bit hashes of rows, to find rows with the same content. They are not stored."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.prep_data.row_fingerprint import key_digests

_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def content_hashes(batch: pa.RecordBatch) -> np.ndarray:
    """Return a hash of each row, uint64 of shape [rows]. Rows with equal values have equal hashes.

    A text is hashed by its sha256, and numbers with a few numpy operations for each column.
    """
    hashes = np.zeros(batch.num_rows, dtype=np.uint64)
    for column in batch.columns:
        for lane in _lanes(column):
            hashes = _mix(hashes ^ lane)
    return hashes


def _lanes(values: pa.Array) -> np.ndarray:
    """Return the content of each value as 64-bit lanes: uint64 of shape [lanes, rows]."""
    if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        return key_digests(values)[None]
    width = values.type.list_size if pa.types.is_fixed_size_list(values.type) else 1
    flat = values.flatten() if pa.types.is_fixed_size_list(values.type) else values
    numbers = flat.to_numpy(zero_copy_only=False).reshape(len(values), width)
    if numbers.itemsize != 8:
        # The bits of a smaller number, without a loss: equal bits have equal lanes.
        numbers = numbers.view(f"u{numbers.itemsize}").astype(np.uint64)
    return np.ascontiguousarray(numbers.view(np.uint64).T)


def _mix(lanes: np.ndarray) -> np.ndarray:
    """Return the lanes after the finalizer of SplitMix64 (Steele, Lea and Flood, 2014), a bijection."""
    # The constant makes a row of zeros different from no row, and the hash depend on the order of the lanes.
    lanes = lanes + np.uint64(0x9E3779B97F4A7C15)
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS, strict=False):
        lanes ^= lanes >> shift
        lanes *= multiplier
    lanes ^= lanes >> _SHIFTS[-1]
    return lanes
