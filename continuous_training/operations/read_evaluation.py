"""Read the evaluation of a registered version: the `evaluation.json` of its MLflow run."""

from __future__ import annotations

from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.core.errors import PipelineError
from continuous_training.core.json_object import JsonObject
from continuous_training.core.messages import report

EVALUATION_RUN = "evaluation_run"
"""The tag of a version that was transferred again: the MLflow run of its latest evaluation."""


def read_evaluation(version: ModelVersion, registry: Registry) -> Evaluation | None:
    """Return the latest evaluation of the version, or None if there is none or it cannot be read.

    The registry answers for its versions even if the storage of its artifacts is unavailable or damaged, so
    this is reported as a warning.
    """
    run = version.tags.get(EVALUATION_RUN) or version.run_id
    if not run:
        return None
    try:
        content = registry.read_json(run, "evaluation.json")
        if content is None:
            return None
        return Evaluation.from_json(
            JsonObject(content, f"evaluation.json of MLflow run {run}", ArtifactError)
        )
    except PipelineError as error:
        report(f"warning: the evaluation of version {version.version} of {version.name} is unknown: {error}")
        return None
