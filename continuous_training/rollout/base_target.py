"""The base class of the deployment targets whose rollout this pipeline controls.

It implements what does not depend on the target: the order of a trial, golden requests, the cache of
archives, the undo of a failed trial, and recovery from an interrupted rollout. `target.py` describes how to
add a target.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import PipelineError, TransientError, UnsettledError
from continuous_training.core.progress import Progress
from continuous_training.rollout.archive_cache import ArchiveCache
from continuous_training.rollout.golden_verification import verify
from continuous_training.rollout.trial import (
    DeployedVersion,
    IncompleteRestoreError,
    InterruptedTrial,
    ResponseTimeoutError,
    Trial,
    trial_name,
)
from continuous_training.serving.errors import VersionMismatchError

CONSECUTIVE_RESPONSES, SWITCH_TIMEOUT, RESPONSE_INTERVAL = 5, 60.0, 0.2
"""The traffic counts as moved after this many consecutive responses of the version, within seconds. The
interval is the time between two attempts, in seconds."""

TrialT = TypeVar("TrialT", bound=Trial)


class BaseTarget(ABC, Generic[TrialT]):
    """Implements `DeploymentTarget` with the abstract methods of a subclass.

    The abstract methods are called only while the lock is held, except `served_digest`, `address`, `send` and
    `url`, which only read. They raise PipelineError (TransientError if a retry may help).
    """

    def __init__(self, store: ObjectStore, progress: Progress) -> None:
        self.progress = progress
        self.archives = ArchiveCache(store)

    # What a target implements.

    @abstractmethod
    def hold_lock(self, name: str, progress: Progress) -> AbstractContextManager[None]:
        """Hold the lock for rollouts of the model. The lock of a process that died must become free."""

    @abstractmethod
    def served_digest(self, name: str) -> str | None:
        """Return the archive digest of the version that has the traffic of `name`, or None."""

    @abstractmethod
    def address(self, name: str) -> str:
        """Return the address (`http://HOST`) of the endpoint `name`."""

    @abstractmethod
    def url(self, name: str) -> str:
        """Return the address to which callers send requests. It does not depend on the version."""

    @abstractmethod
    def send(self, address: str, version: DeployedVersion, request: Any) -> tuple[Any, str]:
        """Send a request for the version to an address; return the response and the responding digest."""

    @abstractmethod
    def prepare_trial(self, version: DeployedVersion) -> TrialT:
        """Read the current state and return the trial, without any change."""

    @abstractmethod
    def start_trial(self, trial: TrialT) -> None:
        """Start the version, without traffic, and wait until it answers at the trial's address."""

    @abstractmethod
    def switch(self, trial: TrialT) -> None:
        """Move all the traffic to the version, and wait until it answers at the endpoint's address."""

    @abstractmethod
    def confirm(self, name: str, digest: str) -> None:
        """End the trial and keep the version; remove the previous version."""

    @abstractmethod
    def revert(self, name: str, digest: str) -> None:
        """End the trial, restore the previous version and remove the version `digest`."""

    @abstractmethod
    def find_interrupted_trial(self, name: str) -> InterruptedTrial | None:
        """Return the trial that an interrupted rollout left behind, or None."""

    @abstractmethod
    def restore(self, name: str) -> None:
        """Restore the previous version after an interrupted trial, and wait until it answers.

        Raises IncompleteRestoreError if it does not, although it is configured again.
        """

    # What a target may override.

    def trial_address(self, name: str) -> str:
        """Return the address of the version on trial: that of the endpoint `trial_name(name)`."""
        return self.address(trial_name(name))

    def check_preconditions(self, name: str) -> None:
        """Raise UserError if the model cannot be served with these settings. Called before any change."""

    def before_switch(self, trial: TrialT) -> None:
        """Observe the version before it gets all the traffic, for example as a canary."""

    def undo_trial(self, trial: TrialT) -> None:
        """Restore the state before a trial that failed."""
        self.revert(trial.version.name, trial.version.digest)

    def verify_complete(self, name: str, digest: str) -> None:
        """Raise PipelineError unless all servers of the served version are ready and answer."""

    # The public methods of a deployment target that are the same for every target.

    @contextmanager
    def rollout_lock(self, name: str, progress: Progress) -> Iterator[None]:
        """Hold the model's lock, after recovery from an interrupted rollout.

        Raises UserError, before any change, if the model cannot be served on this target.
        """
        with self.hold_lock(name, progress):
            self.check_preconditions(name)
            self._recover(name)
            yield

    def served_golden_requests(self, name: str) -> GoldenSet:
        """Return the golden requests of the version that has the traffic of `name`."""
        return self.archives.golden_requests(DeployedVersion(name, self.served_digest(name) or ""))

    def begin_trial(self, name: str, archive: Path, digest: str) -> None:
        """Start the version, verify its golden requests and move the traffic to it.

        If it fails, the new version is removed, and the previous version has the traffic when the error is
        raised. Raises UnsettledError or TransientError if that fails too.
        """
        version = DeployedVersion(name, digest)
        self.archives.add(version, archive)
        trial = self.prepare_trial(version)
        try:
            self.start_trial(trial)
            self.verify_trial(version)
            self.before_switch(trial)
            self.switch(trial)
        except PipelineError as error:
            self._undo(trial, error)
            raise

    def predict(self, name: str, request: Any, digest: str) -> Any:
        """Send the request to the endpoint; VersionMismatchError if another version responds."""
        return self.predict_at(self.address(name), DeployedVersion(name, digest), request)

    # What the targets use.

    def served_version(self, name: str) -> DeployedVersion | None:
        """Return the version that has the traffic of `name`, or None."""
        digest = self.served_digest(name)
        return DeployedVersion(name, digest) if digest else None

    def predict_at(self, address: str, version: DeployedVersion, request: Any) -> Any:
        """Send a request to an address; VersionMismatchError unless this version responds."""
        return self.content_of(version, *self.send(address, version, request))

    @staticmethod
    def content_of(version: DeployedVersion, content: Any, digest: str) -> Any:
        """Return the content of a response; VersionMismatchError unless `digest` is that of the version."""
        if digest != version.digest:
            raise VersionMismatchError(
                f"{version.name}: version {digest[:12] or 'unknown'} responded instead of "
                f"{version.digest[:12]}"
            )
        return content

    def predict_on_trial(self, version: DeployedVersion, request: Any) -> Any:
        """Send a request to the version on trial."""
        return self.predict_at(self.trial_address(version.name), version, request)

    def verify_trial(self, version: DeployedVersion) -> None:
        """Verify the golden requests of the version on trial; PipelineError if a response is incorrect."""
        golden = self.archives.golden_requests(version)
        verify(golden, lambda request: self.predict_on_trial(version, request), PipelineError)
        self.progress(f"golden requests: all responses of {version.deployment_name} on trial are correct")

    def wait_for_responses(self, name: str, version: DeployedVersion) -> None:
        """Wait until only this version responds at the address of `name`; a switch may take effect later.

        Raises ResponseTimeoutError if it does not respond within SWITCH_TIMEOUT.
        """
        request = self.archives.golden_requests(version).requests[0].request
        address, end, consecutive = self.address(name), time.monotonic() + SWITCH_TIMEOUT, 0
        while consecutive < CONSECUTIVE_RESPONSES:
            try:
                self.predict_at(address, version, request)
                consecutive += 1
            except (TransientError, VersionMismatchError) as error:
                consecutive = 0
                if time.monotonic() > end:
                    raise ResponseTimeoutError(
                        f"{version.deployment_name} does not respond at {address} after "
                        f"{SWITCH_TIMEOUT:g} s: {error}"
                    ) from None
                time.sleep(RESPONSE_INTERVAL)

    def _recover(self, name: str) -> None:
        interrupted = self.find_interrupted_trial(name)
        if interrupted is None:
            return
        self.progress(
            f"a rollout of {name} was interrupted with {interrupted.digest[:12]} on trial: restoring "
            f"{interrupted.previous_digest[:12] or 'nothing'}"
        )
        try:
            self.restore(name)
        except IncompleteRestoreError as error:
            # A previous version that cannot be served any more must not prevent its replacement.
            self.progress(f"the rollout continues, although {error}")

    def _undo(self, trial: TrialT, error: PipelineError) -> None:
        """Restore the state before a failed trial; the next rollout recovers from what remains."""
        try:
            self.undo_trial(trial)
        except PipelineError as undo_error:
            kind = TransientError if isinstance(undo_error, TransientError) else UnsettledError
            raise kind(f"{error}; the state before the trial could not be restored: {undo_error}") from error
