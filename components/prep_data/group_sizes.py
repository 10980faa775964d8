"""Count the rows of each group of a split by group."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.prep_data.array_file import ArrayFile

LARGEST_GROUP = 0.9
"""The largest share of the rows that one group may have."""


class _Groups(NamedTuple):
    """The digest and the number of rows of each group."""

    digests: np.ndarray
    sizes: np.ndarray


class GroupSizes:
    """The number of rows of each group, from the digests of its value.

    Adding rows needs no memory: the digests are in a file in `folder`. The results need 8 bytes per row, and
    16 bytes per group.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._digests = ArrayFile(np.uint64, folder)

    def add(self, digests: np.ndarray) -> None:
        """Add rows, as the digests of their groups."""
        self._digests.append(digests)

    def digests(self) -> np.ndarray:
        """Return the digests of the distinct groups."""
        return self._groups.digests

    def largest(self) -> tuple[int, int]:
        """Return the number of rows of the largest group, and the index of its first row."""
        group = int(self._groups.sizes.argmax())
        digest = self._groups.digests[group]
        masks = ((start, part == digest) for start, part in self._digests.parts())
        first = next(start + int(mask.argmax()) for start, mask in masks if mask.any())
        return int(self._groups.sizes[group]), first

    @cached_property
    def _groups(self) -> _Groups:
        ordered = self._digests.read()
        ordered.sort()
        first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        return _Groups(ordered[first], np.diff(first, append=len(ordered)))
