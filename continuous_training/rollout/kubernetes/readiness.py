"""Waiting until the pods of a version are ready, or until a problem or the deadline ends the wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, POD
from continuous_training.adapters.kubernetes.watch import watch
from continuous_training.core.errors import PipelineError
from continuous_training.core.progress import Progress
from continuous_training.rollout.kubernetes.pod_creation import PodCreation
from continuous_training.rollout.kubernetes.pod_problems import (
    PodProblem,
    collect_evidence,
    find_problem,
)
from continuous_training.rollout.kubernetes.serving_objects import Manifest, pod_labels
from continuous_training.rollout.kubernetes.warning_events import EventFilter
from continuous_training.rollout.trial import DeployedVersion

WATCH_INTERVAL = 2.0

RESTORE_GRACE = 60.0
"""Seconds for which a problem of the previous version is tolerated. The servers of the failed version need
time to end, and until then their room, in a quota or on a node, is not free."""


class NotReadyError(PipelineError):
    """The pods of a version do not become ready; the message states the problem and its evidence."""


class Deadline:
    """A point in time, `seconds` after the construction.

    A wait until the deadline ends earlier if a problem lasts longer than its grace period. With
    `min_grace_period`, it lasts at least so many seconds without any progress.
    """

    def __init__(self, seconds: float, min_grace_period: float = 0.0) -> None:
        self.seconds, self._end = seconds, time.monotonic() + seconds
        self.min_grace_period = min_grace_period

    @property
    def elapsed(self) -> float:
        """The seconds since the construction."""
        return self.seconds - (self._end - time.monotonic())

    @property
    def remaining(self) -> float:
        """The seconds until the deadline; 0 after it."""
        return max(0.0, self._end - time.monotonic())


def restore_deadline(seconds: float) -> Deadline:
    """Return the deadline for the previous version to become complete."""
    return Deadline(seconds, RESTORE_GRACE)


def pods_of(cluster: Cluster, labels: dict[str, str]) -> list[Manifest]:
    """Return the pods with these labels."""
    return cluster.find(POD, label_selector(labels))


def label_selector(labels: dict[str, str]) -> str:
    """Return a label selector in the syntax of the API."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


class ReadinessMonitor:
    """Reports the status of pods that are not ready, and detects problems that last too long.

    `name` is the object that the messages name, `events` are the events that are evidence, and `pod_labels`
    the labels of the pods. Each problem is tolerated for its grace period. If `min_grace_period` is set, a
    problem is tolerated for at least so many seconds since the last change of the status. Pods that could not
    be created are retried in the meantime.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        events: EventFilter,
        pod_labels: dict[str, str],
        progress: Progress,
        min_grace_period: float = 0.0,
    ) -> None:
        self.cluster, self.name, self.events = cluster, name, events
        self.pod_labels, self.progress = pod_labels, progress
        self.min_grace_period, self._creation = min_grace_period, PodCreation(cluster)
        self._problem: PodProblem | None = None
        self._problem_start = time.monotonic()
        self._last_message = self._last_status = ""

    def observe(self, deployment: Manifest | None, status: str, problem: PodProblem | None = None) -> None:
        """Report `status` and the current problem: `problem`, or else that of the pods.

        Raises NotReadyError if the problem has lasted longer than its grace period.
        """
        if deployment and not self.events.since:
            # Events of a deleted Deployment of this name may still exist.
            created = deployment["metadata"].get("creationTimestamp") or ""
            self.events = replace(self.events, since=created)
        if deployment:
            self._creation.retry_if_failed(deployment)
        problem = problem or find_problem(deployment, pods_of(self.cluster, self.pod_labels))
        has_progress = self.min_grace_period > 0 and status != self._last_status
        if has_progress or _grace_period(problem) != _grace_period(self._problem):
            self._problem_start = time.monotonic()
        self._problem, self._last_status = problem, status
        message = f"waiting for {self.name}: {status}" + (f"; {problem.message}" if problem else "")
        if message != self._last_message:
            self._last_message = message
            self.progress(message)
        grace_period = max(_grace_period(problem), self.min_grace_period)
        if problem and time.monotonic() - self._problem_start > grace_period:
            raise self.error(status)

    def error(self, status: str, deadline: Deadline | None = None) -> NotReadyError:
        """Return the error for the last status and problem, with evidence; `deadline` if it has passed."""
        problem = self._problem
        evidence_of = problem or PodProblem(status, pod=self._first_pod())
        evidence = collect_evidence(self.cluster, self.events, evidence_of)
        limit = f" within the {deadline.seconds:g} s of CT_ROLLOUT_DEADLINE" if deadline else ""
        parts = [f"{self.name} did not become ready{limit}: {status}"]
        parts += [problem.message] if problem else []
        parts += [evidence] if evidence else []
        return NotReadyError("; ".join(parts))

    def _first_pod(self) -> str:
        pods = pods_of(self.cluster, self.pod_labels)
        return pods[0]["metadata"]["name"] if pods else ""


def _grace_period(problem: PodProblem | None) -> float:
    return problem.grace_period if problem else -1.0


def wait_until_ready(
    cluster: Cluster,
    version: DeployedVersion,
    replicas: int,
    deadline: Deadline,
    progress: Progress,
    check_lease: Callable[[], None],
) -> None:
    """Wait until `replicas` pods of the version, all with the current template, are ready.

    `check_lease` raises an error if another rollout has taken over. Raises NotReadyError at the deadline, or
    when a problem has lasted longer than its grace period.
    """
    name = version.deployment_name
    events, labels, grace_period = EventFilter(name), pod_labels(version), deadline.min_grace_period
    monitor, status = ReadinessMonitor(cluster, name, events, labels, progress, grace_period), ""
    selector = label_selector(pod_labels(version))
    for deployments in watch(cluster, DEPLOYMENT, selector, deadline.remaining, WATCH_INTERVAL):
        check_lease()
        deployment = deployments[0] if deployments else None
        if deployment and _is_rolled_out(deployment, replicas):
            return
        ready = (deployment or {}).get("status", {}).get("readyReplicas", 0)
        status = f"{ready} of {replicas} pods are ready"
        monitor.observe(deployment, status)
    raise monitor.error(status, deadline)


def _is_rolled_out(deployment: Manifest, replicas: int) -> bool:
    status, generation = deployment.get("status", {}), deployment["metadata"]["generation"]
    updated = status.get("updatedReplicas", 0)
    return bool(
        status.get("observedGeneration", 0) >= generation
        and updated >= replicas
        and status.get("replicas", 0) == updated
        and status.get("readyReplicas", 0) >= replicas
    )
