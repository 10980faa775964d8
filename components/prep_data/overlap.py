"""Count the holdout rows that also occur in the training rows, under another key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.prep_data.array_file import ArrayFile
from components.prep_data.content_hashes import content_hashes
from components.split_sides import HOLDOUT, TRAIN
from workloads.contract import Workload


class SplitOverlap:
    """Compares the content of the rows across the split.

    The content is all columns but the key, the label, and the column that rows are split by, whose values
    differ between the sides.

    A model is scored too well on rows that it was trained on. `exact` counts the holdout rows with the same
    content as a training row, `near` those that differ from one at most in case and white space of a text.
    `exact` and `near` need 8 bytes of memory per training row. The rows' hashes are in files in `folder`.
    """

    def __init__(self, workload: Workload, split_column: str = "", folder: Path | None = None) -> None:
        excluded = (workload.key, workload.target, split_column)
        features = [column for column in workload.columns if column.name not in excluded]
        self._names = [column.name for column in features]
        self._texts = [column.name for column in features if column.kind == "text"]
        self._hashes = ArrayFile(np.uint64, folder)
        self._normalized = ArrayFile(np.uint64, folder)
        self._row_sides = ArrayFile(np.int8, folder)

    def add(self, batch: pa.RecordBatch, row_sides: np.ndarray) -> None:
        """Add the rows of a batch with their sides."""
        if not self._names:
            return
        rows = batch.select(self._names)
        self._hashes.append(content_hashes(rows))
        if self._texts:
            self._normalized.append(content_hashes(_normalize(rows, self._texts)))
        self._row_sides.append(row_sides)

    def exact(self) -> np.ndarray:
        """Return the indices of the holdout rows with the same content as a training row."""
        return self._matches(self._hashes)

    def near(self) -> np.ndarray:
        """Return the indices of the holdout rows with nearly the same content as a training row."""
        return self._matches(self._normalized if self._texts else self._hashes)

    @property
    def has_texts(self) -> bool:
        """Whether `near` can differ from `exact`."""
        return bool(self._texts)

    def training_row(self, index: int) -> int:
        """Return the index of the first training row with the content of the holdout row at `index`."""
        content = next(
            hashes[index - start] for start, hashes in self._hashes.parts() if index < start + len(hashes)
        )
        copies = (
            (start, (hashes == content) & (row_sides == TRAIN))
            for start, hashes, row_sides in self._parts(self._hashes)
        )
        return next(start + int(mask.argmax()) for start, mask in copies if mask.any())

    def _matches(self, file: ArrayFile) -> np.ndarray:
        train = np.empty(sum(int((sides == TRAIN).sum()) for _, sides in self._row_sides.parts()), np.uint64)
        end = 0
        for _, hashes, row_sides in self._parts(file):
            selected = hashes[row_sides == TRAIN]
            train[end : end + len(selected)] = selected
            end += len(selected)
        train.sort()
        matches = [np.empty(0, np.intp)]
        for start, hashes, row_sides in self._parts(file):
            indices = np.flatnonzero(row_sides == HOLDOUT)
            if len(train) and len(indices):
                # Neighbouring lookups in ascending order share the processor's cache.
                indices = indices[np.argsort(hashes[indices])]
                holdout = hashes[indices]
                positions = np.minimum(np.searchsorted(train, holdout), len(train) - 1)
                matches.append(start + np.sort(indices[train[positions] == holdout]))
        return np.concatenate(matches)

    def _parts(self, file: ArrayFile) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield the index of the first row, the hashes and the sides of consecutive rows."""
        for (start, hashes), (_, row_sides) in zip(file.parts(), self._row_sides.parts(), strict=True):
            yield start, hashes, row_sides


def _normalize(rows: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    for name in names:
        index = rows.schema.get_field_index(name)
        text = pc.utf8_trim_whitespace(pc.utf8_lower(rows.column(index)))
        text = pc.replace_substring_regex(text, pattern=r"\s+", replacement=" ")
        rows = rows.set_column(index, name, text)
    return rows
