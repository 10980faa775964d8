"""The base class of the deployment targets on a Kubernetes cluster.

The base class implements what does not depend on how the cluster routes traffic: the Lease, recovery from an
interrupted rollout, the cache of archives, golden requests, the canary, and the undo of a failed trial. A
target derives from it and implements the abstract methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import PipelineError
from continuous_training.core.progress import Progress
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.rollout.archive_cache import ArchiveCache
from continuous_training.rollout.canary_watch import watch_canary
from continuous_training.rollout.golden_verification import describe_failures
from continuous_training.rollout.kubernetes.lease import LEASE_SECONDS, LeaseLock
from continuous_training.rollout.kubernetes.readiness import Deadline
from continuous_training.rollout.kubernetes.service_client import ServiceClient, open_service_client
from continuous_training.rollout.kubernetes.serving_objects import DeployedVersion, trial_name
from continuous_training.rollout.kubernetes.serving_runtimes import ServingRuntime
from continuous_training.serving.errors import VersionMismatchError


@dataclass(frozen=True)
class Trial:
    """The trial of a version: the version, the version that is served before, and the deadline for readiness.

    A subclass of ClusterTarget adds the manifests that it needs for the trial and for its undo.
    """

    version: DeployedVersion
    previous: DeployedVersion | None
    deadline: Deadline


@dataclass(frozen=True)
class InterruptedTrial:
    """A trial that neither ended nor was undone, by the digests on trial and before it (empty: none)."""

    digest: str
    previous_digest: str


TrialT = TypeVar("TrialT", bound=Trial)


class ClusterTarget(ABC, Generic[TrialT]):
    """A deployment target on a cluster; see `target.DeploymentTarget` for the public methods.

    A subclass implements:

    - `served_digest`, `address`: the served version, and the address of an endpoint.
    - `prepare_trial`, `start_trial`, `start_canary`, `scale_up`, `switch`: the trial, in this order.
    - `confirm`, `revert`: the end of a trial.
    - `find_interrupted_trial`, `restore`: recovery.

    It may override `check_preconditions` and `undo_trial`. Before every change of the cluster it calls
    `check_lease`.
    """

    lease_seconds = LEASE_SECONDS

    def __init__(
        self,
        cluster: Cluster,
        settings: ServingSettings,
        store: ObjectStore,
        progress: Progress,
        runtime: ServingRuntime,
        client: ServiceClient | None = None,
    ) -> None:
        self.cluster, self.settings, self.progress, self.runtime = cluster, settings, progress, runtime
        self.client = client or open_service_client(cluster)
        self.archives = ArchiveCache(store)
        self._lease: LeaseLock | None = None

    # The public methods of a deployment target.

    @contextmanager
    def rollout_lock(self, name: str, progress: Progress) -> Iterator[None]:
        """Hold the model's Lease, after recovery from an interrupted rollout.

        Raises UserError, before any change, if the model cannot be served on this cluster.
        """
        self._lease = LeaseLock(self.cluster, DeployedVersion(name, "").name, self.lease_seconds)
        try:
            with self._lease.hold(progress):
                self.check_preconditions(name)
                self._recover(name)
                yield
        finally:
            self._lease = None

    @abstractmethod
    def served_digest(self, name: str) -> str | None:
        """Return the archive digest of the version that has the traffic of `name`, or None."""

    def served_golden_requests(self, name: str) -> GoldenSet:
        """Return the golden requests of the version that has the traffic of `name`."""
        return self.archives.golden_requests(DeployedVersion(name, self.served_digest(name) or ""))

    def begin_trial(self, name: str, archive: Path, digest: str) -> None:
        """Start the version, verify its golden requests and move the traffic to it.

        If it fails, the new version is removed, and the previous version has the traffic when the error is
        raised.
        """
        version = DeployedVersion(name, digest)
        self.archives.add(version, archive)
        trial = self.prepare_trial(version, Deadline(self.settings.deadline))
        try:
            self._carry_out(trial)
        except PipelineError as error:
            self._undo(trial, error)
            raise

    def predict(self, name: str, request: Any, digest: str) -> Any:
        """Send the request to the endpoint; VersionMismatchError if another version responds."""
        return self.predict_at(self.address(name), DeployedVersion(name, digest), request)

    @abstractmethod
    def confirm(self, name: str, digest: str) -> None:
        """End the trial and keep the version."""

    @abstractmethod
    def revert(self, name: str, digest: str) -> None:
        """End the trial, restore the previous version and remove the version `digest`."""

    def url(self, name: str) -> str:
        """Return the address of the endpoint inside the cluster."""
        return f"{self.address(name)}{self.runtime.predict_path(name)}"

    # The steps that a subclass implements.

    def check_preconditions(self, name: str) -> None:
        """Raise UserError if the model cannot be served on this cluster with these settings."""

    @abstractmethod
    def address(self, name: str) -> str:
        """Return the address (`http://HOST`) of the endpoint `name`, or of its trial `trial_name(name)`."""

    @abstractmethod
    def prepare_trial(self, version: DeployedVersion, deadline: Deadline) -> TrialT:
        """Read the current state and return the trial, without any change."""

    @abstractmethod
    def start_trial(self, trial: TrialT, *, is_canary: bool) -> None:
        """Start pods of the version, without traffic, and wait until they answer at the trial's address."""

    @abstractmethod
    def start_canary(self, trial: TrialT, previous: DeployedVersion) -> None:
        """Give the version a share of the traffic, CT_CANARY percent, and report the share."""

    def scale_up(self, trial: TrialT) -> None:
        """Prepare a promoted canary for all the traffic."""

    @abstractmethod
    def switch(self, trial: TrialT) -> None:
        """Move all the traffic to the version, and wait until it answers at the endpoint's address."""

    @abstractmethod
    def find_interrupted_trial(self, name: str) -> InterruptedTrial | None:
        """Return the trial that an interrupted rollout left behind, or None."""

    @abstractmethod
    def restore(self, name: str) -> None:
        """Restore the previous version after an interrupted trial, and wait until it answers."""

    def undo_trial(self, trial: TrialT) -> None:
        """Restore the state before a trial that failed."""
        self.revert(trial.version.name, trial.version.digest)

    # What the subclasses use.

    def check_lease(self) -> None:
        """Raise TransientError if another rollout may have begun; called before every change."""
        if self._lease is not None:
            self._lease.check()

    def predict_at(self, address: str, version: DeployedVersion, request: Any) -> Any:
        """Send a request to an address; VersionMismatchError unless this version responds."""
        path = self.runtime.version_path(version.name, self.archives.path(version))
        response = self.client.post(address, path, request)
        content = response.json()
        digest = self.runtime.response_digest(response, version.digest)
        if digest != version.digest:
            raise VersionMismatchError(
                f"{version.name}: version {digest[:12] or 'unknown'} responded instead of "
                f"{version.digest[:12]}"
            )
        return content

    def find_golden_failures(self, version: DeployedVersion) -> list[str]:
        """Send the golden requests to the version on trial; describe each incorrect response."""
        address = self.address(trial_name(version.name))
        golden = self.archives.golden_requests(version)
        return golden.check(lambda request: self.predict_at(address, version, request))

    def count_golden_requests(self, version: DeployedVersion) -> int:
        """Return the number of requests that `find_golden_failures` sends."""
        return len(self.archives.golden_requests(version))

    def verify_trial(self, version: DeployedVersion) -> None:
        """Verify the golden requests of the version on trial; PipelineError if a response is incorrect."""
        if failures := self.find_golden_failures(version):
            raise PipelineError(describe_failures(failures))
        self.progress(f"golden requests: all responses of {version.deployment_name} on trial are correct")

    def _carry_out(self, trial: TrialT) -> None:
        version = trial.version
        previous = trial.previous if self.settings.canary and trial.previous != version else None
        self.start_trial(trial, is_canary=previous is not None)
        self.verify_trial(version)
        if previous is not None:
            self.start_canary(trial, previous)
            watch_canary(self, version, previous)
            self.scale_up(trial)
        self.switch(trial)

    def _recover(self, name: str) -> None:
        interrupted = self.find_interrupted_trial(name)
        if interrupted is None:
            return
        self.progress(
            f"a rollout of {name} was interrupted with {interrupted.digest[:12]} on trial: restoring "
            f"{interrupted.previous_digest[:12] or 'nothing'}"
        )
        self.restore(name)

    def _undo(self, trial: TrialT, error: PipelineError) -> None:
        """Restore the state before a failed trial; the next rollout recovers from what remains."""
        try:
            self.undo_trial(trial)
        except PipelineError as undo_error:
            raise type(error)(
                f"{error}; the state before the trial could not be restored: {undo_error}"
            ) from error
