"""What a place that serves models must be able to do, so that a rollout is the same everywhere."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.progress import Progress


class DeploymentTarget(Protocol):
    """One endpoint. A version on trial takes traffic, and the former one is kept ready behind it."""

    def rollout_lock(self, name: str, progress: Progress) -> AbstractContextManager[None]:
        """Hold the endpoint of `name` for one rollout: those of other processes wait, and say so.

        Whoever dies lets go, at once or when it has not been heard of for a while. Within it, what `served`
        and the registry's champion say stays so. Raises TransientError when another rollout holds it for
        too long.
        """

    def served_digest(self, name: str) -> str | None:
        """Return the digest of the version that answers for `name`, or None when none does."""

    def served_golden_requests(self, name: str) -> GoldenSet:
        """Return the golden requests and answers of the version that answers now."""

    def begin_trial(self, name: str, archive: Path, digest: str) -> None:
        """Load the archive and switch to it, on trial; raises, with all as it was, when it is refused.

        The version has answered its golden requests right before it has any traffic. A trial that is neither
        confirmed nor withdrawn ends with the former version: by itself, or by the hand of the next rollout.
        """

    def predict(self, name: str, request: Any, digest: str) -> Any:
        """Ask the endpoint the way its callers do; raises when another version than `digest` answers."""

    def confirm(self, name: str, digest: str) -> None:
        """Keep the version on trial; the former one goes."""

    def revert(self, name: str, digest: str) -> None:
        """Put the former version back."""

    def url(self, name: str) -> str:
        """Return the address that callers use; it is the same for every version."""
