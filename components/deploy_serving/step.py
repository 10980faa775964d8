"""The deploy-serving step: roll out the archived challenger, then move the champion alias."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from components.evaluate.tracking import REPORT
from continuous_training.adapters.model_registry import CHALLENGER, ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.adapters.stored_archive import put_archive
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.artifacts.checksums import verify_checksums
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.run_record import ProcessedInputs, RecordedVersion, RunRecord
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import UserError
from continuous_training.core.files import to_json, write_text
from continuous_training.core.json_object import Json
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.core.temporary_files import system_folder
from continuous_training.rollout.alias_mirror import mirror_aliases
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.target import DeploymentTarget


@dataclass(frozen=True)
class DeployedModel:
    """The version that is served after the step, and the address of its endpoint.

    If not `promoted`, the archived version was rejected by a second evaluation, and this is the champion.
    """

    workload: str
    version: str
    digest: str
    endpoint: str
    promoted: bool = True

    @property
    def verdict(self) -> str:
        """The verdict on the archived version."""
        return "promoted" if self.promoted else "rejected"

    def to_json(self) -> Json:
        """Return the content of the step's output file."""
        return asdict(self)


def run(
    archived: Path,
    output: Path,
    registry: Registry,
    store: ObjectStore,
    target: DeploymentTarget,
    progress: Progress = report,
    data: Path | None = None,
) -> DeployedModel:
    """Roll out the archived version, make it the champion and write `output`, a JSON file.

    If another version became the champion after the evaluation, the archived version is evaluated again,
    against that champion and on the holdout of `data`. The second report is written to the folder of
    `output`. The step is idempotent.

    Raises RolloutReverted if the version fails its rollout and the previous version was verified to answer.
    Raises TransientError if another version became the champion and there is no `data`.
    """
    verify_checksums(archived, "archive")
    model = ArchivedModel.read(archived)
    version = registry.find(model.workload, model.digest)
    if version is None:
        raise UserError(
            f"{archived} contains {model.workload} {model.digest[:12]}, which is not in the registry "
            f"{registry.uri}; run archive again, with the same --state"
        )
    with target.rollout_lock(model.workload, progress):
        champion = registry.champion(model.workload)
        if data and _champion_changed(model, version, champion):
            current = f"version {champion.version}" if champion else "no version"
            progress(f"{current} is the champion now: evaluating again")
            # Start-up time: evaluate's libraries are needed only if the champion was replaced.
            from components.deploy_serving.reevaluate import reevaluate

            result = reevaluate(model, version, data, registry, store, progress)
            model = result.archived
            write_text(output.with_name(REPORT), result.report)
            if not result.promoted:
                registry.remove_alias(model.workload, CHALLENGER, version.version)
                deployed = _write_output(output, model, champion, target, promoted=False)
                progress("rejected: " + "; ".join(model.reasons))
                return deployed
        _roll_out(model, version, archived, registry, store, target, progress)
    _record_promotion(model, target.url(model.workload), registry, store)
    deployed = _write_output(output, model, version, target, promoted=True)
    progress(f"{model.workload} version {deployed.version} is served at {deployed.endpoint}")
    return deployed


def _champion_changed(model: ArchivedModel, version: ModelVersion, champion: ModelVersion | None) -> bool:
    """Return whether another version became the champion since the evaluation of this one."""
    current = champion.version if champion else None
    return current not in (model.evaluated_champion, version.version)


def _roll_out(
    model: ArchivedModel,
    version: ModelVersion,
    archived: Path,
    registry: Registry,
    store: ObjectStore,
    target: DeploymentTarget,
    progress: Progress,
) -> None:
    def make_champion() -> None:
        registry.promote(version, model.evaluated_champion, "; ".join(model.reasons), model.run)

    with system_folder("deploy") as folder:
        archive = store.fetch(model.key, folder)
        if digest_file(archive) != model.digest:
            archive = _repair(model, archived, store, progress)
        roll_out(target, model.workload, archive, model.digest, make_champion, progress)
    mirror_aliases(registry, store, model.workload, model.run)


def _repair(model: ArchivedModel, archived: Path, store: ObjectStore, progress: Progress) -> Path:
    """Replace the damaged archive in the store by the step's input, and return its path.

    Raises ArtifactError if the input does not contain the archive.
    """
    for path in archived.glob("*.mar"):
        if digest_file(path) == model.digest:
            put_archive(store, model.key, path, model.digest, progress)
            return path
    raise ArtifactError(
        f"the archive {model.key} in the object store is damaged: its sha256 differs from its name; "
        "run the archive step again, which replaces it"
    )


def _write_output(
    output: Path,
    model: ArchivedModel,
    served: ModelVersion | None,
    target: DeploymentTarget,
    *,
    promoted: bool,
) -> DeployedModel:
    """Write the output file for the version that is served."""
    version, digest = (served.version, served.digest) if served else ("", "")
    deployed = DeployedModel(model.workload, version, digest, target.url(model.workload), promoted)
    write_text(output, to_json(deployed.to_json()))
    return deployed


def _record_promotion(model: ArchivedModel, endpoint: str, registry: Registry, store: ObjectStore) -> None:
    """Write the promotion to the run history and to the MLflow run."""
    record = RunRecord(
        run=model.run,
        verdict="promoted",
        reasons=model.reasons,
        metrics=model.metrics,
        champion=RecordedVersion(model.evaluated_champion) if model.evaluated_champion else None,
        registry=model.registry,
        input_digest=model.input_digest,
        version=model.version,
        digest=model.digest,
        endpoint=endpoint,
        accepted=model.accepted,
        difference=model.difference,
    )
    history = RunHistory(store, model.workload)
    history.write_run(record)
    history.record_processed(model.input_digest, ProcessedInputs(record))
    tags = {"served_version": model.version, "endpoint": endpoint}
    registry.log(registry.run(model.workload, model.run), tags=tags)
