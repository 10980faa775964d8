"""A second judgement: for a version that was judged against one that is champion no more."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from components.archive.step import Archived
from components.evaluate.tracking import record
from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
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
    from components.evaluate.step import judge

    workload, dataset, first = discovery.get(new.workload), Dataset.open(data), new.judged_against
    note = f"judged again: at first it was judged against {f'version {first}' if first else 'no champion'}"
    with tempfile.TemporaryDirectory(prefix="again-") as folder:
        archive.unpack(store.fetch(new.key, Path(folder)), Path(folder) / "model", new.digest)
        model = load_model(Path(folder) / "model")
        try:
            judged = judge(
                workload, dataset, model, version.tags["model_digest"], new.run, registry, store,
                progress, note,
            )  # fmt: skip
        finally:
            model.unload()
    description = judged.description
    record(registry, RunHistory(store, new.workload), dataset, description, judged.report, judged.card)
    champion = description["champion"]
    said = replace(
        new,
        judged_against=champion and champion["version"],
        reasons=description["reasons"],
        metrics=description["metrics"],
    )
    return said, judged.report, judged.promoted
