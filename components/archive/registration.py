"""Register an archive as a model version, with its signature and an example in MLflow's format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import yaml

from continuous_training.adapters.model_registry import CHALLENGER, ModelVersion, Registry
from continuous_training.artifacts.approval import REQUIRED
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.artifacts.bundle import Signature, TensorSpec
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.files import to_json

_NUMPY_TYPES = {
    "FP32": "float32",
    "FP64": "float64",
    "INT64": "int64",
    "INT32": "int32",
    "BOOL": "bool",
    "BYTES": "str",
}


def register_version(
    registry: Registry,
    name: str,
    pipeline_run: str,
    signature: Signature,
    golden: GoldenSet,
    tags: Mapping[str, str],
) -> ModelVersion:
    """Return the version of the archive that `tags` names; register it if there is none.

    The signature and the first of the golden requests become artifacts of the MLflow run.
    """
    run = registry.run(name, pipeline_run)
    mlmodel = _mlmodel(signature, tags["archive_digest"], tags["archive_key"])
    registry.log_file(run, "model/MLmodel", mlmodel.encode())
    registry.log_file(run, "model/input_example.json", to_json(golden.requests[0].request).encode())
    return registry.register(name, run, tags)


def mark_challenger(registry: Registry, version: ModelVersion, reason: str, run: str) -> None:
    """Move the alias `challenger` to a version, unless the version is the champion."""
    champion = registry.champion(version.name)
    if champion is None or champion.version != version.version:
        registry.move_alias(version.name, CHALLENGER, version.version, reason, run)


def archived_model(version: ModelVersion, evaluation: Evaluation) -> ArchivedModel:
    """Return the record of a registered version with the result of its evaluation."""
    return ArchivedModel(
        workload=version.name,
        version=version.version,
        digest=version.digest,
        key=version.archive,
        run=evaluation.run,
        input_digest=evaluation.input_digest,
        evaluated_champion=evaluation.champion.version if evaluation.champion else None,
        reasons=evaluation.reasons,
        metrics=evaluation.metrics,
        registry=evaluation.registry,
        accepted=evaluation.accepted,
        difference=evaluation.difference,
        approval_days=_approval_days(evaluation),
    )


def _approval_days(evaluation: Evaluation) -> int | None:
    """Return for how many days the version waits for approval, or None if it needs none."""
    required = evaluation.parameters.get("approval") == REQUIRED
    return int(str(evaluation.parameters["approval_days"])) if required else None


def _mlmodel(signature: Signature, digest: str, key: str) -> str:
    """Return the MLmodel file: the signature in MLflow's format, and a flavor that names the archive."""

    def specs(tensors: Sequence[TensorSpec]) -> str:
        return json.dumps(
            [
                {
                    "name": tensor.name,
                    "type": "tensor",
                    "tensor-spec": {"dtype": _NUMPY_TYPES[tensor.datatype], "shape": list(tensor.shape)},
                }
                for tensor in tensors
            ]
        )

    content = {
        "artifact_path": "model",
        "flavors": {"mar": {"archive_key": key, "archive_digest": digest, "handler": signature.handler}},
        "saved_input_example_info": {"artifact_path": "input_example.json", "type": "json_object"},
        "signature": {
            "inputs": specs(signature.inputs),
            "outputs": specs(signature.outputs),
            "params": None,
        },
    }
    return str(yaml.safe_dump(content, sort_keys=True))
