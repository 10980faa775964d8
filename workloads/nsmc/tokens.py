"""The deep model's input: each text's characters and bigrams as row numbers of two embedding tables."""

from __future__ import annotations

import numpy as np

CHARACTERS, BIGRAMS = 2**15, 2**17
"""Rows of the tables; row 0 is the empty place behind a text."""

LONGEST = 200
"""Characters of a text that the deep model reads; the fast model reads all."""

MARGIN = 5
"""Empty places behind the longest text: as many as the widest filter, so that padding changes no answer."""


def tokens(buckets: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return characters and bigrams, int64 [texts, places] each, from what `ngrams` returned."""
    lengths = np.minimum(np.diff(starts, append=buckets.shape[1]), LONGEST)
    places = np.arange(int(lengths.max()) + MARGIN)
    inside = places < lengths[:, None]
    found = np.minimum(starts[:, None] + places, buckets.shape[1] - 1)
    return tuple(  # type: ignore[return-value]
        np.where(inside, _row(buckets[order][found], rows), 0)
        for order, rows in enumerate((CHARACTERS, BIGRAMS))
    )


def _row(buckets: np.ndarray, rows: int) -> np.ndarray:
    """Fold buckets into row numbers from 1 on; bucket 0, no n-gram, is row 0."""
    return np.where(buckets == 0, 0, buckets.astype(np.int64) % (rows - 1) + 1)
