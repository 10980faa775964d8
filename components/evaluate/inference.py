"""Run a model's handler on the holdout: predictions, golden requests, serving costs."""

from __future__ import annotations

import numpy as np

from continuous_training.artifacts.golden_requests import GoldenRequest, GoldenSet
from continuous_training.artifacts.measurements import ServingCost
from continuous_training.artifacts.tensor_datatypes import NUMPY_DTYPES
from continuous_training.evaluation.comparison import Costs
from continuous_training.evaluation.cost_measurement import latencies_ms, size_mb
from continuous_training.evaluation.predictions import OutputSpec, OutputValidator, predict
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.serving.models.model import Model
from workloads.contract import Workload

from .holdout import Holdout

GOLDEN_ROWS = 8


def output_validator(model: Model) -> OutputValidator:
    """Return a validator of the outputs that the model declares."""
    specs = [
        OutputSpec(spec.name, spec.datatype, np.dtype(NUMPY_DTYPES[spec.datatype]), spec.shape)
        for spec in model.metadata.signature.outputs
    ]
    return OutputValidator(model.name, specs)


def predict_rows(
    workload: Workload, model: Model, holdout: Holdout, validator: OutputValidator | None = None
) -> np.ndarray:
    """Return the predictions of the model's handler, one per row in the order of the rows."""
    batches = ((model.infer(workload.tensors(batch)), batch.num_rows) for batch in holdout.batches())
    return predict(workload.name, workload.prediction, batches, validator)


def slice_masks(workload: Workload, holdout: Holdout) -> dict[str, np.ndarray]:
    """Return the mask of each slice over all rows. A slice has no rows of a batch that does not have it."""
    if type(workload).slices is Workload.slices:
        return {}
    masks: dict[str, np.ndarray] = {}
    start = 0
    for batch in holdout.batches():
        for name, mask in workload.slices(batch).items():
            if name not in masks:
                masks[name] = np.zeros(holdout.num_rows, dtype=bool)
            masks[name][start : start + batch.num_rows] = mask
        start += batch.num_rows
    return masks


def golden_requests(workload: Workload, model: Model, holdout: Holdout) -> GoldenSet:
    """Return requests for rows spread evenly over the holdout, with the model's answers."""
    requests = [workload.request(row) for row in holdout.spread_rows(GOLDEN_ROWS)]
    return GoldenSet(tuple(GoldenRequest(request, model.predict(request)) for request in requests))


def serving_costs(rule: PromotionRule, challenger: Model, champion: Model | None, golden: GoldenSet) -> Costs:
    """Return both models' sizes, and their latencies if the rule has a latency budget."""
    models = [challenger, *([champion] if champion else [])]
    latencies: list[float] | list[None] = [None] * len(models)
    if rule.measures_latency:
        latencies = latencies_ms([model.predict for model in models], [pair.request for pair in golden])
    costs = [
        ServingCost(latency, size_mb(model.folder)) for latency, model in zip(latencies, models, strict=True)
    ]
    return Costs(*costs)
