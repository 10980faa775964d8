"""A set of digests of 16 bytes, with little memory for each."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator

import numpy as np

_RUN = 1 << 19
"""Digests from which a sorted array is full, so that a merge needs little memory."""

_RUNS_IN_MEMORY = 180
"""Full sorted arrays in memory, 8 to 9 MB each; the following ones are in temporary files. With the filter,
the memory is 16 bytes per digest of 100 million digests."""

_PART = 1 << 16
"""Digests that are added to a filter at a time."""

_BITS_PER_DIGEST = 8


class DistinctDigests:
    """Finds digests that occurred before, in batches.

    A Bloom filter (Bloom, 1970) excludes nearly all new digests. The others are looked up in sorted arrays.
    Memory: 16 bytes per digest up to `runs_in_memory` full arrays, about 96 million digests, and 1 to 2 bytes
    for the filter.
    """

    def __init__(self, run: int = _RUN, runs_in_memory: int = _RUNS_IN_MEMORY) -> None:
        self._run, self._runs_in_memory = run, runs_in_memory
        self._full: list[_Run] = []
        self._partial: list[_Run] = []
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
            self._enlarge_filter()
        return is_new

    def _contains(self, texts: np.ndarray) -> np.ndarray:
        ordered = np.argsort(texts)
        ascending, is_member = texts[ordered], np.zeros(len(texts), dtype=bool)
        for run in (*self._full, *self._partial):
            array = run.array
            positions = np.minimum(np.searchsorted(array, ascending), len(array) - 1)
            is_member |= array[positions] == ascending
            run.release()
        result = np.empty_like(is_member)
        result[ordered] = is_member
        return result

    def _insert(self, texts: np.ndarray) -> None:
        """Add a sorted array, and merge it with earlier ones that are not longer."""
        if not len(texts):
            return
        array = np.sort(texts)
        while self._partial and len(self._partial[-1].array) <= len(array):
            # A stable sort merges two sorted arrays in linear time.
            array = np.concatenate([self._partial.pop().array, array])
            array.sort(kind="stable")
        if len(array) < self._run:
            self._partial.append(_Run(array))
        else:
            self._full.append(_Run.stored(array, on_disk=len(self._full) >= self._runs_in_memory))

    def _enlarge_filter(self) -> None:
        capacity = 2 * self._filter.capacity
        # All digests are in the runs, so the memory of the filter is freed before the larger one is filled.
        del self._filter
        self._filter = _Filter(capacity)
        for run in (*self._full, *self._partial):
            for part in run.parts():
                self._filter.add(part.view(np.uint64).reshape(-1, 2))


class _Run:
    """A sorted array of digests, of which a full one is mapped into memory.

    The allocator of the process does not reuse the gaps that large arrays of different sizes leave, so a full
    array has its own pages.
    """

    def __init__(self, array: np.ndarray, pages: mmap.mmap | None = None) -> None:
        self.array, self._pages = array, pages

    @classmethod
    def stored(cls, array: np.ndarray, on_disk: bool) -> _Run:
        """Return a copy of an array, in memory or in a temporary file that is deleted with the object."""
        if not on_disk:
            pages = mmap.mmap(-1, array.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            stored = np.frombuffer(pages, dtype=array.dtype)
            stored[:] = array
            return cls(stored)
        with tempfile.TemporaryFile(prefix="digests-") as file:
            # Written as a file: pages that are written through a mapping stay in the memory of the process.
            file.write(array.data)
            file.flush()
            pages = mmap.mmap(file.fileno(), array.nbytes, prot=mmap.PROT_READ)
        return cls(np.frombuffer(pages, dtype=array.dtype), pages)

    def parts(self) -> Iterator[np.ndarray]:
        """Yield the digests in parts."""
        for start in range(0, len(self.array), _PART):
            yield self.array[start : start + _PART]
            self.release()

    def release(self) -> None:
        """Return the pages of a file that were read to the operating system."""
        if self._pages is not None:
            self._pages.madvise(mmap.MADV_DONTNEED)


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
