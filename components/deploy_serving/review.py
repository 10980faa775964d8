"""The decision of a person about a version that waits for approval: approve or reject it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from components.announcement import announce
from continuous_training.adapters.model_registry import CHALLENGER, ModelVersion
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.approval import APPROVED, REJECTED, Approval
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json
from continuous_training.core.messages import report
from continuous_training.core.settings import Settings
from continuous_training.core.temporary_files import system_folder
from continuous_training.operations.approvals import VersionApproval, write_approval
from continuous_training.operations.workspace import existing_registry, next_command, rollout_settings
from continuous_training.rollout.open_target import open_target

from .promotion import Services, champion_changed, record_result, roll_out_version
from .review_checks import check_may_approve, check_may_reject, latest_approval
from .stored_holdout import fetch_holdout, remove_holdout

UNCHANGED = "nothing to do"
"""The verdict of a repeated command."""

CheckName = Callable[[str], object]
"""Raises UserError for a name that is not a workload."""


@dataclass(frozen=True)
class Reviewer:
    """The person who decides, and the reason. `run` is the only run that is decided about; empty: any."""

    user: str
    reason: str
    run: str = ""


@dataclass(frozen=True)
class ReviewResult:
    """The result of a decision. `verdict` is that of the run, or UNCHANGED. `endpoint` serves the version."""

    workload: str
    verdict: str
    version: ModelVersion
    approval: Approval
    reasons: tuple[str, ...] = ()
    endpoint: str | None = None

    def to_json(self) -> Json:
        """Return the object that --json prints."""
        approval = self.approval
        return {
            "workload": self.workload,
            "run": approval.run,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "version": self.version.version,
            "digest": self.version.digest,
            "by": approval.user,
            "why": approval.reason,
            "when": approval.decided,
            "endpoint": self.endpoint,
        }


def approve(
    name: str, reviewer: Reviewer, settings: Settings, check_name: CheckName = lambda _: None
) -> ReviewResult:
    """Roll out the version that waits, and make it the champion.

    If the champion has changed, the version is evaluated again first, and may be rejected. Raises UserError
    if no version waits or this person must not approve it, and RolloutReverted if its golden requests fail:
    then it continues to wait. If the command is interrupted, the same command completes it.
    """
    with _open_services(name, settings, check_name) as services:
        with services.target.rollout_lock(name, services.progress):
            entry = latest_approval(services.registry, name, settings, reviewer.run)
            if entry.approval.state == APPROVED and entry.is_champion:
                return _unchanged(name, entry, services, services.target.url(name))
            check_may_approve(entry, reviewer.user, settings)
            record = _approve(name, entry, reviewer, services, settings)
        return _announced(name, entry, record, services, settings)


def reject(
    name: str, reviewer: Reviewer, settings: Settings, check_name: CheckName = lambda _: None
) -> ReviewResult:
    """Reject the version that waits. The champion is kept. Raises UserError if no version waits."""
    with _open_services(name, settings, check_name) as services:
        with services.target.rollout_lock(name, services.progress):
            entry = latest_approval(services.registry, name, settings, reviewer.run)
            if entry.approval.state == REJECTED:
                services.registry.remove_alias(name, CHALLENGER, entry.version.version)
                return _unchanged(name, entry, services)
            check_may_reject(entry, settings)
            model = _archived_model(name, entry, services, settings)
            record = _record_decision(model, entry, REJECTED, reviewer, services)
        return _announced(name, entry, record, services, settings)


@contextmanager
def _open_services(name: str, settings: Settings, check_name: CheckName) -> Iterator[Services]:
    with existing_registry(settings) as registry:
        if registry is None or not registry.versions(name):
            check_name(name)
        if registry is None:
            raise UserError(f"no version of {name} waits for approval: {settings.state} contains no registry")
        settings = rollout_settings(settings, name, report)
        store = open_store(settings.store, settings.store_access)
        status = next_command("pipelines.status", settings, "--workload", name)
        yield Services(registry, store, open_target(settings, store, report), report, status)


def _approve(
    name: str, entry: VersionApproval, reviewer: Reviewer, services: Services, settings: Settings
) -> RunRecord:
    version, model = entry.version, _archived_model(name, entry, services, settings)
    if champion_changed(model, version, services.registry.champion(name)):
        model, promoted = _evaluate_again(model, version, services, settings)
        if not promoted:
            return _record_decision(model, entry, REJECTED, reviewer, services)
        # An interrupted command continues with this evaluation.
        record_result(model, "waiting", services.registry, services.store, approval=entry.approval)
    roll_out_version(model, version, services, user=reviewer.user)
    return _record_decision(model, entry, APPROVED, reviewer, services)


def _archived_model(
    name: str, entry: VersionApproval, services: Services, settings: Settings
) -> ArchivedModel:
    """Return the model with the evaluation that the record of its run contains."""
    version, run = entry.version, entry.approval.run
    record = RunHistory(services.store, name).run(run)
    if record is None or record.registry is None or record.input_digest is None:
        command = next_command("pipelines.run", settings, "--workload", name, "--set", "force=true")
        raise UserError(
            f"version {version.version} of {name} cannot be approved or rejected: the record of run {run} is "
            f"missing or damaged in {settings.store}. To evaluate a new version:\n{command}"
        )
    described = record.approval.describe() if record.approval else ""
    return ArchivedModel(
        workload=name,
        version=version.version,
        digest=version.digest,
        key=version.archive,
        run=run,
        input_digest=record.input_digest,
        evaluated_champion=record.champion.version if record.champion else None,
        reasons=tuple(reason for reason in record.reasons if reason != described),
        metrics=record.metrics,
        registry=record.registry,
        accepted=record.accepted,
        difference=record.difference,
    )


def _evaluate_again(
    model: ArchivedModel, version: ModelVersion, services: Services, settings: Settings
) -> tuple[ArchivedModel, bool]:
    """Return the model with its evaluation against the current champion, and whether it is promoted."""
    # Start-up time: evaluate's libraries are needed only if the champion was replaced.
    from components.deploy_serving.reevaluate import reevaluate

    registry, store = services.registry, services.store
    services.progress("the champion has changed since the evaluation: evaluating again")
    with system_folder("approve") as folder:
        if not fetch_holdout(store, model.workload, model.run, folder):
            command = next_command(
                "pipelines.run", settings, "--workload", model.workload, "--set", "force=true"
            )
            raise UserError(
                f"the champion of {model.workload} has changed since version {version.version} was "
                f"evaluated, and the holdout of run {model.run} is not stored. To evaluate a new version:\n"
                f"{command}"
            )
        result = reevaluate(model, version, folder, registry, store, services.progress)
    return result.archived, result.promoted


def _record_decision(
    model: ArchivedModel, entry: VersionApproval, state: str, reviewer: Reviewer, services: Services
) -> RunRecord:
    """Record the decision: the run, then the tag of the version, which completes it."""
    registry, store = services.registry, services.store
    approval = entry.approval.decide(state, reviewer.user, reviewer.reason, datetime.now(UTC))
    if state == APPROVED:
        endpoint = services.target.url(model.workload)
        record = record_result(model, "promoted", registry, store, endpoint, approval)
    else:
        record = record_result(model, "rejected", registry, store, approval=approval)
    write_approval(registry, entry.version, approval)
    if state == REJECTED:
        registry.remove_alias(model.workload, CHALLENGER, entry.version.version)
    remove_holdout(store, model.workload, model.run)
    return record


def _unchanged(
    name: str, entry: VersionApproval, services: Services, endpoint: str | None = None
) -> ReviewResult:
    # An interrupted command may have left it.
    remove_holdout(services.store, name, entry.approval.run)
    return ReviewResult(
        name, UNCHANGED, entry.version, entry.approval, (entry.approval.describe(),), endpoint
    )


def _announced(
    name: str, entry: VersionApproval, record: RunRecord, services: Services, settings: Settings
) -> ReviewResult:
    """Announce the result after the lock is released: a webhook can take long."""
    announce(record, RunHistory(services.store, name), settings, lambda _: None)
    approval = record.approval or entry.approval
    return ReviewResult(name, record.verdict, entry.version, approval, record.reasons, record.endpoint)
