"""Watching a canary: its golden requests, its pods and its share of the traffic, until the rule decides."""

from __future__ import annotations

import time
from typing import Protocol

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.core.errors import PipelineError
from continuous_training.core.progress import Progress
from continuous_training.core.settings import ServingSettings
from continuous_training.rollout.canary_analysis import CanaryDecision, Traffic, TrafficCounter, decide_canary
from continuous_training.rollout.kubernetes.manifests import DeployedVersion
from continuous_training.rollout.kubernetes.readiness import pods_of
from continuous_training.rollout.kubernetes.service_client import ServiceClient

LOOKS = 12


class Canaries(Protocol):
    """A target whose versions may have a share of the traffic first."""

    cluster: Cluster
    settings: ServingSettings
    ask: ServiceClient
    progress: Progress

    def wrong_answers(self, version: DeployedVersion) -> list[str]:
        """Say in words which golden requests the version on trial answers wrongly."""

    def count_golden(self, version: DeployedVersion) -> int:
        """Return how many requests of a version's own traffic that is."""


def replicas_of_canary(percent: int, others: int) -> int:
    """Return how many servers beside `others` come nearest to that share of the traffic; at least one."""
    return max(1, round(percent * others / (100 - percent)))


def watch_canary(target: Canaries, version: DeployedVersion, former: DeployedVersion) -> None:
    """Return when the canary is promoted; PipelineError says why it was withdrawn."""
    planned = float(target.settings.canary_seconds)
    ours, theirs = (TrafficCounter(version.name, target.ask.metrics) for _ in range(2))
    began, asked = time.monotonic(), 0
    restarts = {_uid(pod): _restarts(pod) for pod in pods_of(target.cluster, version.pod_labels)}
    while True:
        pods = pods_of(target.cluster, version.pod_labels)
        seen = ours.since(pods)
        # What this watch asks itself is no live traffic.
        live = Traffic(max(0, seen.requests - asked), seen.faults)
        others = theirs.since(pods_of(target.cluster, former.pod_labels))
        verdict = decide_canary(live, others, time.monotonic() - began, planned)
        asked += target.count_golden(version)
        fallen = [pod for pod in pods if _restarts(pod) > restarts.get(_uid(pod), 0)]
        if fallen:
            verdict = CanaryDecision(
                False, f"pod {fallen[0]['metadata']['name']} has ended and was started again"
            )
        elif wrong := target.wrong_answers(version):
            verdict = CanaryDecision(False, f"golden requests are answered wrongly: {'; '.join(wrong[:3])}")
        if verdict is not None:
            break
        time.sleep(planned / LOOKS)
    if not verdict.promoted:
        raise PipelineError(f"the canary was withdrawn: {verdict.reason}")
    target.progress(f"canary: promoted: {verdict.reason}")


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])


def _restarts(pod: Object) -> int:
    return sum(one.get("restartCount", 0) for one in pod.get("status", {}).get("containerStatuses", []))
