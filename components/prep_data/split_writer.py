"""Write the rows of a dataset to the file of their split, and check the rows as a whole."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.prep_data.overlap import SplitOverlap
from components.prep_data.row_fingerprint import Fingerprint, in_holdout, key_digests
from continuous_training.artifacts.dataset_manifest import Overlap, SplitManifest
from continuous_training.core.digest import digest_file, digest_of
from continuous_training.core.errors import UserError
from continuous_training.core.progress import Progress
from continuous_training.evaluation.column_statistics import Statistics
from workloads.contract import Workload

from .validate import SPLITS, check_labels


class SplitWriter:
    """Writes rows to the Parquet file of their split, and computes fingerprints and statistics."""

    def __init__(self, workload: Workload, folder: Path, test_size: float) -> None:
        self.workload, self.folder, self.test_size = workload, folder, test_size
        self.fingerprints = {split: Fingerprint() for split in SPLITS}
        self.statistics = {
            split: Statistics(column for column in workload.columns if column.name != workload.key)
            for split in SPLITS
        }
        self.overlap = SplitOverlap(workload)
        self.labels = {split: Counter[Any]() for split in SPLITS}
        self.keys: list[np.ndarray] = []
        self.batches: list[tuple[str, int, int]] = []
        self.total = 0
        self.source_defines_split = False

    def __enter__(self) -> SplitWriter:
        self._stack = ExitStack()
        self.writers = {
            split: self._stack.enter_context(
                pq.ParquetWriter(self.folder / f"{split}.parquet", self.workload.schema())
            )
            for split in SPLITS
        }
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, batch: pa.RecordBatch, origin: str, first: int) -> None:
        """Write the rows of a batch. `origin` and `first` are the position of its first row, for errors."""
        keys = key_digests(batch.column(self.workload.key))
        if "split" in batch.schema.names:
            self.source_defines_split = True
            held_out = pc.equal(batch.column("split"), "holdout").to_numpy(zero_copy_only=False)
        else:
            held_out = in_holdout(keys, self.test_size)
        # The writers need the order and the nullability of the schema.
        columns = [batch.column(column.name) for column in self.workload.columns]
        batch = pa.record_batch(columns, schema=self.workload.schema())
        for split, mask in (("train", ~held_out), ("holdout", held_out)):
            part = batch.filter(pa.array(mask))
            if part.num_rows:
                self.writers[split].write_batch(part)
                self.fingerprints[split].add(part)
                self.statistics[split].add(part)
                self._count_labels(split, part)
        self.overlap.add(batch, held_out)
        self.keys.append(keys)
        self.batches.append((origin, first, self.total))
        self.total += len(keys)

    @property
    def rule(self) -> str:
        """The rule that assigns a row to a split, as text."""
        if self.source_defines_split:
            return "the source's own"
        return f"sha256({self.workload.key}) / 2^256 < {self.test_size}"

    def check(self, source: str, progress: Progress) -> Overlap:
        """Return the overlap of the splits.

        Raises UserError for duplicate keys, too few rows, a split without rows or without rows of a declared
        label, and for too many holdout rows that also occur in the training rows.
        """
        self._check_duplicates()
        if self.total < self.workload.minimum_rows:
            raise UserError(
                f"source {source}: {self.total} rows, but {self.workload.name} needs at least "
                f"{self.workload.minimum_rows}"
            )
        for split in SPLITS:
            if not self.fingerprints[split].rows:
                raise UserError(f"source {source}: the split {split} has no rows; change test_size")
        for split, counts in self.labels.items():
            check_labels(self.workload, counts, f"source {source}, split {split}")
        return self._check_overlap(source, progress)

    def fingerprint(self) -> str:
        """Return the digest of the content of all rows."""
        return digest_of({split: self.fingerprints[split].hexdigest() for split in SPLITS})

    def manifests(self) -> dict[str, SplitManifest]:
        """Return number, fingerprint and statistics of the rows of each split."""
        return {
            split: SplitManifest(
                self.fingerprints[split].rows,
                self.fingerprints[split].hexdigest(),
                self.statistics[split].to_json(),
                digest_file(self.folder / f"{split}.parquet"),
            )
            for split in SPLITS
        }

    def _check_duplicates(self) -> None:
        keys = np.concatenate(self.keys) if self.keys else np.array([], dtype=np.uint64)
        # Sorted in place: 8 bytes per row is the only memory that grows with the data.
        keys.sort()
        duplicates = keys[1:][keys[1:] == keys[:-1]]
        if len(duplicates):
            first, second = np.flatnonzero(np.concatenate(self.keys) == duplicates[0])[:2].tolist()
            raise UserError(
                f"{self._position(second)}, column {self.workload.key}: the same key as in "
                f"{self._position(first)} ({len(duplicates)} duplicates in total). Keys must be unique"
            )

    def _count_labels(self, split: str, rows: pa.RecordBatch) -> None:
        if self.workload.task == "classification":
            counts = pc.value_counts(rows.column(self.workload.target))
            values, numbers = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
            self.labels[split].update(dict(zip(values, numbers, strict=True)))

    def _check_overlap(self, source: str, progress: Progress) -> Overlap:
        """Return the overlap of the splits. Raises UserError if it is too large."""
        exact, near = self.overlap.exact(), len(self.overlap.near())
        held_out, limit = self.fingerprints["holdout"].rows, self.workload.overlap_share
        text = f"{len(exact):,} of {held_out:,} holdout rows have the content of a training row"
        if len(exact) > limit * held_out:
            first = int(exact[0])
            copy = self.overlap.training_row(first)
            raise UserError(
                f"source {source}: {text}, for instance {self._position(first)} and {self._position(copy)}; "
                f"at most {limit:.0%} may. Metrics are too high on rows that the model was trained on. "
                "Remove the copies, or set overlap_share in the workload"
            )
        if near > len(exact):
            text += f"; {near - len(exact):,} more differ only in case and spaces"
        if near:
            progress(text)
        return Overlap(len(exact), near)

    def _position(self, index: int) -> str:
        origin, first, before = next(batch for batch in reversed(self.batches) if batch[2] <= index)
        return f"{origin}, row {first + index - before}"
