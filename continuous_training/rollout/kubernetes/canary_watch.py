"""The observation of a canary until the canary rule decides."""

from __future__ import annotations

import time
from typing import Any, Protocol

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.core.errors import PipelineError
from continuous_training.core.progress import Progress
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.rollout.archive_cache import ArchiveCache
from continuous_training.rollout.canary_analysis import (
    CanaryDecision,
    TrafficCounter,
    decide_canary,
)
from continuous_training.rollout.golden_verification import describe_failures
from continuous_training.rollout.kubernetes.readiness import pods_of
from continuous_training.rollout.kubernetes.service_client import ServiceClient
from continuous_training.rollout.kubernetes.serving_objects import Manifest, pod_labels
from continuous_training.rollout.trial import DeployedVersion

CHECKS = 12
"""The number of checks within CT_CANARY_SECONDS."""


class CanaryTarget(Protocol):
    """What the observation needs from a deployment target."""

    cluster: Cluster
    settings: ServingSettings
    client: ServiceClient
    progress: Progress
    archives: ArchiveCache

    def predict_on_trial(self, version: DeployedVersion, request: Any) -> Any:
        """Send a request to the version on trial."""

    def wait_in_canary(self, version: DeployedVersion, seconds: float) -> None:
        """Wait between two checks of the canary."""


def canary_replicas(percent: int, previous_replicas: int) -> int:
    """Return the number of canary pods whose share of all pods is closest to `percent`; at least 1."""
    return max(1, round(percent * previous_replicas / (100 - percent)))


def watch_canary(target: CanaryTarget, version: DeployedVersion, previous: DeployedVersion) -> None:
    """Return when the rule promotes the canary; raises PipelineError with the reason if it does not."""
    decision = _observe(target, version, previous)
    if not decision.promoted:
        raise PipelineError(f"the canary was reverted: {decision.reason}")
    target.progress(f"canary: promoted: {decision.reason}")


def _observe(target: CanaryTarget, version: DeployedVersion, previous: DeployedVersion) -> CanaryDecision:
    golden = target.archives.golden_requests(version)
    planned = float(target.settings.canary_seconds)
    canary_counter, previous_counter = (TrafficCounter(version.name, target.client.metrics) for _ in range(2))
    start, golden_count = time.monotonic(), 0
    restarts = {_uid(pod): _restarts(pod) for pod in pods_of(target.cluster, pod_labels(version))}
    while True:
        pods = pods_of(target.cluster, pod_labels(version))
        # The golden requests of earlier checks were answered correctly and are no traffic of callers.
        canary = canary_counter.read(pods).without_successes(golden_count)
        comparison = previous_counter.read(pods_of(target.cluster, pod_labels(previous)))
        decision = decide_canary(canary, comparison, time.monotonic() - start, planned)
        golden_count += len(golden)
        restarted = [pod for pod in pods if _restarts(pod) > restarts.get(_uid(pod), 0)]
        if restarted:
            return CanaryDecision(False, f"a container of pod {restarted[0]['metadata']['name']} restarted")
        if failures := golden.check(lambda request: target.predict_on_trial(version, request)):
            return CanaryDecision(False, describe_failures(failures))
        if decision is not None:
            return decision
        target.wait_in_canary(version, planned / CHECKS)


def _uid(pod: Manifest) -> str:
    return str(pod["metadata"]["uid"])


def _restarts(pod: Manifest) -> int:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return sum(status.get("restartCount", 0) for status in statuses)
