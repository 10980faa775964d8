"""A version on trial, as every deployment target describes it."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.core.errors import PipelineError, UnsettledError


@dataclass(frozen=True)
class DeployedVersion:
    """A version of a model on a target: the model's name, and the sha256 of the version's archive."""

    name: str
    digest: str

    @property
    def deployment_name(self) -> str:
        """The name of what runs this version on the target, for example of its Deployment."""
        return f"{self.name}-{self.digest[:12]}"


def trial_name(name: str) -> str:
    """Return the name of the objects of a model's version on trial."""
    return f"{name}-trial"


@dataclass(frozen=True)
class Trial:
    """The trial of a version. A target may add what it needs for the trial and for its undo.

    `previous` is the version that is served before the trial; it may be the same version.
    """

    version: DeployedVersion
    previous: DeployedVersion | None


@dataclass(frozen=True)
class InterruptedTrial:
    """A trial that neither ended nor was undone, by the digests on trial and before it (empty: none)."""

    digest: str
    previous_digest: str


class IncompleteRestoreError(UnsettledError):
    """The previous version is configured again, but its servers are not all ready, or do not answer."""


class ResponseTimeoutError(PipelineError):
    """A version does not answer at an address, or not alone, within the timeout."""
