"""Versions of a toy model in the store and the registry, as the step archive leaves them."""

from __future__ import annotations

import json
from pathlib import Path

from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import open_store
from continuous_training.artifacts.archived_model import ARCHIVED, ArchivedModel
from continuous_training.artifacts.evaluation import TrackingRun
from tests.continuous_training.artifacts.test_evaluation import EVALUATION
from tests.continuous_training.serving.toy_models import make_archive

from . import steps
from .kube import Kube


def store_version(kube: Kube, folder: Path, model: str, run: str, scale: float) -> Path:
    """Store and register a version. Return the output folder of the step archive."""
    output = folder / run
    output.mkdir()
    archive = make_archive(output, name=model, scale=scale)
    key = f"archives/{model}/{archive.digest}.mar"
    with steps.environment(kube) as environment:
        access = (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        open_store(environment["CT_STORE"], access).put_if_absent(key, archive.path)
        registry = Registry(environment["MLFLOW_TRACKING_URI"])
        tags = {"archive_digest": archive.digest, "archive_key": key, "pipeline_run": run, "recipe": run}
        tags |= {"data_fingerprint": "none", "code": "none", "model_digest": archive.digest}
        tracking_run = registry.run(model, run)
        registry.log_file(tracking_run, "evaluation.json", json.dumps(EVALUATION.to_json()).encode())
        version = registry.register(model, tracking_run, tags)
        champion = registry.champion(model)
    archived = ArchivedModel(
        workload=model,
        version=version.version,
        digest=archive.digest,
        key=key,
        run=run,
        input_digest=run,
        evaluated_champion=champion.version if champion else None,
        reasons=("it is better",),
        metrics={},
        registry=TrackingRun("", ""),
    )
    (output / ARCHIVED).write_text(json.dumps(archived.to_json()), encoding="utf-8")
    return output
