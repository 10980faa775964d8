"""Build the evaluation record and the data of the report from a comparison and its decision."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from components.run_context import RunContext
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.evaluation import (
    Bootstrap,
    EvaluatedChampion,
    EvaluatedData,
    Evaluation,
    TrackingRun,
)
from continuous_training.core.run_parameters import APPROVAL_PARAMETERS
from continuous_training.evaluation.bootstrap import RESAMPLES
from continuous_training.evaluation.comparison import SEED, ChampionComparison, Comparison
from continuous_training.evaluation.drift import column_drift
from continuous_training.evaluation.gate import Decision
from continuous_training.evaluation.predictions import Predictions
from continuous_training.evaluation.promotion_rule import PromotionRule, is_gate_parameter
from continuous_training.report.report_data import ReportData
from continuous_training.serving.models.model import Model
from workloads.contract import Workload
from workloads.splits import SPLIT_PARAMETERS

from .champion import Champion
from .holdout import Holdout
from .misclassified_images import misclassified_images

MAX_BAD_ROWS = 20
"""The number of bad rows that the report lists."""


def build_evaluation(
    context: RunContext,
    rule: PromotionRule,
    dataset: Dataset,
    challenger: Model,
    model_digest: str,
    comparison: Comparison,
    decision: Decision,
    champion: Champion | None,
    seen_rows: int,
) -> Evaluation:
    """Return the record of an evaluation, and create the MLflow run that it refers to.

    `seen_rows` is the number of holdout rows that the champion may have been trained on.
    """
    training = challenger.metadata.require_training(challenger.folder)
    workload, manifest = context.workload.name, dataset.manifest
    registry_run = context.registry.run(workload, context.run_id)
    data_parameters = {
        name: value
        for name, value in manifest.parameters.items()
        if not is_gate_parameter(name)
        and (value or name not in SPLIT_PARAMETERS)
        and (manifest.parameters.get("approval") or name not in APPROVAL_PARAMETERS)
    }
    evaluation = Evaluation(
        workload=workload,
        run=context.run_id,
        verdict="promoted" if decision.promoted else "rejected",
        reasons=decision.reasons,
        rule=rule.to_json(),
        metrics=comparison.metrics,
        cost=comparison.cost,
        bootstrap=Bootstrap(rule.confidence, RESAMPLES, SEED),
        slices=comparison.slices,
        rows=comparison.rows,
        input_digest=training.input_digest,
        model_digest=model_digest,
        parameters={**data_parameters, **training.parameters},
        data=EvaluatedData(
            manifest.fingerprint, manifest.source, manifest.as_of, manifest.split_rule, manifest.sample
        ),
        code=training.code,
        modules=training.modules,
        registry=TrackingRun(registry_run, context.registry.run_url(workload, registry_run)),
        population=comparison.population,
        accepted=comparison.accepted,
        trigger=context.history.trigger(context.run_id),
    )
    if champion is None or comparison.champion is None:
        return evaluation
    return _add_champion(evaluation, rule, dataset, champion, comparison.champion, seen_rows)


def _add_champion(
    evaluation: Evaluation,
    rule: PromotionRule,
    dataset: Dataset,
    champion: Champion,
    comparison: ChampionComparison,
    seen_rows: int,
) -> Evaluation:
    """Return the evaluation with the results of the comparison with the champion."""
    version, old_statistics = champion.version, champion.training_data.statistics
    guards = {name: interval for name, interval in comparison.improvements.items() if name != rule.metric}
    return replace(
        evaluation,
        champion=EvaluatedChampion(version.version, version.digest, comparison.metrics, seen_rows),
        difference=comparison.improvements[rule.metric],
        guards=guards,
        test=comparison.test,
        guard_tests=comparison.guard_tests,
        mcnemar_p=comparison.mcnemar_p,
        champion_cost=comparison.cost,
        drift=tuple(column_drift(dataset.manifest.train.statistics, old_statistics)),
    )


def build_report_data(
    workload: Workload,
    dataset: Dataset,
    holdout: Holdout,
    challenger: Model,
    evaluation: Evaluation,
    decision: Decision,
    predictions: Predictions,
    champion: Champion | None,
) -> ReportData:
    """Return the data of the report and the model card."""
    training = challenger.metadata.require_training(challenger.folder)
    # A transferred model may be trained with other parameters than those that the rows were prepared with.
    parameters = {**dataset.manifest.parameters, **training.parameters}
    declared = {parameter.name for parameter in workload.parameters()}
    values = workload.parse({name: value for name, value in parameters.items() if name in declared})
    feature = workload.single_feature(values)
    return ReportData(
        evaluation=evaluation,
        checks=decision.checks,
        task=workload.task,
        summary=workload.summary,
        predictions=predictions,
        curve=training.curve,
        notes=training.notes,
        dataset=dataset.manifest,
        champion_statistics=champion.training_data.statistics if champion else None,
        label_column=workload.target,
        feature=(feature, holdout.values(feature)) if feature else None,
        errors=misclassified_images(workload, holdout, challenger, predictions),
        bad_rows=tuple(islice(dataset.bad_rows(), MAX_BAD_ROWS)),
    )
