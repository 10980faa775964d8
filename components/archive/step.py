"""The archive step: store a promoted bundle as a `.mar` file and register it as a model version."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from components.archive.registration import archived_model, mark_challenger, register_version
from components.evaluate.tracking import EVALUATION, GOLDEN
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.stored_archive import put_archive
from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.archived_model import ARCHIVED, ArchivedModel
from continuous_training.artifacts.bundle import BundleMetadata
from continuous_training.artifacts.checksums import verify_checksums, write_checksums
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.digest import digest_of_folder
from continuous_training.core.errors import UserError
from continuous_training.core.files import new_folder, to_json
from continuous_training.core.json_object import Json
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.core.run_parameters import APPROVAL_PARAMETERS, SOURCE_PARAMETERS


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
        tags = _tags(record, written.digest, key)
        signature = BundleMetadata.read(model).signature
        version = register_version(registry, name, record.run, signature, golden, tags)
        mark_challenger(registry, version, "archived", record.run)
        archived = archived_model(version, record)
        (folder / ARCHIVED).write_text(to_json(archived.to_json()), encoding="utf-8")
        write_checksums(folder)
    progress(f"registered {name} version {version.version}")
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
            if key not in {*SOURCE_PARAMETERS, *APPROVAL_PARAMETERS, "as_of", "force", "bad_rows", "accept"}
        },
        "recipe": evaluation.input_digest,
        "model_digest": evaluation.model_digest,
    }


def _tags(evaluation: Evaluation, digest: str, key: str) -> dict[str, str]:
    """Return the tags of the registered version."""
    return {
        "archive_digest": digest,
        "archive_key": key,
        "model_digest": evaluation.model_digest,
        "recipe": evaluation.input_digest,
        "data_fingerprint": evaluation.data.fingerprint,
        "sample": str(evaluation.data.sample).lower(),
        "code": evaluation.code,
        "pipeline_run": evaluation.run,
    }
