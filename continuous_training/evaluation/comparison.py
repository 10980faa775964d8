"""Challenger and champion on the same rows: their answers, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from components.evaluate.champion import Champion
from continuous_training.core.errors import UserError
from continuous_training.evaluation.budgets import Cost, latencies_ms, size_mb
from continuous_training.evaluation.gate import Against, Evidence, Slice, Verdict, judge
from continuous_training.evaluation.metrics import METRICS, Metric, improvement, measure, score
from continuous_training.evaluation.outputs import Outputs, broken_answers
from continuous_training.evaluation.paired_tests import mcnemar, significance
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.report.report_data import Interval
from continuous_training.serving.models.model import Model
from workloads.contract import Workload

SEED = 0
_BATCH = 4096


@dataclass(frozen=True)
class Judgement:
    """The verdict and all that it rests on; `theirs` are the champion's, empty without one."""

    verdict: Verdict
    evidence: Evidence
    actual: np.ndarray
    predicted: np.ndarray
    champion_predicted: np.ndarray | None
    champion_metrics: dict[str, Interval]
    mcnemar_p: float | None

    @property
    def metrics(self) -> dict[str, Interval]:
        """The challenger's metrics, the primary one first."""
        return dict(self.evidence.metrics)

    @property
    def slices(self) -> dict[str, Slice]:
        """The metric in each group of rows."""
        return dict(self.evidence.slices)


def judge_models(
    workload: Workload,
    rule: PromotionRule,
    holdout: pa.Table,
    challenger: Model,
    champion: Champion | None,
    golden: list[dict[str, Any]],
) -> Judgement:
    """Ask both models about every holdout row and judge the challenger by the rule.

    `golden` are requests of one row each with the challenger's answers; latency is measured with them, where
    the rule asks for it. UserError when the challenger's outputs are not what it declares.
    """
    primary = _primary(workload, rule)
    actual, outputs = holdout[workload.target].to_numpy(), Outputs(challenger)
    predicted = _predict(workload, challenger, holdout, outputs)
    theirs = _predict(workload, champion.model, holdout) if champion else None
    # The primary metric comes first wherever metrics are listed.
    metrics = sorted(METRICS[workload.task], key=lambda metric: metric is not primary)
    requests = [row["request"] for row in golden]
    costs = _costs(rule, [challenger, *([champion.model] if champion else [])], requests)
    against = None
    if champion and theirs is not None:
        compared = (m for m in metrics if m is primary or m.name in rule.guards)
        against = Against(
            champion=champion.version.version,
            improvements={
                m.name: improvement(m, actual, predicted, theirs, SEED, rule.confidence) for m in compared
            },
            test=significance(rule, primary, actual, predicted, theirs, SEED),
            cost=costs[-1],
        )
    evidence = Evidence(
        rows=len(actual),
        metrics={m.name: measure(m, actual, predicted, SEED) for m in metrics},
        higher_is_better=primary.higher_is_better,
        slices=_slices(primary, workload.slices(holdout), actual, predicted, theirs),
        cost=costs[0],
        against=against,
        not_numbers=[*outputs.broken(), *broken_answers(golden)],
    )
    return Judgement(
        verdict=judge(rule, evidence),
        evidence=evidence,
        actual=actual,
        predicted=predicted,
        champion_predicted=theirs,
        champion_metrics={}
        if theirs is None
        else {m.name: measure(m, actual, theirs, SEED) for m in metrics},
        mcnemar_p=None
        if theirs is None or workload.task != "classification"
        else mcnemar(actual, predicted, theirs),
    )


def _primary(workload: Workload, rule: PromotionRule) -> Metric:
    for metric in METRICS[workload.task]:
        if metric.name == rule.metric:
            return metric
    known = ", ".join(metric.name for metric in METRICS[workload.task])
    raise UserError(
        f"workload {workload.name}: its rule's metric {rule.metric!r} is none of {known}, which "
        f"{workload.task} has"
    )


def _costs(rule: PromotionRule, models: list[Model], requests: list[Any]) -> list[Cost]:
    took: list[float] | list[None] = [None] * len(models)
    if rule.measures_latency:
        took = latencies_ms([model.predict for model in models], requests)
    return [Cost(ms, size_mb(model.folder)) for ms, model in zip(took, models, strict=True)]


def _predict(workload: Workload, model: Model, rows: pa.Table, outputs: Outputs | None = None) -> np.ndarray:
    """Return the model's predictions, in the rows' order, by the handler that serves them."""
    parts = []
    for begin in range(0, rows.num_rows, _BATCH):
        part = rows.slice(begin, _BATCH)
        answers = model.infer(workload.tensors(part))
        if outputs:
            outputs.check(answers, part.num_rows)
        answer = answers.get(workload.prediction)
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
