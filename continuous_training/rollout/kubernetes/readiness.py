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
from continuous_training.rollout.kubernetes.pod_problems import (
    PodProblem,
    collect_evidence,
    find_problem,
)
from continuous_training.rollout.kubernetes.serving_objects import Manifest, pod_labels
from continuous_training.rollout.kubernetes.warning_events import EventFilter
from continuous_training.rollout.trial import DeployedVersion

WATCH_INTERVAL = 2.0


class NotReadyError(PipelineError):
    """The pods of a version do not become ready; the message states the problem and its evidence."""


class Deadline:
    """A point in time, `seconds` after the construction."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._end = seconds, time.monotonic() + seconds

    @property
    def elapsed(self) -> float:
        """The seconds since the construction."""
        return self.seconds - (self._end - time.monotonic())

    @property
    def remaining(self) -> float:
        """The seconds until the deadline; 0 after it."""
        return max(0.0, self._end - time.monotonic())


def pods_of(cluster: Cluster, labels: dict[str, str]) -> list[Manifest]:
    """Return the pods with these labels."""
    return cluster.find(POD, label_selector(labels))


def label_selector(labels: dict[str, str]) -> str:
    """Return a label selector in the syntax of the API."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


class ReadinessMonitor:
    """Reports the status of pods that are not ready, and detects problems that last too long.

    `name` is the object that the messages name, `events` are the events that are evidence, and `pod_labels`
    the labels of the pods.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        events: EventFilter,
        pod_labels: dict[str, str],
        progress: Progress,
    ) -> None:
        self.cluster, self.name, self.events = cluster, name, events
        self.pod_labels, self.progress = pod_labels, progress
        self._problem: PodProblem | None = None
        self._problem_start = time.monotonic()
        self._last_message = ""

    def observe(self, deployment: Manifest | None, status: str, problem: PodProblem | None = None) -> None:
        """Report `status` and the current problem: `problem`, or else that of the pods.

        Raises NotReadyError if the problem has lasted longer than its grace period.
        """
        if deployment and not self.events.since:
            # Events of a deleted Deployment of this name may still exist.
            created = deployment["metadata"].get("creationTimestamp") or ""
            self.events = replace(self.events, since=created)
        problem = problem or find_problem(deployment, pods_of(self.cluster, self.pod_labels))
        if _grace_period(problem) != _grace_period(self._problem):
            self._problem_start = time.monotonic()
        self._problem = problem
        message = f"waiting for {self.name}: {status}" + (f"; {problem.message}" if problem else "")
        if message != self._last_message:
            self._last_message = message
            self.progress(message)
        if problem and time.monotonic() - self._problem_start > problem.grace_period:
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
    monitor, status = ReadinessMonitor(cluster, name, EventFilter(name), pod_labels(version), progress), ""
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
