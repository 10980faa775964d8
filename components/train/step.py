"""train: a dataset in, a bundle out: the model's files, the handler that serves them, and `model.json`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from components.input_digest import input_digest_of
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.bundle import (
    METADATA,
    BundleMetadata,
    Signature,
    SplitSummary,
    TensorSpec,
    TrainingData,
    TrainingRecord,
    reject_pickles,
)
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.handler_packaging import copy_handler, handler_files
from continuous_training.core.digest import code_digest, digest_of_folder
from continuous_training.core.errors import UserError
from continuous_training.core.files import new_folder, plain, to_json
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.evaluation.promotion_rule import is_gate_parameter
from workloads import discovery
from workloads.contract import Resumable, StoredRows, Training, Values, Workload
from workloads.schemas import with_ranges

from .checkpoints import StoredCheckpoints


def run(
    workload: Workload,
    given: dict[str, Any],
    data: Path,
    output: Path,
    progress: Progress = report,
    store: ObjectStore | None = None,
    *,
    keep_checkpoint: bool = False,
) -> BundleMetadata:
    """Learn from the training rows in `data` and write the bundle to `output`; returns its metadata.

    The same rows, parameters and library versions give the same files. With a `store`, a workload that can
    be resumed goes on where a step on the same data was cut off; its checkpoint is removed at the end, unless
    it is to be kept. Raises UserError when the data is another workload's, or was prepared with other
    parameters than those given.
    """
    dataset, values = open_dataset(workload, given, data)
    handler_files(workload.handler)
    rows = dataset.rows("train")
    progress(f"learning from {rows.num_rows:,} rows")
    started = time.perf_counter()
    input_digest = dataset.manifest.input_digest
    if values != dataset.parameters_of(workload.parameters(), workload.parse, {}):
        # By hand, with another hyperparameter; in a pipeline both steps get the same values.
        input_digest = input_digest_of(workload, values, dataset.manifest.fingerprint)
    kept = StoredCheckpoints(store, workload.name, input_digest, progress) if store else None
    with new_folder(output, METADATA) as folder:
        training = _train(workload, rows, values, folder, progress, kept)
        reject_pickles(folder, workload.name)
        copy_handler(workload.handler, folder)
        metadata = _metadata(workload, values, dataset, input_digest, training)
        (folder / METADATA).write_text(to_json(metadata.to_json()), encoding="utf-8")
        seconds = time.perf_counter() - started
        progress(f"a model of {digest_of_folder(folder)[:12]} in {seconds:.1f} s")
    if kept and isinstance(workload, Resumable) and not keep_checkpoint:
        kept.clear()
    return metadata


def open_dataset(workload: Workload, given: dict[str, Any], data: Path) -> tuple[Dataset, dict[str, Any]]:
    """Return the dataset in `data` and its run parameters; UserError when others were given."""
    dataset = Dataset.open(data)
    if dataset.workload != workload.name:
        raise UserError(f"{data} holds the data of {dataset.workload}, not of {workload.name}")
    return dataset, dataset.parameters_of(workload.parameters(), workload.parse, given)


def _train(
    workload: Workload,
    rows: StoredRows,
    values: Values,
    folder: Path,
    progress: Progress,
    kept: StoredCheckpoints | None,
) -> Training:
    if isinstance(workload, Resumable):
        return workload.train(rows.table(), values, folder, progress, kept)
    return workload.train_stored(rows, values, folder, progress)


def _metadata(
    workload: Workload, values: Values, dataset: Dataset, input_digest: str, training: Training
) -> BundleMetadata:
    """Return the metadata of the bundle."""
    manifest, handler = dataset.manifest, workload.handler
    return BundleMetadata(
        signature=Signature(
            name=workload.name,
            handler=f"{handler.__module__}:{handler.__qualname__}",
            inputs=tuple(TensorSpec(t.name, t.datatype, t.shape) for t in handler.inputs),
            outputs=tuple(TensorSpec(t.name, t.datatype, t.shape) for t in handler.outputs),
        ),
        summary=workload.summary,
        request_schema=with_ranges(
            workload.request_schema, workload.columns, dict(manifest.train.statistics)
        ),
        response_schema=workload.answer_schema,
        training=TrainingRecord(
            data=TrainingData(
                fingerprint=manifest.fingerprint,
                rows=manifest.train.rows,
                sample=manifest.sample,
                split_rule=manifest.split_rule,
                holdout=SplitSummary(manifest.holdout.rows, manifest.holdout.fingerprint),
                statistics=manifest.train.statistics,
            ),
            parameters={n: v for n, v in values.items() if n not in _PREPARED and not is_gate_parameter(n)},
            input_digest=input_digest,
            prepared_input_digest=manifest.input_digest,
            code=code_digest(discovery.folder_of(workload)),
            curve=tuple(plain(training.curve)),
            notes=plain(training.notes),
        ),
    )


_PREPARED = {"source", "as_of", "test_size", "force"}
"""The parameters that prep-data has acted on; the dataset remembers them."""
