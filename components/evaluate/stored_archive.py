"""Evaluate a model that is stored as an archive, against the current champion."""

from __future__ import annotations

from pathlib import Path

from components.run_context import RunContext
from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.temporary_files import system_folder
from continuous_training.evaluation.check import Check
from continuous_training.serving.models.model import load_model

from .step import EvaluationResult, evaluate


def evaluate_archive(
    context: RunContext, dataset: Dataset, archive: Path, digest: str, model_digest: str, *notes: Check
) -> EvaluationResult:
    """Return the evaluation of the model in an archive on the holdout of `dataset`.

    `digest` is the sha256 that the archive must have, and `model_digest` that of the model's bundle. `notes`
    are added to the decision.
    """
    with system_folder("evaluate-archive") as folder:
        bundle = folder / "model"
        archive_writer.unpack(archive, bundle, digest)
        model = load_model(bundle)
        try:
            return evaluate(context, dataset, model, model_digest, *notes)
        finally:
            model.unload()
