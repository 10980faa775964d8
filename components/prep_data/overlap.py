"""Count the holdout rows that also occur in the training rows, under another key."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.prep_data.row_fingerprint import row_digests
from components.split_sides import HOLDOUT, TRAIN
from workloads.contract import Workload


class SplitOverlap:
    """Compares the content of the rows across the split.

    The content is all columns but the key, the label, and the column that rows are split by, whose values
    differ between the sides.

    A model is scored too well on rows that it was trained on. `exact` counts the holdout rows with the same
    content as a training row, `near` those that differ from one at most in case and white space of a text.
    Memory: 8 bytes per row, and 8 more if the workload has text columns.
    """

    def __init__(self, workload: Workload, split_column: str = "") -> None:
        excluded = (workload.key, workload.target, split_column)
        features = [column for column in workload.columns if column.name not in excluded]
        self._names = [column.name for column in features]
        self._texts = [column.name for column in features if column.kind == "text"]
        self._digests: list[np.ndarray] = []
        self._normalized: list[np.ndarray] = []
        self._row_sides: list[np.ndarray] = []

    def add(self, batch: pa.RecordBatch, row_sides: np.ndarray) -> None:
        """Add the rows of a batch with their sides."""
        if not self._names:
            return
        rows = batch.select(self._names)
        self._digests.append(row_digests(rows))
        if self._texts:
            self._normalized.append(row_digests(_normalize(rows, self._texts)))
        self._row_sides.append(row_sides)

    def exact(self) -> np.ndarray:
        """Return the indices of the holdout rows with the same content as a training row."""
        return self._matches(self._digests)

    def near(self) -> np.ndarray:
        """Return the indices of the holdout rows with nearly the same content as a training row."""
        return self._matches(self._normalized if self._texts else self._digests)

    def training_row(self, index: int) -> int:
        """Return the index of the first training row with the content of the holdout row at `index`."""
        digests = np.concatenate(self._digests)
        same = (digests == digests[index]) & (np.concatenate(self._row_sides) == TRAIN)
        return int(np.flatnonzero(same)[0])

    def _matches(self, digests: list[np.ndarray]) -> np.ndarray:
        if not digests:
            return np.array([], dtype=np.intp)
        values, row_sides = np.concatenate(digests), np.concatenate(self._row_sides)
        indices = np.flatnonzero(row_sides == HOLDOUT)
        return indices[np.isin(values[indices], values[row_sides == TRAIN])]


def _normalize(rows: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    for name in names:
        index = rows.schema.get_field_index(name)
        text = pc.utf8_trim_whitespace(pc.utf8_lower(rows.column(index)))
        text = pc.replace_substring_regex(text, pattern=r"\s+", replacement=" ")
        rows = rows.set_column(index, name, text)
    return rows
