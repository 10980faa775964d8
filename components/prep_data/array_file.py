"""An array that grows in a temporary file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike


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
