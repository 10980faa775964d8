"""Roll out a transferred version in the target, with the deploy-serving step."""

from __future__ import annotations

from pathlib import Path

from components.archive.registration import archived_model, mark_challenger
from components.deploy_serving.step import DeployedModel
from components.deploy_serving.step import run as deploy
from components.run_context import RunContext
from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.artifacts.archived_model import ARCHIVED
from continuous_training.artifacts.checksums import write_checksums
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.core.files import to_json
from continuous_training.core.settings import Settings
from continuous_training.operations.workspace import rollout_settings
from continuous_training.rollout.open_target import open_target


def roll_out_version(
    context: RunContext,
    version: ModelVersion,
    evaluation: Evaluation,
    settings: Settings,
    dataset: Dataset | None,
    folder: Path,
) -> DeployedModel:
    """Serve the version in the target, then make it the champion and record the promotion.

    A version that needs approval is not served: it waits, and the holdout of `dataset` is stored with it. The
    files of the step are written to `folder`. Raises RolloutReverted if the version fails its rollout,
    and TransientError if another version became the champion after the evaluation.
    """
    mark_challenger(context.registry, version, "transferred", context.run_id)
    archived = folder / "archived"
    archived.mkdir()
    model = archived_model(version, evaluation)
    (archived / ARCHIVED).write_text(to_json(model.to_json()), encoding="utf-8")
    write_checksums(archived)
    settings = rollout_settings(settings, version.name, context.progress)
    target = open_target(settings, context.store, context.progress)
    # Approval may evaluate the version again. A rollout starts again if the champion has changed.
    data = dataset.folder if dataset and model.approval_days is not None else None
    output = folder / "deployed.json"
    status = context.next_command("pipelines.status")
    return deploy(
        archived,
        output,
        context.registry,
        context.store,
        target,
        context.progress,
        data,
        status_command=status,
    )
