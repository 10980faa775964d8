"""The base class of the deployment targets on a Kubernetes cluster: the Lease, the canary, and requests."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.errors import PipelineError
from continuous_training.core.progress import Progress
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.rollout.base_target import BaseTarget, TrialT
from continuous_training.rollout.golden_verification import describe_failures
from continuous_training.rollout.kubernetes.canary_watch import watch_canary
from continuous_training.rollout.kubernetes.lease import LEASE_SECONDS, LeaseLock
from continuous_training.rollout.kubernetes.readiness import pods_of
from continuous_training.rollout.kubernetes.service_client import ServiceClient, open_service_client
from continuous_training.rollout.kubernetes.serving_objects import Manifest, check_name
from continuous_training.rollout.kubernetes.serving_runtimes import ServingRuntime
from continuous_training.rollout.trial import DeployedVersion, Trial


class ClusterTarget(BaseTarget[TrialT]):
    """A deployment target on a cluster.

    Besides the abstract methods of BaseTarget, a subclass implements `start_canary`, and may override
    `wait_in_canary` and `scale_up`. Before every change of the cluster it calls `check_lease`, or changes it
    with `apply`.
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
        super().__init__(store, progress)
        self.cluster, self.settings, self.runtime = cluster, settings, runtime
        self.client = client or open_service_client(cluster)
        self._lease: LeaseLock | None = None

    @abstractmethod
    def start_canary(self, trial: TrialT, previous: DeployedVersion) -> None:
        """Give the version a share of the traffic, CT_CANARY percent, and report the share."""

    def wait_in_canary(self, version: DeployedVersion, seconds: float) -> None:
        """Wait between two checks of the canary."""
        time.sleep(seconds)

    def scale_up(self, trial: TrialT) -> None:
        """Prepare a promoted canary for all the traffic."""

    @contextmanager
    def hold_lock(self, name: str, progress: Progress) -> Iterator[None]:
        """Hold the model's Lease."""
        check_name(name)
        self._lease = LeaseLock(self.cluster, name, self.lease_seconds)
        try:
            with self._lease.hold(progress):
                yield
        finally:
            self._lease = None

    def check_lease(self) -> None:
        """Raise TransientError if another rollout may have begun; called before every change."""
        if self._lease is not None:
            self._lease.check()

    def apply(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Apply an object while the Lease is held; return it as the API server returns it."""
        self.check_lease()
        return self.cluster.apply(resource, manifest)

    def url(self, name: str) -> str:
        """Return the address of the endpoint inside the cluster."""
        return f"{self.address(name)}{self.runtime.predict_path(name)}"

    def send(self, address: str, version: DeployedVersion, request: Any) -> tuple[Any, str]:
        """Send the request to a Service of the cluster."""
        path = self.runtime.version_path(version.name, self.archives.path(version))
        response = self.client.post(address, path, request)
        return response.json(), self.runtime.response_digest(response, version.digest)

    def verify_pods(self, version: DeployedVersion, labels: dict[str, str]) -> None:
        """Raise PipelineError unless each pod with these labels answers the version's golden requests."""
        golden = self.archives.golden_requests(version)
        for pod in pods_of(self.cluster, labels):
            if pod["metadata"].get("deletionTimestamp"):
                continue
            if failures := golden.check(partial(self._predict_on_pod, pod, version)):
                raise PipelineError(f"pod {pod['metadata']['name']}: {describe_failures(failures)}")

    def _predict_on_pod(self, pod: Manifest, version: DeployedVersion, request: Any) -> Any:
        path = self.runtime.version_path(version.name, self.archives.path(version))
        response = self.client.post_to_pod(pod, path, request)
        return self.content_of(
            version, response.json(), self.runtime.response_digest(response, version.digest)
        )

    def canary_baseline(self, trial: Trial) -> DeployedVersion | None:
        """Return the version that is compared with the canary, or None if the trial has no canary."""
        return trial.previous if self.settings.canary and trial.previous != trial.version else None

    def before_switch(self, trial: TrialT) -> None:
        """Observe the version with a share of the traffic, if CT_CANARY is set."""
        previous = self.canary_baseline(trial)
        if previous is not None:
            self.start_canary(trial, previous)
            watch_canary(self, trial.version, previous)
            self.scale_up(trial)
