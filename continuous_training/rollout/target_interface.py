"""The interface that a deployment target implements.

A deployment target is an environment that serves models: the model server of this machine (`local.py`), plain
Kubernetes (`kubernetes/`) or KServe (`kserve/`).

The life cycle of a version is:

    served_digest                   the version that is served before
    begin_trial                     load the new version, verify its golden requests, move the traffic to it
    predict                         verify the golden requests again, through the endpoint
    (the registry's alias moves)
    confirm  or  revert             end the trial with the new or with the previous version

What a new target implements
    `base_target.BaseTarget` implements this protocol. A target derives from it and implements only what
    differs: the lock (`hold_lock`), how a version starts (`prepare_trial`, `start_trial`), how the traffic
    moves (`switch`, `revert`, `restore`), what is observed (`served_digest`, `find_interrupted_trial`), how a
    request is sent (`address`, `url`, `send`), and what is deleted (`confirm`, `revert`). It may override
    `check_preconditions`, `before_switch`, `undo_trial` and `verify_complete`. A target on a Kubernetes
    cluster derives from `kubernetes.cluster_target.ClusterTarget`, which adds the Lease, the canary and
    requests to Services. A target whose server controls the trial itself, as `local` does, implements the
    protocol directly.

What the engine and BaseTarget guarantee
    - The caller of the engine holds the lock, and an earlier interrupted trial was restored under it.
    - `switch` is called only after the version answered all golden requests on trial correctly.
    - The registry's alias moves only after the golden requests through the endpoint were answered correctly,
      and `confirm` is called only after the alias has moved.
    - After a PipelineError of `start_trial`, `before_switch` or `switch`, `undo_trial` is called. After a
      later error or an interruption, `revert` is called, unless the version was served before too.

What a target guarantees
    - It stores, outside of this process and before the traffic moves, which version is confirmed, so that
      `find_interrupted_trial` and `restore` work in a later process.
    - The state before the trial can be restored until `confirm`.
    - The golden requests reach the version on trial at `trial_address(name)`, by default the address of the
      endpoint `trial_name(name)`.
    - `revert` and `restore` may be called again after they failed or were interrupted. They raise a
      PipelineError if the previous version is not complete, and keep what the next call needs.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.progress import Progress


class DeploymentTarget(Protocol):
    """An environment that serves models, each under its own name.

    While a version is on trial it receives the traffic, and the previous version stays ready to take it back.
    """

    def rollout_lock(self, name: str, progress: Progress) -> AbstractContextManager[None]:
        """Hold the lock for rollouts of the model `name`, after recovery from an interrupted rollout.

        Other processes wait for the lock and report that they wait. The lock of a process that died becomes
        free, at once or after a period without renewal. While the lock is held, only its holder changes what
        `served_digest` returns and which version is the registry's champion.

        Raises TransientError if another rollout holds the lock for too long.
        """

    def served_digest(self, name: str) -> str | None:
        """Return the archive digest of the version that is served under `name`, or None."""

    def served_golden_requests(self, name: str) -> GoldenSet:
        """Return the golden requests of the version that is served under `name`."""

    def begin_trial(self, name: str, archive: Path, digest: str) -> None:
        """Load the archive, verify its golden requests and move the traffic of `name` to it, on trial.

        The version receives traffic only after it has answered its golden requests correctly. A trial that
        is neither confirmed nor reverted ends with the previous version: through a timeout in the target, or
        through recovery in the next `rollout_lock`.

        Raises PipelineError if the version is not ready or answers incorrectly. The previous version then has
        the traffic, as before. Raises UnsettledError or TransientError if it could not be restored.
        """

    def predict(self, name: str, request: Any, digest: str) -> Any:
        """Send a request through the public endpoint and return the decoded response.

        Raises VersionMismatchError if another version than `digest` responds, and another PipelineError if
        the request fails.
        """

    def confirm(self, name: str, digest: str) -> None:
        """End the trial and keep the version; remove the previous version."""

    def revert(self, name: str, digest: str) -> None:
        """End the trial, move the traffic back to the previous version and remove the version `digest`."""

    def verify_complete(self, name: str, digest: str) -> None:
        """Verify that all servers of the served version are ready, and that each of them answers.

        Raises PipelineError if they are not within a deadline of the target.
        """

    def url(self, name: str) -> str:
        """Return the address of the endpoint. It does not depend on the version."""
