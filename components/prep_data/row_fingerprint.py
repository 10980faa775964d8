"""Fingerprints of rows, and the split by key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa


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
        for digest in _sha256_of_rows(batch):
            self._sum += int.from_bytes(digest, "big")
        self._sum %= 2**256
        self.rows += batch.num_rows

    def hexdigest(self) -> str:
        """Return the fingerprint of all added rows, 64 hexadecimal digits."""
        return hashlib.sha256(self._sum.to_bytes(32, "big") + self.rows.to_bytes(8, "big")).hexdigest()


def key_digests(keys: pa.Array) -> np.ndarray:
    """Return the first 64 bits of each key's sha256 as an array of uint64."""
    return _to_numbers(hashlib.sha256(part).digest()[:8] for part in _bytes_of(keys))


def row_digests(batch: pa.RecordBatch) -> np.ndarray:
    """Return the first 64 bits of each row's sha256 as an array of uint64."""
    return _to_numbers(digest[:8] for digest in _sha256_of_rows(batch))


def in_holdout(digests: np.ndarray, test_size: float) -> np.ndarray:
    """Return a mask of the rows that are held out.

    The side of a row depends only on its key, so it does not change when the data grows. A larger
    `test_size` only moves rows from the training set to the holdout.
    """
    return digests.astype(np.float64) / 2.0**64 < test_size


def _sha256_of_rows(batch: pa.RecordBatch) -> Iterator[bytes]:
    parts = [_bytes_of(batch.column(name)) for name in sorted(batch.schema.names)]
    for row in zip(*parts, strict=True):
        digest = hashlib.sha256()
        for part in row:
            # The length distinguishes ("ab", "c") from ("a", "bc").
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        yield digest.digest()


def _to_numbers(digests: Iterable[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def _bytes_of(values: pa.Array) -> list[bytes]:
    if pa.types.is_fixed_size_list(values.type):
        flat = values.flatten().to_numpy(zero_copy_only=False)
        return [row.tobytes() for row in flat.reshape(len(values), -1)]
    if pa.types.is_string(values.type):
        return [text.encode("utf-8", "surrogatepass") for text in values.to_pylist()]
    if pa.types.is_binary(values.type):
        return list(values.to_pylist())
    return [value.tobytes() for value in values.to_numpy(zero_copy_only=False)]
