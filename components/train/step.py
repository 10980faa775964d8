"""train: a dataset in, a bundle out: the model's files, the handler that serves them, and `model.json`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from components.input_digest import code_digest, recipe_of
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.bundle import reject_pickles
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.handler_packaging import copy_handler, handler_files
from continuous_training.core.errors import UserError
from continuous_training.core.files import digest_of_folder, new_folder, plain, to_json
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.evaluation.promotion_rule import is_gate_parameter
from workloads.contract import Resumable, StoredRows, Training, Values, Workload
from workloads.schemas import with_ranges

from .checkpoints import StoredCheckpoints

DESCRIPTION = "model.json"


def run(
    workload: Workload,
    given: dict[str, Any],
    data: Path,
    output: Path,
    progress: Progress = report,
    store: ObjectStore | None = None,
    *,
    keep_checkpoint: bool = False,
) -> dict[str, Any]:
    """Learn from the training rows in `data` and write the bundle to `output`; returns its description.

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
    recipe = dataset.description["recipe"]
    if values != dataset.parameters_of(workload, {}):
        # By hand, with another hyperparameter; in a pipeline both steps get the same values.
        recipe = recipe_of(workload, values, dataset.description["fingerprint"])
    kept = StoredCheckpoints(store, workload.name, recipe, progress) if store else None
    with new_folder(output, DESCRIPTION) as folder:
        training = _train(workload, rows, values, folder, progress, kept)
        reject_pickles(folder, workload.name)
        copy_handler(workload.handler, folder)
        description = _describe(workload, values, dataset, recipe, training)
        (folder / DESCRIPTION).write_text(to_json(description), encoding="utf-8")
        seconds = time.perf_counter() - started
        progress(f"a model of {digest_of_folder(folder)[:12]} in {seconds:.1f} s")
    if kept and isinstance(workload, Resumable) and not keep_checkpoint:
        kept.clear()
    return description


def open_dataset(workload: Workload, given: dict[str, Any], data: Path) -> tuple[Dataset, dict[str, Any]]:
    """Return the dataset in `data` and its run parameters; UserError when others were given."""
    dataset = Dataset.open(data)
    if dataset.workload != workload.name:
        raise UserError(f"{data} holds the data of {dataset.workload}, not of {workload.name}")
    return dataset, dataset.parameters_of(workload, given)


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


def _describe(
    workload: Workload, values: Values, dataset: Dataset, recipe: str, training: Training
) -> dict[str, Any]:
    """Return what `model.json` says of a bundle."""
    prepared = dataset.description
    split = prepared["splits"]["train"]
    return {
        "name": workload.name,
        "summary": workload.summary,
        "handler": f"{workload.handler.__module__}:{workload.handler.__qualname__}",
        "inputs": [tensor.to_json() for tensor in workload.handler.inputs],
        "outputs": [tensor.to_json() for tensor in workload.handler.outputs],
        "request_schema": with_ranges(workload.request_schema, workload.columns, split["statistics"]),
        "answer_schema": workload.answer_schema,
        "parameters": {n: v for n, v in values.items() if n not in _PREPARED and not is_gate_parameter(n)},
        "data": {
            "fingerprint": prepared["fingerprint"],
            "rows": split["rows"],
            "sample": dataset.sample,
            "split_rule": prepared["split_rule"],
            "holdout": _identity(prepared["splits"]["holdout"]),
            "statistics": split["statistics"],
        },
        "recipe": recipe,
        "prepared": prepared["recipe"],
        "code": code_digest(workload),
        "curve": plain(training.curve),
        "notes": plain(training.notes),
    }


def _identity(split: dict[str, Any]) -> dict[str, Any]:
    return {key: split[key] for key in ("rows", "fingerprint")}


_PREPARED = {"source", "as_of", "test_size", "force"}
"""The parameters that prep-data has acted on; the dataset remembers them."""
