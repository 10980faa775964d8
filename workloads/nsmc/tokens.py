"""The input of the deep model: the characters and bigrams of each text as rows of two embedding tables."""

from __future__ import annotations

import numpy as np

CHARACTERS, BIGRAMS = 2**15, 2**17
"""Number of rows of each table. Row 0 is padding."""

MAX_LENGTH = 200
"""Number of positions of a text that the deep model reads. The fast model reads the whole text."""

PADDING = 5
"""Padding after the longest text: the width of the widest filter, so that padding does not change a score."""


def tokens(buckets: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of characters and bigrams, int64 [texts, positions] each, for a result of `ngrams`."""
    lengths = np.minimum(np.diff(starts, append=buckets.shape[1]), MAX_LENGTH)
    positions = np.arange(int(lengths.max()) + PADDING)
    inside = positions < lengths[:, None]
    indices = np.minimum(starts[:, None] + positions, buckets.shape[1] - 1)
    return tuple(  # type: ignore[return-value]
        np.where(inside, _table_rows(buckets[order][indices], rows), 0)
        for order, rows in enumerate((CHARACTERS, BIGRAMS))
    )


def _table_rows(buckets: np.ndarray, rows: int) -> np.ndarray:
    """Map buckets to rows from 1. Bucket 0, which means no n-gram, is row 0."""
    return np.where(buckets == 0, 0, buckets.astype(np.int64) % (rows - 1) + 1)
