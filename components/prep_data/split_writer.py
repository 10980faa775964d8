"""Write the rows of a dataset to the file of their split, and check the rows as a whole."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.prep_data.array_file import ArrayFile
from components.prep_data.group_sizes import LARGEST_GROUP, GroupSizes
from components.prep_data.overlap import SplitOverlap
from components.prep_data.row_fingerprint import Fingerprint, key_digests
from components.prep_data.row_group_writer import RowGroupWriter
from components.prep_data.row_positions import RowPositions
from components.prep_data.split_statistics import SplitStatistics
from components.prep_data.time_split import StagedRows
from components.split_sides import HOLDOUT, TRAIN, UNUSED, assign_sides, hash_sides, value_digests
from continuous_training.artifacts.dataset_manifest import Overlap, SplitManifest
from continuous_training.artifacts.parquet_rows import StoredRows
from continuous_training.artifacts.split_rule import SplitRule
from continuous_training.core.digest import digest_file, digest_of
from continuous_training.core.errors import UserError
from continuous_training.core.progress import Progress
from workloads.contract import KeySplit, Rows, Split, TimeSplit, Workload

from .validate import SPLITS, check_labels


class SplitWriter:
    """Writes rows to the Parquet file of their split, and computes fingerprints and statistics."""

    def __init__(self, workload: Workload, folder: Path, split: Split, test_size: float) -> None:
        self.workload, self.folder, self.split, self.test_size = workload, folder, split, test_size
        column = workload.key if isinstance(split, KeySplit) else split.column
        self.rule = SplitRule(split.kind, column, test_size)
        # The times of a split by time move with every run, so they have no drift of interest.
        unused = {workload.key, column} if isinstance(split, TimeSplit) else {workload.key}
        self.fingerprints = {side: Fingerprint() for side in SPLITS}
        self.statistics = {
            side: SplitStatistics([column for column in workload.columns if column.name not in unused])
            for side in SPLITS
        }
        self.overlap = SplitOverlap(workload, column, folder)
        self.groups = GroupSizes(folder)
        self.labels = {side: Counter[Any]() for side in SPLITS}
        self.keys = ArrayFile(np.uint64, folder)
        self.positions = RowPositions(folder)
        self.total = self.gap_rows = 0
        self.staged: StagedRows | None = None

    def __enter__(self) -> SplitWriter:
        self._stack = ExitStack()
        schema, repeated = self.workload.schema(), _repeated_columns(self.workload)
        self.writers = {
            split: self._stack.enter_context(
                RowGroupWriter(self.folder / f"{split}.parquet", schema, repeated)
            )
            for split in SPLITS
        }
        if isinstance(self.split, TimeSplit):
            self.staged = StagedRows(self.split, self.test_size, self.folder / "staged.arrow", schema)
            self._stack.callback(self.staged.close)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, rows: Rows) -> None:
        """Write the rows of a batch."""
        batch = rows.batch
        keys = key_digests(batch.column(self.workload.key))
        # The writers need the order and the nullability of the schema.
        columns = [batch.column(column.name) for column in self.workload.columns]
        ordered = pa.record_batch(columns, schema=self.workload.schema())
        if self.staged:
            self.staged.add(ordered)
        else:
            self._write(ordered, self._row_sides(batch, keys))
        self.keys.append(keys)
        self.positions.add(rows)
        self.total += len(keys)

    def finish(self) -> None:
        """Write the rows of a split by time, whose sides are known when all rows were read."""
        if self.staged and self.total:
            self.staged.close()
            self.rule = self.staged.rule()
            for batch in self.staged.batches():
                self._write(batch, assign_sides(self.rule, batch))

    def _row_sides(self, batch: pa.RecordBatch, keys: np.ndarray) -> np.ndarray:
        if "split" in batch.schema.names:
            self.rule = SplitRule("source")
            held_out = pc.equal(batch.column("split"), "holdout").to_numpy(zero_copy_only=False)
            return np.where(held_out, HOLDOUT, TRAIN)
        if self.rule.kind == "group":
            groups = value_digests(batch.column(self.rule.column))
            self.groups.add(groups)
            return hash_sides(groups, self.rule.share)
        return hash_sides(keys, self.rule.share)

    def _write(self, batch: pa.RecordBatch, row_sides: np.ndarray) -> None:
        for split, side in (("train", TRAIN), ("holdout", HOLDOUT)):
            part = batch.filter(pa.array(row_sides == side))
            if part.num_rows:
                self.writers[split].write(part)
                self.fingerprints[split].add(part)
                self.statistics[split].add(part)
                self._count_labels(split, part)
        self.overlap.add(batch, row_sides)
        self.gap_rows += int((row_sides == UNUSED).sum())

    def check(self, source: str, progress: Progress) -> Overlap:
        """Return the overlap of the splits.

        Raises UserError for duplicate keys, too few rows, a group with nearly all rows, a split without rows
        or without rows of a declared label, and too many holdout rows that also occur in the training rows.
        """
        self._check_duplicates()
        if self.total < self.workload.minimum_rows:
            raise UserError(
                f"source {source}: {self.total} rows, but {self.workload.name} needs at least "
                f"{self.workload.minimum_rows}"
            )
        if self.rule.kind == "group":
            self._check_groups(source, progress)
        for split in SPLITS:
            if not self.fingerprints[split].rows:
                hint = " or split by a column with more groups" if self.rule.kind == "group" else ""
                raise UserError(f"source {source}: the split {split} has no rows; change test_size{hint}")
        for split, counts in self.labels.items():
            check_labels(self.workload, counts, f"source {source}, split {split}")
        return self._check_overlap(source, progress)

    def fingerprint(self) -> str:
        """Return the digest of the content of all rows."""
        return digest_of({split: self.fingerprints[split].hexdigest() for split in SPLITS})

    def manifests(self) -> dict[str, SplitManifest]:
        """Return number, fingerprint and statistics of the rows of each split."""
        paths = {split: self.folder / f"{split}.parquet" for split in SPLITS}
        return {
            split: SplitManifest(
                self.fingerprints[split].rows,
                self.fingerprints[split].hexdigest(),
                self.statistics[split].result(StoredRows(path)),
                digest_file(path),
            )
            for split, path in paths.items()
        }

    def _check_duplicates(self) -> None:
        keys = self.keys.read()
        keys.sort()
        duplicates = keys[1:][keys[1:] == keys[:-1]]
        if len(duplicates):
            rows = (start + np.flatnonzero(part == duplicates[0]) for start, part in self.keys.parts())
            first, second = np.concatenate(list(rows))[:2].tolist()
            raise UserError(
                f"{self.positions.text(second)}, column {self.workload.key}: the same key as in "
                f"{self.positions.text(first)} ({len(duplicates)} duplicates in total). Keys must be unique"
            )

    def _check_groups(self, source: str, progress: Progress) -> None:
        """Report the number of groups by side. Raises UserError if one group has nearly all rows."""
        largest, row = self.groups.largest()
        column = self.rule.column
        if largest > LARGEST_GROUP * self.total:
            raise UserError(
                f"source {source}, column {column}: the group of {self.positions.text(row)} has {largest:,} "
                f"of {self.total:,} rows; at most {LARGEST_GROUP:.0%} may be in one group. Split by another "
                "column"
            )
        held_out = hash_sides(self.groups.digests(), self.rule.share) == HOLDOUT
        progress(f"split by {column}: {held_out.sum():,} of {len(held_out):,} groups are held out")

    def _count_labels(self, split: str, rows: pa.RecordBatch) -> None:
        if self.workload.task == "classification":
            counts = pc.value_counts(rows.column(self.workload.target))
            values, numbers = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
            self.labels[split].update(dict(zip(values, numbers, strict=True)))

    def _check_overlap(self, source: str, progress: Progress) -> Overlap:
        """Return the overlap of the splits. Raises UserError if it is too large."""
        exact = self.overlap.exact()
        near = len(self.overlap.near()) if self.overlap.has_texts else len(exact)
        held_out, limit = self.fingerprints["holdout"].rows, self.workload.overlap_share
        text = f"{len(exact):,} of {held_out:,} holdout rows have the content of a training row"
        if len(exact) > limit * held_out:
            rows = (int(exact[0]), self.overlap.training_row(int(exact[0])))
            raise UserError(
                f"source {source}: {text}, for instance {' and '.join(map(self.positions.text, rows))}; "
                f"at most {limit:.0%} may. Metrics are too high on rows that the model was trained on. "
                "Remove the copies, or set overlap_share in the workload"
            )
        if near > len(exact):
            text += f"; {near - len(exact):,} more differ only in case and spaces"
        if near:
            progress(text)
        return Overlap(len(exact), near)


def _repeated_columns(workload: Workload) -> list[str]:
    """Return the columns that Parquet encodes with a dictionary: those whose values may occur repeatedly.

    A dictionary of keys or measurements takes most of the time of writing a file, and makes it larger.
    """
    return [c.name for c in workload.columns if c.name != workload.key and c.kind in ("text", "integer")]
