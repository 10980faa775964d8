"""Fingerprints of rows, and the split by key."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from components.prep_data.packed_rows import sha256_of_rows, sha256_of_values


class Fingerprint:
    """The digest of a set of rows, independent of their order and of the batches.

    It is the sum of the rows' sha256 modulo 2^256 (AdHash, Bellare and Micciancio, EUROCRYPT 1997), hashed
    together with the number of rows.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Add all rows of a batch."""
        # Sums of 32 bits fit into 64 bits, for each of the eight parts of a digest.
        parts = sha256_of_rows(batch).view(">u4").astype(np.uint64).sum(axis=0).tolist()
        total = 0
        for part in parts:
            total = total * 2**32 + part
        self._sum = (self._sum + total) % 2**256
        self.rows += batch.num_rows

    def hexdigest(self) -> str:
        """Return the fingerprint of all added rows, 64 hexadecimal digits."""
        return hashlib.sha256(self._sum.to_bytes(32, "big") + self.rows.to_bytes(8, "big")).hexdigest()


def key_digests(keys: pa.Array) -> np.ndarray:
    """Return the first 64 bits of each key's sha256 as an array of uint64."""
    first_bytes = sha256_of_values(keys)[:, :8].copy()
    numbers: np.ndarray = first_bytes.view(">u8")[:, 0].astype(np.uint64)
    return numbers


def in_holdout(digests: np.ndarray, test_size: float) -> np.ndarray:
    """Return a mask of the rows that are held out.

    The side of a row depends only on its key, so it does not change when the data grows. A larger
    `test_size` only moves rows from the training set to the holdout.
    """
    return digests.astype(np.float64) / 2.0**64 < test_size
