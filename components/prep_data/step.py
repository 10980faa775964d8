"""Read, validate and split the rows of a data source, and decide whether there is anything to train."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.input_digest import input_digest_of
from components.prep_data.row_fingerprint import Fingerprint, in_holdout, key_digests
from continuous_training.adapters.downloader import Downloader
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.dataset_manifest import (
    MANIFEST,
    ColumnDescription,
    DatasetManifest,
    SplitManifest,
)
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.digest import digest_of
from continuous_training.core.errors import UserError
from continuous_training.core.files import new_folder, to_json
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.evaluation.column_statistics import Statistics
from workloads.contract import LoadContext, Workload
from workloads.former_load import load_rows

from .validate import SPLITS, check_batch


@dataclass(frozen=True)
class PreparedData:
    """The result of prep-data: rows by split, and the record of an earlier run on the same inputs."""

    input_digest: str
    rows: dict[str, int]
    earlier: RunRecord | None

    @property
    def changed(self) -> bool:
        """Whether no earlier run has processed these inputs."""
        return self.earlier is None


def run(
    workload: Workload,
    parameters: dict[str, Any],
    output: Path,
    records: RunHistory | None = None,
    scheduled: str = "",
    progress: Progress = report,
    cache: Path = Path(".state/cache"),
) -> PreparedData:
    """Write the dataset to `output`, and look up an earlier run on the same inputs.

    `parameters` are the run parameters that differ from the defaults. `scheduled` is the scheduled time of
    the run, used if `as_of` is empty. `cache` is the folder for copies of remote files. Without `records`,
    there is no earlier run. Raises UserError for invalid data; `output` is then empty.
    """
    values = workload.parse(parameters)
    source = str(values["source"] or workload.default_source)
    sample = source == workload.sample_source
    progress(f"reading {source}" + (", a small sample for a trial" if sample else ""))
    with new_folder(output, MANIFEST) as folder:
        splits = _Splits(workload, folder, float(values["test_size"]))
        context = LoadContext(Downloader(cache, progress).fetch, progress)
        with splits:
            for rows in load_rows(workload, source, values, context):
                check_batch(workload, rows)
                splits.add(rows.batch, rows.origin, rows.first)
                progress(f"{splits.total:,} rows read and validated")
        splits.check(source)
        fingerprint = splits.fingerprint()
        input_digest = input_digest_of(workload, values, fingerprint)
        split_manifests = splits.manifests()
        manifest = DatasetManifest(
            workload=workload.name,
            source=source,
            schema=tuple(ColumnDescription(c.name, c.kind, c.help) for c in workload.columns),
            split_rule=splits.rule,
            fingerprint=fingerprint,
            train=split_manifests["train"],
            holdout=split_manifests["holdout"],
            sample=sample,
            as_of=str(values["as_of"] or scheduled or _now()),
            parameters=values,
            input_digest=input_digest,
        )
        processed = records.find_processed(input_digest) if records and not values["force"] else None
        if processed:
            # The run ends here, so no step reads the rows.
            for split in SPLITS:
                (folder / f"{split}.parquet").unlink()
        (folder / MANIFEST).write_text(to_json(manifest.to_json()), encoding="utf-8")
    counts = {split: manifest.splits[split].rows for split in SPLITS}
    progress(f"{counts['train']:,} training rows, {counts['holdout']:,} holdout rows")
    return PreparedData(input_digest, counts, processed.record if processed else None)


class _Splits:
    """Writes rows to the Parquet file of their split, and computes fingerprints and statistics."""

    def __init__(self, workload: Workload, folder: Path, test_size: float) -> None:
        self.workload, self.folder, self.test_size = workload, folder, test_size
        self.fingerprints = {split: Fingerprint() for split in SPLITS}
        self.statistics = {
            split: Statistics(column for column in workload.columns if column.name != workload.key)
            for split in SPLITS
        }
        self.keys: list[np.ndarray] = []
        self.batches: list[tuple[str, int, int]] = []
        self.total = 0
        self.source_defines_split = False

    def __enter__(self) -> _Splits:
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
        self.keys.append(keys)
        self.batches.append((origin, first, self.total))
        self.total += len(keys)

    @property
    def rule(self) -> str:
        """The rule that assigns a row to a split, as text."""
        if self.source_defines_split:
            return "the source's own"
        return f"sha256({self.workload.key}) / 2^256 < {self.test_size}"

    def check(self, source: str) -> None:
        """Raise UserError for duplicate keys, too few rows, or a split without rows."""
        self._check_duplicates()
        if self.total < self.workload.minimum_rows:
            raise UserError(
                f"source {source}: {self.total} rows, but {self.workload.name} needs at least "
                f"{self.workload.minimum_rows}"
            )
        for split in SPLITS:
            if not self.fingerprints[split].rows:
                raise UserError(f"source {source}: the split {split} has no rows; change test_size")

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

    def _position(self, index: int) -> str:
        origin, first, before = next(batch for batch in reversed(self.batches) if batch[2] <= index)
        return f"{origin}, row {first + index - before}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
