"""Log an evaluation to MLflow, and a rejection to the run history."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from components.run_context import RunContext
from continuous_training.adapters.experiment_tracking import MAX_PROFILE
from continuous_training.adapters.model_registry import Registry
from continuous_training.artifacts.dataset_manifest import MANIFEST, DatasetManifest
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.artifacts.run_record import ProcessedInputs, RecordedVersion, RunRecord
from continuous_training.core.files import to_json
from continuous_training.evaluation.promotion_rule import PARAMETER_PREFIX

if TYPE_CHECKING:
    from continuous_training.artifacts.dataset import Dataset

EVALUATION, GOLDEN, REPORT, CARD = "evaluation.json", "golden.json", "report.html", "card.md"
"""The files of an evaluation: record, golden requests with their answers, report, and model card."""


def log_evaluation(
    context: RunContext, dataset: Dataset, evaluation: Evaluation, report: str, card: str
) -> None:
    """Log the evaluation as an MLflow run. Record a rejection, so that the same inputs are not run again."""
    log_report(context.registry, dataset, evaluation, report, card)
    log_decision(context.registry, evaluation)
    if not evaluation.promoted:
        record = run_record_of(evaluation)
        context.history.write_run(record)
        context.history.record_processed(evaluation.input_digest, ProcessedInputs(record))


def log_report(registry: Registry, dataset: Dataset, evaluation: Evaluation, report: str, card: str) -> None:
    """Log the dataset of an evaluation, its report and its model card to the MLflow run."""
    run, manifest = evaluation.registry.run, dataset.manifest
    profile = dataset_profile(manifest)
    registry.log_dataset(run, evaluation.workload, manifest.fingerprint, manifest.source, profile)
    registry.log_file(run, REPORT, report.encode())
    registry.log_file(run, CARD, card.encode())
    registry.log_file(run, MANIFEST, to_json(manifest.to_json()).encode())


def log_decision(registry: Registry, evaluation: Evaluation) -> None:
    """Log parameters, metrics, verdict and `evaluation.json` to the MLflow run, and end the run."""
    run = evaluation.registry.run
    rule = {f"{PARAMETER_PREFIX}{n}": value for n, value in evaluation.rule.items() if value is not None}
    registry.log(run, {**evaluation.parameters, **rule}, _metrics(evaluation), _tags(evaluation))
    registry.log_file(run, EVALUATION, to_json(evaluation.to_json()).encode())
    registry.end(run)


def dataset_profile(manifest: DatasetManifest, limit: int = MAX_PROFILE) -> str:
    """Return the number, the fingerprint and the statistics of the rows of each split as JSON.

    The statistics are omitted if the text is longer than `limit`; the artifact `dataset.json` contains them.
    """
    splits = {name: split.to_json() for name, split in manifest.splits.items()}
    if len(profile := to_json(splits)) <= limit:
        return profile
    return to_json({name: {**split, "statistics": {}} for name, split in splits.items()})


def run_record_of(evaluation: Evaluation) -> RunRecord:
    """Return the record of a run that ends with this evaluation."""
    champion = evaluation.champion
    return RunRecord(
        run=evaluation.run,
        verdict=evaluation.verdict,
        reasons=evaluation.reasons,
        metrics=evaluation.metrics,
        champion=RecordedVersion(champion.version, champion.digest, champion.metrics) if champion else None,
        input_digest=evaluation.input_digest,
        registry=evaluation.registry,
        accepted=evaluation.accepted,
        difference=evaluation.difference,
    )


def _metrics(evaluation: Evaluation) -> dict[str, float]:
    """Return the finite metrics with their intervals, and the drift of each column."""
    metrics: dict[str, float] = {}
    for name, interval in evaluation.metrics.items():
        ends = {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        metrics |= {key: value for key, value in ends.items() if math.isfinite(value)}
    return metrics | {f"drift_{drift.column}": drift.psi for drift in evaluation.drift}


def _tags(evaluation: Evaluation) -> dict[str, str]:
    return {
        "verdict": evaluation.verdict,
        "reasons": "; ".join(evaluation.reasons),
        "data_fingerprint": evaluation.data.fingerprint,
        "sample": str(evaluation.data.sample).lower(),
        "code": evaluation.code,
        "recipe": evaluation.input_digest,
        "model_digest": evaluation.model_digest,
        **({"accepted": evaluation.accepted} if evaluation.accepted else {}),
    }
