"""The file and the row number in it of each row of the dataset, for errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.prep_data.array_file import ArrayFile
from workloads.contract import Rows


class RowPositions:
    """Stores where each run of consecutive row numbers begins, in a file in `folder`.

    Each bad or repeated row begins a new run. Memory: a few numbers for each file of the source.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._origins: list[tuple[str, int]] = []
        self._runs = ArrayFile(np.int64, folder)
        self._rows = 0

    def add(self, rows: Rows) -> None:
        """Add the rows of a batch."""
        if not self._origins or self._origins[-1][0] != rows.origin:
            self._origins.append((rows.origin, self._rows))
        numbers = rows.row_numbers()
        begins = np.flatnonzero(np.diff(numbers, prepend=-2) != 1)
        self._runs.append(np.stack([begins + self._rows, numbers[begins]], axis=1))
        self._rows += len(numbers)

    def text(self, index: int) -> str:
        """Return the position of a row by its index in the dataset."""
        origin = next(name for name, start in reversed(self._origins) if start <= index)
        runs = self._runs.read().reshape(-1, 2)
        begin, number = runs[np.searchsorted(runs[:, 0], index, side="right") - 1].tolist()
        return f"{origin}, row {number + index - begin}"
