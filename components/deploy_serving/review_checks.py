"""The conditions under which a person may approve or reject a version."""

from __future__ import annotations

from datetime import UTC, datetime

from continuous_training.adapters.model_registry import Registry
from continuous_training.artifacts.approval import APPROVED, REJECTED, REPLACED
from continuous_training.core.errors import UserError
from continuous_training.core.settings import Settings
from continuous_training.operations.approvals import VersionApproval, read_approvals
from continuous_training.operations.formatting import format_time
from continuous_training.operations.workspace import next_command


def latest_approval(registry: Registry, name: str, settings: Settings, run: str) -> VersionApproval:
    """Return the approval that began last.

    Raises UserError if no version needed approval, or if it is not the version of `run` (empty: any run).
    """
    approvals = read_approvals(registry, name)
    if not approvals:
        command = next_command("pipelines.status", settings, "--workload", name)
        raise UserError(f"no version of {name} waits for approval. To see its versions:\n{command}")
    if run and approvals[-1].approval.run != run:
        raise UserError(
            f"run {run} is not the last run of {name} whose version needed approval; that is "
            f"{approvals[-1].approval.run}"
        )
    return approvals[-1]


def check_may_approve(entry: VersionApproval, user: str, settings: Settings) -> None:
    """Raise UserError unless the version waits and this person may approve it.

    A version that is the champion and still waits is the trace of an interrupted command, which continues.
    """
    if entry.approval.is_waiting and entry.is_champion:
        return
    _check_waiting(entry, settings)
    approval, version = entry.approval, entry.version
    if settings.approval_by_others:
        _check_other_person(entry, user)
    if approval.is_expired(datetime.now(UTC)):
        command = next_command("pipelines.run", settings, "--workload", version.name)
        raise UserError(
            f"version {version.version} of {version.name} waited for approval until "
            f"{format_time(approval.until)}, and can no longer be approved. Nothing was changed. To train "
            f"and evaluate on the current data:\n{command}"
        )


def _check_other_person(entry: VersionApproval, user: str) -> None:
    starter, run = entry.approval.starter, entry.approval.run
    if starter == user:
        raise UserError(
            f"{user} started run {run} and must not approve its version, because CT_APPROVAL_BY_OTHERS is "
            "true: another person has to approve it"
        )


def check_may_reject(entry: VersionApproval, settings: Settings) -> None:
    """Raise UserError unless the version waits."""
    if entry.approval.is_waiting and entry.is_champion:
        raise _not_waiting(entry, "is served already", "pipelines.rollback", settings)
    _check_waiting(entry, settings)


def _check_waiting(entry: VersionApproval, settings: Settings) -> None:
    if entry.is_waiting:
        return
    approval = entry.approval
    if approval.state == APPROVED:
        state = "is served" if entry.is_champion else "is no longer the champion"
        problem = f"was {approval.describe()} on {format_time(approval.decided)}, and {state}"
        command = "pipelines.rollback" if entry.is_champion else "pipelines.history"
        raise _not_waiting(entry, problem, command, settings)
    if approval.state == REJECTED:
        problem = f"was {approval.describe()} on {format_time(approval.decided)}"
        raise _not_waiting(entry, problem, "pipelines.history", settings)
    if approval.state == REPLACED:
        raise _not_waiting(entry, f"was {approval.describe()}", "pipelines.history", settings)
    raise _not_waiting(
        entry, "no longer waits, because a later run archived another version", "pipelines.status", settings
    )


def _not_waiting(entry: VersionApproval, problem: str, module: str, settings: Settings) -> UserError:
    name, number = entry.version.name, entry.version.version
    purpose = {
        "pipelines.rollback": "To go back to the version before it",
        "pipelines.history": "To see the history",
        "pipelines.status": "To see the versions",
    }[module]
    command = next_command(module, settings, "--workload", name)
    return UserError(
        f"no version of {name} waits for approval: version {number} {problem}. {purpose}:\n{command}"
    )
