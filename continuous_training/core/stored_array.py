"""Arrays in temporary files that are mapped into memory, and the iteration over their parts."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

PART_ROWS = 1 << 16
"""Rows that are in memory at a time."""

_IN_MEMORY = 1 << 20
"""Bytes of an array that is not stored in a file."""


def stored_array(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return the concatenation of one or more arrays.

    More than 1 MiB of one type are stored in a temporary file, which is deleted with the array. The array is
    then read-only. Python objects are in memory.
    """
    pending: list[np.ndarray] = []
    rest = iter(parts)
    for part in rest:
        pending.append(part)
        if sum(array.nbytes for array in pending) > _IN_MEMORY:
            return _store(pending, rest)
    return np.concatenate(pending)


def _store(pending: list[np.ndarray], rest: Iterator[np.ndarray]) -> np.ndarray:
    dtype = pending[0].dtype
    if dtype.kind not in "biufU":
        return np.concatenate([*pending, *rest])
    parts = chain(pending, rest)
    with tempfile.TemporaryFile(prefix="array-") as file:
        for part in parts:
            if part.dtype != dtype:
                file.seek(0)
                return np.concatenate([np.fromfile(file, dtype=dtype), part, *parts])
            file.write(np.ascontiguousarray(part).data)
        file.flush()
        return np.frombuffer(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), dtype=dtype)


def parts_of(*arrays: np.ndarray, rows: int = PART_ROWS) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the same rows of arrays of one length, at most `rows` at a time.

    The memory of a part that was read from a file is free after the iteration.
    """
    for start in range(0, len(arrays[0]), rows):
        yield tuple(array[start : start + rows] for array in arrays)
        for array in arrays:
            release(array)


def release(array: np.ndarray) -> None:
    """Return the pages of a stored array to the operating system. They are read from the file if needed."""
    owner: object = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED)
