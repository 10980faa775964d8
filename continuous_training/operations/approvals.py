"""The approvals of a workload's versions in the registry: a tag of each version that needs approval."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, ModelVersion, Registry
from continuous_training.artifacts.approval import Approval
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.core.json_object import JsonObject

APPROVAL_TAG = "approval"
"""The tag with the approval of a version."""


@dataclass(frozen=True)
class VersionApproval:
    """A version with its approval.

    `is_replaced` is True if the alias `challenger` names another version. An interrupted approval may have
    removed the alias from this one.
    """

    version: ModelVersion
    approval: Approval
    is_replaced: bool
    is_champion: bool

    @property
    def is_waiting(self) -> bool:
        """Whether the version waits, and no later version has replaced it."""
        return self.approval.is_waiting and not self.is_replaced


def read_approval(version: ModelVersion) -> Approval | None:
    """Return the approval of a version, or None if it needed none.

    Raises ArtifactError if a person damaged the tag.
    """
    if APPROVAL_TAG not in version.tags:
        return None
    location = f"tag {APPROVAL_TAG} of version {version.version} of {version.name}"
    return Approval.from_json(JsonObject.parse(version.tags[APPROVAL_TAG], location, ArtifactError))


def read_approvals(registry: Registry, name: str) -> list[VersionApproval]:
    """Return the approvals of a workload's versions, the latest last."""
    return approvals_of(registry.versions(name), registry.aliases(name))


def approvals_of(versions: Iterable[ModelVersion], aliases: Mapping[str, str]) -> list[VersionApproval]:
    """Return the approvals of the versions, the latest last. `aliases` are the versions of the aliases."""
    approvals = [
        VersionApproval(
            version,
            approval,
            is_replaced=aliases.get(CHALLENGER, version.version) != version.version,
            is_champion=version.version == aliases.get(CHAMPION),
        )
        for version in versions
        if (approval := read_approval(version))
    ]
    return sorted(approvals, key=lambda entry: entry.approval.since)


def write_approval(registry: Registry, version: ModelVersion, approval: Approval) -> None:
    """Write the approval of a version. It replaces an earlier one."""
    registry.tag(version, APPROVAL_TAG, json.dumps(approval.to_json(), ensure_ascii=False))
