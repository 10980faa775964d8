"""A second judgement: for a version that was judged against one that is champion no more."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from components.archive.step import Archived
from components.evaluate.tracking import log_evaluation
from components.run_context import RunContext
from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts import archive
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.progress import Progress
from continuous_training.serving.models.model import load_model
from workloads import discovery


def judge_again(
    new: Archived,
    version: ModelVersion,
    data: Path,
    registry: Registry,
    store: ObjectStore,
    progress: Progress,
) -> tuple[Archived, str, bool]:
    """Judge the archived model against today's champion, on the same rows as before.

    Returns what the archive step would say now, the report, and whether it is promoted. The run in the
    registry has the new verdict; a rejection is recorded and settled.
    """
    # Only this rare case needs what the libraries behind a judgement need.
    from components.evaluate.step import evaluate
    from continuous_training.evaluation.gate import note

    workload, dataset, first = discovery.get(new.workload), Dataset.open(data), new.judged_against
    first_champion = f"version {first}" if first else "no champion"
    reevaluated = note("judged again", f"at first it was judged against {first_champion}")
    context = RunContext(workload, new.run, registry, store, progress)
    with tempfile.TemporaryDirectory(prefix="again-") as folder:
        archive.unpack(store.fetch(new.key, Path(folder)), Path(folder) / "model", new.digest)
        model = load_model(Path(folder) / "model")
        try:
            result = evaluate(context, dataset, model, version.tags["model_digest"], reevaluated)
        finally:
            model.unload()
    evaluation = result.evaluation
    log_evaluation(context, dataset, evaluation, result.report, result.card)
    said = replace(
        new,
        judged_against=evaluation.champion.version if evaluation.champion else None,
        reasons=list(evaluation.reasons),
        metrics=evaluation.to_json()["metrics"],
    )
    return said, result.report, result.promoted
