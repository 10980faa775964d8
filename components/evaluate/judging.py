"""Challenger and champion on the same rows: their answers, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from adapters.errors import UserError
from components.report.facts import Interval
from serving.model import Model
from workloads.contract import Workload

from .champion import Champion
from .gate import Slice, Verdict, judge
from .scores import METRICS, Metric, improvement, mcnemar, measure, score

SEED = 0
_BATCH = 4096


@dataclass(frozen=True)
class Judgement:
    """The verdict and all that it rests on; `theirs` are the champion's, empty without one."""

    verdict: Verdict
    actual: np.ndarray
    predicted: np.ndarray
    champion_predicted: np.ndarray | None
    metrics: dict[str, Interval]
    champion_metrics: dict[str, Interval]
    difference: Interval | None
    mcnemar_p: float | None
    slices: dict[str, Slice]


def judge_models(
    workload: Workload, holdout: pa.Table, challenger: Model, champion: Champion | None
) -> Judgement:
    """Ask both models about every holdout row and judge the challenger by the workload's rule."""
    actual = holdout[workload.target].to_numpy()
    predicted = _predict(workload, challenger, holdout)
    theirs = _predict(workload, champion.model, holdout) if champion else None
    primary = _primary(workload)
    # The primary metric comes first wherever metrics are listed.
    metrics = sorted(METRICS[workload.task], key=lambda metric: metric is not primary)
    ours = {m.name: measure(m, actual, predicted, SEED) for m in metrics}
    difference = None if theirs is None else improvement(primary, actual, predicted, theirs, SEED)
    slices = _slices(primary, workload.slices(holdout), actual, predicted, theirs)
    name = champion.version.version if champion else ""
    verdict = judge(workload.rule, len(actual), ours, primary.higher_is_better, difference, slices, name)
    return Judgement(
        verdict=verdict,
        actual=actual,
        predicted=predicted,
        champion_predicted=theirs,
        metrics=ours,
        champion_metrics={}
        if theirs is None
        else {m.name: measure(m, actual, theirs, SEED) for m in metrics},
        difference=difference,
        mcnemar_p=None if theirs is None else _mcnemar(workload, actual, predicted, theirs),
        slices=slices,
    )


def _mcnemar(workload: Workload, actual: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> float | None:
    return mcnemar(actual, ours, theirs) if workload.task == "classification" else None


def _primary(workload: Workload) -> Metric:
    for metric in METRICS[workload.task]:
        if metric.name == workload.rule.metric:
            return metric
    known = ", ".join(metric.name for metric in METRICS[workload.task])
    raise UserError(
        f"workload {workload.name}: its rule's metric {workload.rule.metric!r} is none of {known}, which "
        f"{workload.task} has"
    )


def _predict(workload: Workload, model: Model, rows: pa.Table) -> np.ndarray:
    """Return the model's predictions, in the rows' order, by the handler that serves them."""
    parts = []
    for begin in range(0, rows.num_rows, _BATCH):
        part = rows.slice(begin, _BATCH)
        answer = model.infer(workload.tensors(part)).get(workload.prediction)
        if answer is None or answer.shape != (part.num_rows,):
            raise UserError(
                f"workload {workload.name}: its handler answers {part.num_rows} rows with "
                f"{workload.prediction} of shape {getattr(answer, 'shape', None)}, not one value a row"
            )
        parts.append(answer)
    return np.concatenate(parts)


def _slices(
    metric: Metric,
    masks: dict[str, np.ndarray],
    actual: np.ndarray,
    predicted: np.ndarray,
    theirs: np.ndarray | None,
) -> dict[str, Slice]:
    found = {}
    for name, mask in masks.items():
        if mask.any():
            value = score(metric, actual[mask], predicted[mask])
            other = None if theirs is None else score(metric, actual[mask], theirs[mask])
            found[name] = Slice(int(mask.sum()), value, other)
    return found
