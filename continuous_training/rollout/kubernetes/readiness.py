"""Waiting for a version's pods, with progress and a deadline, and no longer than there is hope."""

from __future__ import annotations

import time
from collections.abc import Callable

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, POD
from continuous_training.adapters.kubernetes.watch import watch
from continuous_training.core.errors import PipelineError
from continuous_training.core.progress import Progress
from continuous_training.rollout.kubernetes import pod_diagnostics
from continuous_training.rollout.kubernetes.manifests import DeployedVersion
from continuous_training.rollout.kubernetes.pod_diagnostics import PodProblem

PULSE = 2.0


class NotComingUpError(PipelineError):
    """A version's pods are not ready, and will not be; the message says what was seen."""


class Deadline:
    """The end of a rollout, so many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._end = seconds, time.monotonic() + seconds

    @property
    def left(self) -> float:
        """The seconds that are left, 0 at the least."""
        return max(0.0, self._end - time.monotonic())


def pods_of(cluster: Cluster, labels: dict[str, str]) -> list[Object]:
    """Return the pods with these labels."""
    return cluster.find(POD, label_selector(labels))


def label_selector(labels: dict[str, str]) -> str:
    """Return labels as a selector is written."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def wait_until_ready(
    cluster: Cluster,
    version: DeployedVersion,
    replicas: int,
    deadline: Deadline,
    progress: Progress,
    still_mine: Callable[[], None],
) -> None:
    """Wait until that many pods of the version, all of its present template, are ready.

    Raises NotComingUpError, with the cause, its events and its last log lines, at the deadline or when a
    trouble has lasted for too long. `still_mine` raises when the rollout is another one's by now.
    """
    told, trouble, since = "", None, time.monotonic()
    for deployments in watch(cluster, DEPLOYMENT, label_selector(version.pod_labels), deadline.left, PULSE):
        still_mine()
        deployment = deployments[0] if deployments else None
        if deployment and _complete(deployment, replicas):
            return
        seen = pod_diagnostics.find(deployment, pods_of(cluster, version.pod_labels))
        if _kind(seen) != _kind(trouble):
            since = time.monotonic()
        trouble = seen
        words = _progress(version, deployment, replicas, trouble)
        if words != told:
            told = words
            progress(words)
        if trouble and time.monotonic() - since > trouble.patience:
            break
    raise NotComingUpError(_verdict(cluster, version, trouble, deadline))


def _kind(trouble: PodProblem | None) -> float:
    return trouble.patience if trouble else -1.0


def _complete(deployment: Object, replicas: int) -> bool:
    status, generation = deployment.get("status", {}), deployment["metadata"]["generation"]
    updated = status.get("updatedReplicas", 0)
    return (
        status.get("observedGeneration", 0) >= generation
        and updated >= replicas
        and status.get("replicas", 0) == updated
        and status.get("readyReplicas", 0) >= replicas
    )


def _progress(
    version: DeployedVersion, deployment: Object | None, replicas: int, trouble: PodProblem | None
) -> str:
    ready = (deployment or {}).get("status", {}).get("readyReplicas", 0)
    words = f"waiting for {version.deployment_name}: {ready} of {replicas} ready"
    return f"{words}; {trouble.words}" if trouble else words


def _verdict(
    cluster: Cluster, version: DeployedVersion, trouble: PodProblem | None, deadline: Deadline
) -> str:
    late = "" if deadline.left else f" within the {deadline.seconds:g} s of CT_ROLLOUT_DEADLINE"
    if trouble is None:
        pods = pods_of(cluster, version.pod_labels)
        unready = next((pod["metadata"]["name"] for pod in pods), "")
        trouble = PodProblem(
            f"pod {unready} runs and is not ready" if unready else "no pod was made", pod=unready
        )
    told = pod_diagnostics.evidence(cluster, version.deployment_name, trouble)
    return f"it did not come up{late}: {trouble.words}" + (f"; {told}" if told else "")
