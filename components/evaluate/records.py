"""Build the evaluation record and the data of the report from a comparison and its decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from components.run_context import RunContext
from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.evaluation import (
    Bootstrap,
    EvaluatedChampion,
    EvaluatedData,
    Evaluation,
    TrackingRun,
)
from continuous_training.evaluation.comparison import SEED, Comparison
from continuous_training.evaluation.drift import column_drift
from continuous_training.evaluation.gate import Decision
from continuous_training.evaluation.metrics import RESAMPLES
from continuous_training.evaluation.predictions import Predictions
from continuous_training.evaluation.promotion_rule import PromotionRule, is_gate_parameter
from continuous_training.evaluation.worst_errors import Misclassification, worst_errors
from continuous_training.report.report_data import ReportData
from continuous_training.serving.models.model import Model
from workloads.contract import Workload


def build_evaluation(
    context: RunContext,
    rule: PromotionRule,
    dataset: Dataset,
    challenger: Model,
    model_digest: str,
    comparison: Comparison,
    decision: Decision,
    version: ModelVersion | None,
    champion_statistics: Mapping[str, Any] | None,
) -> Evaluation:
    """Return the record of an evaluation; creates the MLflow run that it names.

    `version` is the champion.
    """
    training = challenger.metadata.require_training(challenger.folder)
    workload, manifest, champion = context.workload.name, dataset.manifest, comparison.champion
    improvements = dict(champion.improvements) if champion else {}
    difference = improvements.pop(rule.metric, None)
    registry_run = context.registry.run(workload, context.run_id)
    data_parameters = {n: v for n, v in manifest.parameters.items() if not is_gate_parameter(n)}
    return Evaluation(
        workload=workload,
        run=context.run_id,
        verdict="promoted" if decision.promoted else "rejected",
        reasons=decision.reasons,
        rule=rule.to_json(),
        metrics=comparison.metrics,
        champion=EvaluatedChampion(version.version, version.digest, champion.metrics)
        if version and champion
        else None,
        difference=difference,
        guards=improvements,
        test=champion.test if champion else None,
        mcnemar_p=champion.mcnemar_p if champion else None,
        cost=comparison.cost,
        champion_cost=champion.cost if champion else None,
        bootstrap=Bootstrap(rule.confidence, RESAMPLES, SEED),
        slices=comparison.slices,
        rows=comparison.rows,
        input_digest=training.input_digest,
        model_digest=model_digest,
        parameters=data_parameters | dict(training.parameters),
        data=EvaluatedData(
            manifest.fingerprint,
            manifest.source,
            manifest.as_of,
            manifest.split_rule,
            manifest.sample,
        ),
        code=training.code,
        registry=TrackingRun(registry_run, context.registry.run_url(workload, registry_run)),
        drift=tuple(column_drift(manifest.train.statistics, champion_statistics or {})),
    )


def build_report_data(
    workload: Workload,
    dataset: Dataset,
    holdout: pa.Table,
    challenger: Model,
    evaluation: Evaluation,
    decision: Decision,
    predictions: Predictions,
    champion_statistics: Mapping[str, Any] | None,
) -> ReportData:
    """Return the data of the report and the model card."""
    training = challenger.metadata.require_training(challenger.folder)
    feature = workload.single_feature(
        dataset.parameters_of(workload.parameters(), workload.parse, training.parameters)
    )
    return ReportData(
        evaluation=evaluation,
        checks=decision.checks,
        task=workload.task,
        summary=workload.summary,
        predictions=predictions,
        curve=training.curve,
        notes=training.notes,
        dataset=dataset.manifest,
        champion_statistics=champion_statistics,
        label_column=workload.target,
        feature=(feature, holdout[feature].to_numpy()) if feature else None,
        errors=_misclassified_images(workload, holdout, challenger, predictions),
    )


def _misclassified_images(
    workload: Workload, holdout: pa.Table, challenger: Model, predictions: Predictions
) -> list[Misclassification]:
    """Return the worst errors of a classifier of images; empty for other models."""
    wrong_rows = predictions.wrong_rows()
    if workload.task != "classification" or not len(wrong_rows):
        return []
    rows = holdout.take(pa.array(wrong_rows))
    images = workload.pictures(rows)
    if images is None:
        return []
    certainty = challenger.infer(workload.tensors(rows)).get(workload.certainty)
    return worst_errors(
        predictions,
        rows[workload.key].to_pylist(),
        images,
        None if certainty is None else np.asarray(certainty, np.float64),
    )
