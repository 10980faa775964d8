"""The archive step: store a promoted bundle as a `.mar` file and register it as a model version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from components.evaluate.tracking import EVALUATION, GOLDEN
from continuous_training.adapters.model_registry import CHALLENGER, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.stored_archive import put_archive
from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.archived_model import ARCHIVED, ArchivedModel
from continuous_training.artifacts.bundle import BundleMetadata, Signature, TensorSpec
from continuous_training.artifacts.checksums import verify_checksums, write_checksums
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.digest import digest_of_folder
from continuous_training.core.errors import UserError
from continuous_training.core.files import new_folder, to_json
from continuous_training.core.json_object import Json
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.core.run_parameters import SOURCE_PARAMETERS

_NUMPY_TYPES = {
    "FP32": "float32",
    "FP64": "float64",
    "INT64": "int64",
    "INT32": "int32",
    "BOOL": "bool",
    "BYTES": "str",
}


def run(
    model: Path,
    evaluation: Path,
    output: Path,
    registry: Registry,
    store: ObjectStore,
    progress: Progress = report,
) -> ArchivedModel:
    """Archive the bundle in `model`, store it under its digest and register it as the challenger.

    The step is idempotent: the same bundle gives the same archive, object and version. Raises UserError if
    the evaluation belongs to another model, or did not promote the model.
    """
    verify_checksums(model, "train")
    verify_checksums(evaluation, "evaluate")
    record = Evaluation.read(evaluation / EVALUATION)
    if record.model_digest != digest_of_folder(model):
        raise UserError(
            f"{evaluation} is the evaluation of another model, not of {model}; run evaluate first"
        )
    if not record.promoted:
        reasons = "; ".join(record.reasons)
        raise UserError(f"the model in {model} was rejected and is not archived: {reasons}")
    golden = GoldenSet.read(evaluation / GOLDEN)
    name = record.workload
    with new_folder(output, ARCHIVED) as folder:
        written = archive_writer.write(model, folder, golden=golden, provenance=_provenance(record))
        key = f"archives/{name}/{written.digest}.mar"
        progress(f"storing {written.path.name}, {written.path.stat().st_size / 1e3:,.0f} kB")
        put_archive(store, key, written.path, written.digest, progress)
        version = _register(registry, model, record, golden, written.digest, key)
        archived = ArchivedModel(
            workload=name,
            version=version,
            digest=written.digest,
            key=key,
            run=record.run,
            input_digest=record.input_digest,
            evaluated_champion=record.champion.version if record.champion else None,
            reasons=record.reasons,
            metrics=record.metrics,
            registry=record.registry,
            accepted=record.accepted,
            difference=record.difference,
        )
        (folder / ARCHIVED).write_text(to_json(archived.to_json()), encoding="utf-8")
        write_checksums(folder)
    progress(f"registered {name} version {version}")
    return archived


def _provenance(evaluation: Evaluation) -> Json:
    """Return the origin of the model: data, code and parameters.

    The logical time and the source are left out, because they differ between runs that give the same model.
    """
    data, parameters = asdict(evaluation.data), dict(evaluation.parameters)
    return {
        "data": {key: value for key, value in data.items() if key not in {"as_of", "source"}},
        "code": evaluation.code,
        "modules": dict(evaluation.modules),
        "parameters": {
            key: value
            for key, value in parameters.items()
            if key not in {*SOURCE_PARAMETERS, "as_of", "force", "bad_rows", "accept"}
        },
        "recipe": evaluation.input_digest,
        "model_digest": evaluation.model_digest,
    }


def _register(
    registry: Registry, model: Path, evaluation: Evaluation, golden: GoldenSet, digest: str, key: str
) -> str:
    name = evaluation.workload
    run = registry.run(name, evaluation.run)
    registry.log_file(
        run, "model/MLmodel", _mlmodel(BundleMetadata.read(model).signature, digest, key).encode()
    )
    registry.log_file(run, "model/input_example.json", to_json(golden.requests[0].request).encode())
    tags = {
        "archive_digest": digest,
        "archive_key": key,
        "model_digest": evaluation.model_digest,
        "recipe": evaluation.input_digest,
        "data_fingerprint": evaluation.data.fingerprint,
        "sample": str(evaluation.data.sample).lower(),
        "code": evaluation.code,
        "pipeline_run": evaluation.run,
    }
    version = registry.register(name, run, tags)
    champion = registry.champion(name)
    if champion is None or champion.version != version.version:
        registry.move_alias(name, CHALLENGER, version.version, "archived", evaluation.run)
    return version.version


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
