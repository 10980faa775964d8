"""A set of digests of 16 bytes, with little memory for each."""

from __future__ import annotations

import tempfile

import numpy as np

_RUN = 1 << 20
"""Digests per sorted array at the most, so that a merge needs little memory."""

_RUNS_IN_MEMORY = 100
"""Full sorted arrays in memory, 16 MB each; the following ones are in temporary files."""

_BITS_PER_DIGEST = 8


class DistinctDigests:
    """Finds digests that occurred before, in batches.

    A Bloom filter (Bloom, 1970) excludes nearly all new digests. The others are looked up in sorted arrays.
    Memory: 16 bytes per digest up to 100 million digests, and 1 to 2 bytes for the filter.
    """

    def __init__(self, run: int = _RUN, runs_in_memory: int = _RUNS_IN_MEMORY) -> None:
        self._run, self._runs_in_memory = run, runs_in_memory
        self._full: list[np.ndarray] = []
        self._partial: list[np.ndarray] = []
        self._filter = _Filter(run)

    def add(self, digests: np.ndarray) -> np.ndarray:
        """Add digests, uint8 of shape [n, 16]. Return the mask of those that occur for the first time."""
        halves = np.ascontiguousarray(digests).view(np.uint64)
        texts = np.ascontiguousarray(digests).view("S16")[:, 0]
        is_new = _first_occurrences(halves[:, 0], texts)
        candidates = np.flatnonzero(self._filter.may_contain(halves) & is_new)
        if len(candidates):
            is_new[candidates] = ~self._contains(texts[candidates])
        self._insert(texts[is_new])
        self._filter.add(halves[is_new])
        if self._filter.is_full:
            self._filter = self._larger_filter()
        return is_new

    def _contains(self, texts: np.ndarray) -> np.ndarray:
        ordered = np.argsort(texts)
        ascending, is_member = texts[ordered], np.zeros(len(texts), dtype=bool)
        for run in (*self._full, *self._partial):
            positions = np.minimum(np.searchsorted(run, ascending), len(run) - 1)
            is_member |= run[positions] == ascending
        result = np.empty_like(is_member)
        result[ordered] = is_member
        return result

    def _insert(self, texts: np.ndarray) -> None:
        """Add a sorted array, and merge it with earlier ones that are not longer."""
        if not len(texts):
            return
        run = np.sort(texts)
        while self._partial and len(self._partial[-1]) <= len(run):
            # A stable sort merges two sorted arrays in linear time.
            run = np.sort(np.concatenate([self._partial.pop(), run]), kind="stable")
        if len(run) < self._run:
            self._partial.append(run)
        else:
            self._full.append(run if len(self._full) < self._runs_in_memory else _on_disk(run))

    def _larger_filter(self) -> _Filter:
        larger = _Filter(2 * self._filter.capacity)
        for run in (*self._full, *self._partial):
            larger.add(run.view(np.uint64).reshape(-1, 2))
        return larger


class _Filter:
    """A Bloom filter of 64-bit blocks, with three bits per digest."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self._count = capacity, 0
        self._blocks = np.zeros(max(1, capacity * _BITS_PER_DIGEST // 64), dtype=np.uint64)

    @property
    def is_full(self) -> bool:
        return self._count > self.capacity

    def add(self, halves: np.ndarray) -> None:
        blocks, bits = self._positions(halves)
        np.bitwise_or.at(self._blocks, blocks, bits)
        self._count += len(halves)

    def may_contain(self, halves: np.ndarray) -> np.ndarray:
        blocks, bits = self._positions(halves)
        mask: np.ndarray = (self._blocks[blocks] & bits) == bits
        return mask

    def _positions(self, halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the block of each digest, and its bits in the block."""
        blocks = (halves[:, 0] % np.uint64(len(self._blocks))).astype(np.intp)
        one, sixty_three = np.uint64(1), np.uint64(63)
        bits = np.zeros(len(halves), dtype=np.uint64)
        for shift in (0, 6, 12):
            bits |= one << ((halves[:, 1] >> np.uint64(shift)) & sixty_three)
        return blocks, bits


def _first_occurrences(hashes: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Return the mask of the digests that do not occur earlier in the array."""
    ordered = np.sort(hashes)
    if (ordered[1:] != ordered[:-1]).all():
        return np.ones(len(texts), dtype=bool)
    mask = np.zeros(len(texts), dtype=bool)
    mask[np.unique(texts, return_index=True)[1]] = True
    return mask


def _on_disk(run: np.ndarray) -> np.ndarray:
    """Return an array whose content is in a temporary file, which is deleted with the array."""
    with tempfile.TemporaryFile(prefix="digests-") as file:
        stored = np.memmap(file, dtype=run.dtype, mode="w+", shape=run.shape)
    stored[:] = run
    return stored
