"""An array that grows in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

PART = 1 << 20
"""Numbers that `parts` reads at a time."""


class ArrayFile:
    """Stores a number or a few for each row on disk, so that memory does not grow with the rows.

    `folder` is where the file is; by default, it is the folder for temporary files. The file has no name, and
    it is deleted with the object.
    """

    def __init__(self, dtype: DTypeLike, folder: Path | None = None) -> None:
        self._dtype = np.dtype(dtype)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open until the object is deleted

    def append(self, values: np.ndarray) -> None:
        """Add values at the end."""
        self._file.write(np.ascontiguousarray(values, dtype=self._dtype).data)

    def read(self) -> np.ndarray:
        """Return all values."""
        self._file.flush()
        self._file.seek(0)
        return np.fromfile(self._file, dtype=self._dtype)

    def parts(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield all values in their order, up to `PART` of them at a time, after the index of the first."""
        self._file.flush()
        start = 0
        while True:
            self._file.seek(start * self._dtype.itemsize)
            values = np.fromfile(self._file, dtype=self._dtype, count=PART)
            if not len(values):
                return
            yield start, values
            start += len(values)
