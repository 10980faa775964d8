"""Compare the input tensors of the evaluation and of a request for the same row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from continuous_training.core.errors import UserError
from continuous_training.serving.errors import RequestError
from continuous_training.serving.models.model import Model, Tensors
from workloads.contract import Workload

from .holdout import Holdout

SAMPLE_ROWS = 32
_TOLERANCE = 1e-4
"""Relative: a request contains decimal numbers, and a tensor may be float32."""


def request_difference(workload: Workload, model: Model, holdout: Holdout) -> str:
    """Return a text on the first row whose request leads to other outputs than its tensors, or "".

    The metrics are computed from `tensors(rows)`; a client gets the outputs for `preprocess(request(row))`.
    The rows are spread evenly over the holdout. A different tensor that has no effect on the outputs is
    accepted, such as a flag for the default. Raises UserError if the handler rejects a request.
    """
    for row in holdout.spread_rows(SAMPLE_ROWS):
        if name := _different_tensor(workload, model, row):
            return f"the tensor {name} differs for the row {workload.key}={row[workload.key][0].as_py()}"
    return ""


def _different_tensor(workload: Workload, model: Model, row: pa.Table) -> str:
    try:
        served = model.preprocess(workload.request(row))
    except RequestError as error:
        key = row[workload.key][0].as_py()
        raise UserError(
            f"the handler of {workload.name} rejects the request for the row {workload.key}={key}: {error}. "
            "Correct request() or preprocess()"
        ) from error
    evaluated = workload.tensors(row)
    names = [name for name in evaluated if not _equal(evaluated[name], served.get(name))]
    if not names or _same_outputs(model.infer(evaluated), model.infer(served)):
        return ""
    return names[0]


def _same_outputs(first: Tensors, second: Tensors) -> bool:
    return all(_equal(first[name], second.get(name)) for name in first)


def _equal(first: np.ndarray, second: np.ndarray | None) -> bool:
    if second is None or np.shape(first) != np.shape(second):
        return False
    first, second = np.asarray(first), np.asarray(second)
    if first.dtype.kind == "f" or second.dtype.kind == "f":
        return np.allclose(first, second, rtol=_TOLERANCE, atol=_TOLERANCE * 1e-3, equal_nan=True)
    return np.array_equal(first, second)
