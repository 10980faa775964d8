"""Count the rows of each group of a split by group."""

from __future__ import annotations

import numpy as np

LARGEST_GROUP = 0.9
"""The largest share of the rows that one group may have."""


class GroupSizes:
    """The number of rows of each group, from the digests of its value.

    Memory: 8 bytes per row.
    """

    def __init__(self) -> None:
        self._digests: list[np.ndarray] = []

    def add(self, digests: np.ndarray) -> None:
        """Add rows, as the digests of their groups."""
        self._digests.append(digests)

    def digests(self) -> np.ndarray:
        """Return the digests of the distinct groups."""
        return np.unique(np.concatenate(self._digests))

    def largest(self) -> tuple[int, int]:
        """Return the number of rows of the largest group, and the index of its first row."""
        digests = np.concatenate(self._digests)
        _, first, counts = np.unique(digests, return_index=True, return_counts=True)
        largest = int(counts.argmax())
        return int(counts[largest]), int(first[largest])
