"""Read, validate and split the rows of a data source, and decide whether there is anything to train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from components.input_digest import run_inputs
from continuous_training.adapters.downloader import Downloader
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.bad_rows import BadRowCounts
from continuous_training.artifacts.checksums import write_checksums
from continuous_training.artifacts.dataset_manifest import (
    MANIFEST,
    ColumnDescription,
    DatasetManifest,
    Overlap,
    SplitManifest,
)
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.artifacts.source_files import SourceFiles
from continuous_training.artifacts.split_rule import SplitRule
from continuous_training.core.address_policy import OUTSIDE_CLUSTER, AddressPolicy
from continuous_training.core.files import new_folder, to_json
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress, RowProgress
from workloads.contract import Rows, Values, Workload
from workloads.former_load import load_rows
from workloads.load_context import SetAside

from .bad_row_writer import BadRowWriter
from .earlier_run import EarlierRun, find_earlier_run
from .read_ahead import read_ahead
from .row_batches import merge_batches
from .source_reader import SourceReader
from .split_writer import SplitWriter
from .validate import SPLITS, select_valid


@dataclass(frozen=True)
class PreparedData:
    """The result of prep-data: rows by split, and the record of an earlier run on the same inputs.

    `baseline` is that of the EarlierRun.
    """

    input_digest: str
    rows: dict[str, int]
    earlier: RunRecord | None
    baseline: str | None = None

    @property
    def changed(self) -> bool:
        """Whether no earlier run has processed these inputs."""
        return self.earlier is None


def run(
    workload: Workload,
    parameters: Mapping[str, object],
    output: Path,
    records: RunHistory | None = None,
    scheduled: str = "",
    progress: Progress = report,
    cache: Path = Path(".state/cache"),
    packages: Mapping[str, str] | None = None,
    addresses: AddressPolicy = OUTSIDE_CLUSTER,
) -> PreparedData:
    """Write the dataset to `output`, and look up an earlier run on the same inputs.

    `parameters` are the run parameters that differ from the defaults. `scheduled` is the scheduled time of
    the run, used if `as_of` is empty. `cache` is the folder for copies of remote files. `packages` are
    the locked versions of the packages that the train step installs. `addresses` decides where the address
    of a source may lead. Without `records`, there is no earlier run. Raises UserError for invalid data;
    `output` is then empty.
    """
    values = workload.parse(parameters)
    source = str(values["source"] or workload.default_source)
    sample = source == workload.sample_source
    progress(f"reading {source}" + (", a small sample for a trial" if sample else ""))
    with new_folder(output, MANIFEST) as folder:
        downloader = Downloader(cache, progress, addresses=addresses)
        rows = _write_rows(workload, values, source, folder, downloader, progress)
        inputs = run_inputs(workload, values, rows.fingerprint, packages or {})
        earlier = find_earlier_run(records, workload, values, inputs) if records else EarlierRun()
        manifest = DatasetManifest(
            workload=workload.name,
            source=source,
            schema=tuple(ColumnDescription(c.name, c.kind, c.help) for c in workload.columns),
            sample=sample,
            as_of=str(values["as_of"] or scheduled or _now()),
            parameters=values,
            input_digest=inputs.digest,
            inputs=inputs,
            reasons=earlier.reasons,
            split_rule=rows.rule.text,
            split=rows.rule,
            fingerprint=rows.fingerprint,
            train=rows.splits["train"],
            holdout=rows.splits["holdout"],
            overlap=rows.overlap,
            gap_rows=rows.gap_rows,
            bad_rows=rows.bad_rows,
            source_files=rows.source_files,
            duplicates=rows.duplicates,
        )
        if earlier.record:
            # The run ends here, so no step reads the rows.
            for split in SPLITS:
                (folder / f"{split}.parquet").unlink()
        (folder / MANIFEST).write_text(to_json(manifest.to_json()), encoding="utf-8")
        # The manifest contains the digests of the other files.
        write_checksums(folder, [MANIFEST])
    _report(manifest, progress)
    counts = {split: manifest.splits[split].rows for split in SPLITS}
    return PreparedData(inputs.digest, counts, earlier.record, earlier.baseline)


def _report(manifest: DatasetManifest, progress: Progress) -> None:
    gap = f", {manifest.gap_rows:,} unused rows in the gap" if manifest.gap_rows else ""
    progress(f"{manifest.train.rows:,} training rows, {manifest.holdout.rows:,} holdout rows{gap}")
    if manifest.reasons:
        progress(f"the inputs are new: {'; '.join(manifest.reasons)}")


@dataclass(frozen=True)
class _WrittenRows:
    """The rows in the files of the two splits. `bad_rows` counts the rows that were set aside."""

    rule: SplitRule
    splits: Mapping[str, SplitManifest]
    fingerprint: str
    overlap: Overlap
    gap_rows: int
    bad_rows: BadRowCounts | None
    source_files: SourceFiles | None
    duplicates: int


def _write_rows(
    workload: Workload, values: Values, source: str, folder: Path, downloader: Downloader, progress: Progress
) -> _WrittenRows:
    """Read and validate the rows of the source, and write each to the file of its split in `folder`."""
    row_split = workload.split_of(values)
    splits = SplitWriter(workload, folder, row_split, float(values["test_size"]))
    bad_rows = BadRowWriter(folder, float(values["bad_rows"]))
    reader = SourceReader(source, values, downloader, source == workload.sample_source)
    row_progress = RowProgress(progress, "read and validated")

    def load(set_aside: SetAside) -> Iterator[Rows]:
        context = reader.context(set_aside, row_progress.advance)
        return merge_batches(load_rows(workload, source, values, context))

    with splits, bad_rows:
        for rows in read_ahead(load, bad_rows.add):
            splits.add(select_valid(workload, row_split, rows, bad_rows.add_batch))
            row_progress.update(splits.total)
        row_progress.finish(splits.total)
        splits.finish()
    bad_row_counts = bad_rows.check(source, splits.total, progress)
    source_files = reader.check(splits.total + bad_row_counts.rows)
    return _WrittenRows(
        bad_rows=bad_row_counts,
        overlap=splits.check(source, progress),
        rule=splits.rule,
        splits=splits.manifests(),
        fingerprint=splits.fingerprint(),
        gap_rows=splits.gap_rows,
        source_files=source_files or None,
        duplicates=reader.record.duplicates,
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
