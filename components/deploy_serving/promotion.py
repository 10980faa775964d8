"""The rollout of an archived version, and the records of its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.adapters.stored_archive import put_archive
from continuous_training.artifacts.approval import Approval
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.run_record import ProcessedInputs, RecordedVersion, RunRecord
from continuous_training.core.digest import digest_file
from continuous_training.core.progress import Progress
from continuous_training.core.temporary_files import system_folder
from continuous_training.rollout.alias_mirror import mirror_aliases
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.target_interface import DeploymentTarget


@dataclass(frozen=True)
class Services:
    """The registry, the object store and the deployment target of a rollout, and the receiver of messages.

    `status_command` shows a person how to correct an endpoint that does not serve the champion.
    """

    registry: Registry
    store: ObjectStore
    target: DeploymentTarget
    progress: Progress
    status_command: str = ""


def champion_changed(model: ArchivedModel, version: ModelVersion, champion: ModelVersion | None) -> bool:
    """Return whether another version became the champion since the evaluation of this one."""
    current = champion.version if champion else None
    return current not in (model.evaluated_champion, version.version)


def roll_out_version(
    model: ArchivedModel,
    version: ModelVersion,
    services: Services,
    archived: Path | None = None,
    user: str = "",
) -> None:
    """Serve the version and make it the champion. The rollout lock is held.

    `archived` is the output of the archive step, from which a damaged archive in the store is repaired.
    `user` is the person who approved the version, if any.
    """
    registry, store = services.registry, services.store

    def make_champion() -> None:
        registry.promote(version, model.evaluated_champion, "; ".join(model.reasons), model.run, user)

    with system_folder("deploy") as folder:
        archive = store.fetch(model.key, folder)
        if digest_file(archive) != model.digest:
            archive = _repair(model, archived, store, services.progress)
        roll_out(
            services.target,
            model.workload,
            archive,
            model.digest,
            make_champion,
            services.progress,
            services.status_command,
        )
    mirror_aliases(registry, store, model.workload, model.run)


def _repair(model: ArchivedModel, archived: Path | None, store: ObjectStore, progress: Progress) -> Path:
    """Replace the damaged archive in the store by the step's input, and return its path.

    Raises ArtifactError if the input does not contain the archive.
    """
    for path in archived.glob("*.mar") if archived else ():
        if digest_file(path) == model.digest:
            put_archive(store, model.key, path, model.digest, progress)
            return path
    raise ArtifactError(
        f"the archive {model.key} in the object store is damaged: its sha256 differs from its name; "
        "run the archive step again, which replaces it"
    )


def record_result(
    model: ArchivedModel,
    verdict: str,
    registry: Registry,
    store: ObjectStore,
    endpoint: str = "",
    approval: Approval | None = None,
) -> RunRecord:
    """Write the result of the version's run to the run history and to the MLflow run.

    `endpoint` is the address that serves the version, empty if it is not served.
    """
    record = RunRecord(
        run=model.run,
        verdict=verdict,
        reasons=(approval.describe(), *model.reasons) if approval else model.reasons,
        metrics=model.metrics,
        champion=RecordedVersion(model.evaluated_champion) if model.evaluated_champion else None,
        registry=model.registry,
        input_digest=model.input_digest,
        version=model.version,
        digest=model.digest,
        endpoint=endpoint or None,
        accepted=model.accepted,
        difference=model.difference,
        approval=approval,
    )
    history = RunHistory(store, model.workload)
    history.write_run(record)
    history.record_processed(model.input_digest, ProcessedInputs(record))
    tags = {"served_version": model.version, "endpoint": endpoint} if endpoint else {}
    if approval:
        tags["verdict"] = verdict
    registry.log(registry.run(model.workload, model.run), tags=tags)
    return record
