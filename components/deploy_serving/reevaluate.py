"""A second evaluation, for a version whose champion was replaced after its first evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from components.evaluate.tracking import log_evaluation
from components.run_context import RunContext
from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.progress import Progress
from continuous_training.core.temporary_files import system_folder
from workloads import discovery


@dataclass(frozen=True)
class Reevaluation:
    """The archived version with the new champion and checks, the HTML report, and whether it is promoted."""

    archived: ArchivedModel
    report: str
    promoted: bool


def reevaluate(
    archived: ArchivedModel,
    version: ModelVersion,
    data: Path,
    registry: Registry,
    store: ObjectStore,
    progress: Progress,
) -> Reevaluation:
    """Compare the archived model with the current champion, on the same holdout rows as before.

    `data` is the output of prep-data. The MLflow run gets the new verdict. A rejection is also written to the
    run history.
    """
    # Start-up time: only this rare case needs the libraries of an evaluation.
    from components.evaluate.stored_archive import evaluate_archive
    from continuous_training.evaluation.check import note

    workload, dataset, first = (
        discovery.get(archived.workload),
        Dataset.open(data),
        archived.evaluated_champion,
    )
    first_champion = f"version {first}" if first else "no champion"
    reason = note("evaluated again", f"the first evaluation was against {first_champion}")
    context = RunContext(workload, archived.run, registry, store, progress)
    with system_folder("reevaluate") as folder:
        archive, model_digest = store.fetch(archived.key, folder), version.tags["model_digest"]
        result = evaluate_archive(context, dataset, archive, archived.digest, model_digest, reason)
    evaluation = result.evaluation
    log_evaluation(context, dataset, evaluation, result.report, result.card)
    updated = replace(
        archived,
        evaluated_champion=evaluation.champion.version if evaluation.champion else None,
        reasons=evaluation.reasons,
        metrics=evaluation.metrics,
    )
    return Reevaluation(updated, result.report, result.promoted)
