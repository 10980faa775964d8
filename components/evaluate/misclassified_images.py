"""Select the misclassified images with the highest certainty for the report."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from continuous_training.evaluation.predictions import Predictions
from continuous_training.evaluation.worst_errors import Misclassification, select_worst, worst_errors
from continuous_training.serving.models.model import Model
from workloads.contract import Workload

from .holdout import Holdout


def misclassified_images(
    workload: Workload, holdout: Holdout, challenger: Model, predictions: Predictions
) -> list[Misclassification]:
    """Return the worst errors of a classifier of images; empty for other models."""
    if workload.task != "classification":
        return []
    if workload.pictures(holdout.rows([0])) is None:
        return []
    wrong_rows = predictions.wrong_rows()
    if not len(wrong_rows):
        return []
    certainty = _certainty(workload, holdout, challenger, wrong_rows)
    selected = select_worst(len(wrong_rows), certainty)
    rows = holdout.rows(wrong_rows[selected].tolist())
    images = workload.pictures(rows)
    if images is None:
        return []
    return worst_errors(
        predictions,
        wrong_rows[selected],
        rows[workload.key].to_pylist(),
        images,
        None if certainty is None else certainty[selected],
    )


def _certainty(
    workload: Workload, holdout: Holdout, challenger: Model, indices: np.ndarray
) -> np.ndarray | None:
    """Return the challenger's certainty for rows in ascending order; None if it has no such output."""
    values: list[np.ndarray] = []
    start = 0
    for batch in holdout.batches():
        end = start + batch.num_rows
        inside = indices[np.searchsorted(indices, start) : np.searchsorted(indices, end)] - start
        if len(inside):
            rows = batch.take(pa.array(inside))
            certainty = challenger.infer(workload.tensors(rows)).get(workload.certainty)
            if certainty is None:
                return None
            values.append(np.asarray(certainty, np.float64))
        start = end
    return np.concatenate(values)
