"""Check at the end of train that the handler can use the bundle, on a few training rows."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from components.unexpected_error import describe
from continuous_training.core.errors import UserError
from continuous_training.core.progress import Progress
from workloads.contract import StoredRows, Workload

ROWS = 8


def check_bundle(workload: Workload, rows: StoredRows, folder: Path, progress: Progress) -> None:
    """Run the handler on the first training rows. Raises UserError if it fails or its outputs differ.

    The images of the train step have no ONNX Runtime. There, evaluate makes this check.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return
    # Start-up time: the imports load libraries that a training itself does not need.
    from components.evaluate.inference import output_validator
    from continuous_training.evaluation.predictions import predict
    from continuous_training.serving.models.model import load_model

    table = rows.take(range(min(ROWS, rows.num_rows)))
    try:
        model = load_model(folder)
        try:
            outputs = model.infer(workload.tensors(table))
        finally:
            model.unload()
    except UserError:
        raise
    except Exception as error:
        declared = ", ".join(tensor.name for tensor in workload.handler.inputs)
        raise UserError(
            f"workload {workload.name}: the handler, which declares the inputs {declared}, fails on "
            f"{table.num_rows} training rows with the trained model: {describe(error)}. Change the handler, "
            "or the names and shapes of the model"
        ) from error
    predict(workload.name, workload.prediction, [(outputs, table.num_rows)], output_validator(model))
    progress(f"the handler answers {table.num_rows} training rows")
