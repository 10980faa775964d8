"""The version of a workload that waits for approval, in its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.artifacts.approval import Approval
from continuous_training.core.json_object import Json
from continuous_training.core.settings import Settings
from continuous_training.operations.approvals import approvals_of
from continuous_training.operations.workspace import next_command


@dataclass(frozen=True)
class WaitingStatus:
    """A version that waits. `command` approves it or, if it has expired, starts a new run."""

    version: str
    approval: Approval
    expired: bool
    command: str

    def to_json(self) -> Json:
        """Return the fields under their keys in --json."""
        approval = self.approval
        return {
            "version": self.version,
            "run": approval.run,
            "since": approval.since,
            "until": approval.until,
            "started_by": approval.starter or None,
            "expired": self.expired,
            "command": self.command,
        }


def waiting_status(
    name: str, versions: Iterable[ModelVersion], aliases: Mapping[str, str], settings: Settings
) -> WaitingStatus | None:
    """Return the version that waits, or None."""
    latest = next(reversed(approvals_of(versions, aliases)), None)
    if latest is None or not latest.is_waiting:
        return None
    expired = latest.approval.is_expired(datetime.now(UTC))
    module = "pipelines.run" if expired else "pipelines.approve"
    command = next_command(module, settings, "--workload", name)
    return WaitingStatus(latest.version.version, latest.approval, expired, command)
