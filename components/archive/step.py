"""archive: a judged bundle in, a `.mar` in the object store and a version in the registry out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.evaluate.tracking import EVALUATION, GOLDEN
from continuous_training.adapters.model_registry import CHALLENGER, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts import archive
from continuous_training.artifacts.bundle import BundleMetadata, Signature, TensorSpec
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import UserError
from continuous_training.core.files import digest_of_folder, new_folder, to_json
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress

ARCHIVED = "archived.json"

_NUMPY = {
    "FP32": "float32",
    "FP64": "float64",
    "INT64": "int64",
    "INT32": "int32",
    "BOOL": "bool",
    "BYTES": "str",
}


@dataclass(frozen=True)
class Archived:
    """A registered version and where its archive is: `key` in the object store, `digest` its sha256.

    `judged_against` is the version that was champion when the gate let this one through.
    """

    workload: str
    version: str
    digest: str
    key: str
    run: str
    recipe: str
    judged_against: str | None
    reasons: list[str]
    metrics: dict[str, Any]
    registry: dict[str, str]


def run(
    model: Path,
    evaluation: Path,
    output: Path,
    registry: Registry,
    store: ObjectStore,
    progress: Progress = report,
) -> Archived:
    """Archive the bundle in `model`, store it under its digest and register it as the challenger.

    The same bundle gives the same archive, object and version, however often this runs. Raises UserError
    when the evaluation is of another model, or did not promote it.
    """
    description = _read(evaluation / EVALUATION)
    if description["model_digest"] != digest_of_folder(model):
        raise UserError(
            f"{evaluation} judged another model than the one in {model}; run evaluate on it first"
        )
    if description["verdict"] != "promoted":
        reasons = "; ".join(description["reasons"])
        raise UserError(f"the model in {model} was rejected and is not archived: {reasons}")
    golden = GoldenSet.read(evaluation / GOLDEN)
    name = description["workload"]
    with new_folder(output, ARCHIVED) as folder:
        provenance = {
            key: description[key] for key in ("data", "code", "parameters", "recipe", "model_digest")
        }
        # The logical time differs between runs that give the very same model.
        provenance["data"] = {k: v for k, v in provenance["data"].items() if k not in {"as_of", "source"}}
        provenance["parameters"] = {
            k: v for k, v in provenance["parameters"].items() if k not in {"as_of", "source", "force"}
        }
        written = archive.write(model, folder, golden=golden, provenance=provenance)
        key = f"archives/{name}/{written.digest}.mar"
        progress(f"storing {written.path.name}, {written.path.stat().st_size / 1e3:,.0f} kB")
        store.put_if_absent(key, written.path)
        version = _register(registry, model, description, golden, written.digest, key)
        champion = description["champion"]
        archived = Archived(
            workload=name,
            version=version,
            digest=written.digest,
            key=key,
            run=description["run"],
            recipe=description["recipe"],
            judged_against=champion and champion["version"],
            reasons=description["reasons"],
            metrics=description["metrics"],
            registry=description["registry"],
        )
        (folder / ARCHIVED).write_text(to_json(vars(archived)), encoding="utf-8")
    progress(f"registered {name} version {version}")
    return archived


def read(folder: Path) -> Archived:
    """Return what `run` wrote to `folder`; UserError when there is nothing."""
    return Archived(**_read(folder / ARCHIVED))


def _register(
    registry: Registry, model: Path, description: dict[str, Any], golden: GoldenSet, digest: str, key: str
) -> str:
    name = description["workload"]
    run = registry.run(name, description["run"])
    registry.log_file(
        run, "model/MLmodel", _mlmodel(BundleMetadata.read(model).signature, digest, key).encode()
    )
    registry.log_file(run, "model/input_example.json", to_json(golden.requests[0].request).encode())
    tags = {
        "archive_digest": digest,
        "archive_key": key,
        "model_digest": description["model_digest"],
        "recipe": description["recipe"],
        "data_fingerprint": description["data"]["fingerprint"],
        "sample": str(description["data"]["sample"]).lower(),
        "code": description["code"],
        "pipeline_run": description["run"],
    }
    version = registry.register(name, run, tags)
    champion = registry.champion(name)
    if champion is None or champion.version != version.version:
        registry.point(name, CHALLENGER, version.version, "archived", description["run"])
    return version.version


def _mlmodel(signature: Signature, digest: str, key: str) -> str:
    """Return the MLmodel file: the signature as MLflow shows it, and a flavor that names the archive."""

    def specs(tensors: Sequence[TensorSpec]) -> str:
        return json.dumps(
            [
                {
                    "name": tensor.name,
                    "type": "tensor",
                    "tensor-spec": {"dtype": _NUMPY[tensor.datatype], "shape": list(tensor.shape)},
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


def _read(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"there is no {path}; run the step that writes it first")
    return json.loads(path.read_text(encoding="utf-8"))
