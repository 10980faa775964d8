"""The train step: train a model on a dataset and write the model bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from components.code_digests import module_digests
from components.input_digest import run_inputs
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
from continuous_training.artifacts.checksums import write_checksums
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.handler_packaging import copy_handler, handler_files
from continuous_training.core.digest import code_digest, digest_of_folder
from continuous_training.core.errors import UserError
from continuous_training.core.files import new_folder, plain, to_json
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.core.run_parameters import APPROVAL_PARAMETERS, SOURCE_PARAMETERS
from continuous_training.evaluation.promotion_rule import is_gate_parameter
from workloads import discovery
from workloads.contract import Resumable, StoredRows, Training, Values, Workload
from workloads.handler import Tensor
from workloads.schemas import with_ranges
from workloads.splits import SPLIT_PARAMETERS

from .check_bundle import check_bundle
from .checkpoints import StoredCheckpoints


def run(
    workload: Workload,
    parameters: Mapping[str, object],
    data: Path,
    output: Path,
    progress: Progress = report,
    store: ObjectStore | None = None,
    *,
    keep_checkpoint: bool = False,
    complete: bool = True,
) -> BundleMetadata:
    """Train on the training rows in `data` and write the bundle to `output`. Return its metadata.

    The same rows, parameters and library versions give the same files. With a `store`, a resumable workload
    continues from the checkpoint of an interrupted step on the same data. The checkpoint is deleted at the
    end, unless `keep_checkpoint` is set. The handler is not run if the bundle is not `complete`: of several
    processes, only the first one writes the model. Raises UserError if the data belongs to another workload,
    or was prepared with parameters that differ from `parameters`.
    """
    dataset, values = open_dataset(workload, parameters, data)
    handler_files(workload.handler)
    rows = dataset.rows("train")
    progress(f"training on {rows.num_rows:,} rows")
    started = time.perf_counter()
    input_digest = dataset.manifest.input_digest
    if values != dataset.parameters_of(workload.parameters(), workload.parse, {}):
        # A person runs the step with another hyperparameter. In a pipeline, both steps get the same values.
        packages = dataset.manifest.inputs.packages if dataset.manifest.inputs else {}
        input_digest = run_inputs(workload, values, dataset.manifest.fingerprint, packages).digest
    checkpoints = StoredCheckpoints(store, workload.name, input_digest, progress) if store else None
    with new_folder(output, METADATA) as folder:
        training = _train(workload, rows, values, folder, progress, checkpoints)
        reject_pickles(folder, workload.name)
        copy_handler(workload.handler, folder)
        metadata = _metadata(workload, values, dataset, input_digest, training)
        (folder / METADATA).write_text(to_json(metadata.to_json()), encoding="utf-8")
        if complete:
            check_bundle(workload, rows, folder, progress)
        write_checksums(folder)
        seconds = time.perf_counter() - started
        progress(f"trained the model {digest_of_folder(folder)[:12]} in {seconds:.1f} s")
    if checkpoints and isinstance(workload, Resumable) and not keep_checkpoint:
        checkpoints.clear()
    return metadata


def open_dataset(workload: Workload, parameters: Mapping[str, object], data: Path) -> tuple[Dataset, Values]:
    """Return the dataset in `data` and its run parameters.

    Raises UserError if the dataset belongs to another workload, or if `parameters` differ from its own.
    """
    dataset = Dataset.open(data)
    if dataset.workload != workload.name:
        raise UserError(
            f"{data} contains data of the workload {dataset.workload}, not of {workload.name}; "
            f"pass the output of prep-data for {workload.name}"
        )
    return dataset, dataset.parameters_of(workload.parameters(), workload.parse, parameters)


def _train(
    workload: Workload,
    rows: StoredRows,
    values: Values,
    folder: Path,
    progress: Progress,
    checkpoints: StoredCheckpoints | None,
) -> Training:
    if isinstance(workload, Resumable):
        return workload.train(rows.table(), values, folder, progress, checkpoints)
    return workload.train_stored(rows, values, folder, progress)


def _tensor_spec(tensor: Tensor) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.datatype, tensor.shape, tensor.minimum, tensor.maximum)


def _metadata(
    workload: Workload, values: Values, dataset: Dataset, input_digest: str, training: Training
) -> BundleMetadata:
    """Return the metadata of the bundle."""
    manifest, handler = dataset.manifest, workload.handler
    return BundleMetadata(
        signature=Signature(
            name=workload.name,
            handler=f"{handler.__module__}:{handler.__qualname__}",
            inputs=tuple(_tensor_spec(tensor) for tensor in handler.inputs),
            outputs=tuple(_tensor_spec(tensor) for tensor in handler.outputs),
        ),
        summary=workload.summary,
        request_schema=with_ranges(workload.request_schema, workload.columns, manifest.train.statistics),
        response_schema=workload.answer_schema,
        training=TrainingRecord(
            data=TrainingData(
                fingerprint=manifest.fingerprint,
                rows=manifest.train.rows,
                sample=manifest.sample,
                split_rule=manifest.split_rule,
                holdout=SplitSummary(manifest.holdout.rows, manifest.holdout.fingerprint),
                statistics=manifest.train.statistics,
                split=manifest.split if manifest.split and manifest.split.kind in ("group", "time") else None,
                gap_rows=manifest.gap_rows,
            ),
            parameters={
                n: v for n, v in values.items() if n not in _UNRELATED_PARAMETERS and not is_gate_parameter(n)
            },
            input_digest=input_digest,
            prepared_input_digest=manifest.input_digest,
            code=code_digest(discovery.folder_of(workload)),
            modules=module_digests(workload),
            curve=tuple(plain(training.curve)),
            notes=plain(training.notes),
        ),
    )


_UNRELATED_PARAMETERS = {
    *SOURCE_PARAMETERS,
    *APPROVAL_PARAMETERS,
    *("as_of", "test_size", "force", "bad_rows", "accept"),
    *SPLIT_PARAMETERS,
}
"""The parameters that do not affect the training. The dataset manifest contains them."""
