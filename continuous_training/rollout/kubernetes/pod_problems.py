"""Why the pods of a version do not become ready, from the status of the Deployment and of the pods.

| problem | grace period before the rollout fails |
|---|---|
| the image or the container cannot be created (ErrImagePull, CreateContainerConfigError, ...) | 30 s |
| the container ends repeatedly | 15 s, which includes its third start |
| pods cannot be created (quota, policy, webhook, missing service account) | 15 s |
| pods cannot be created because a webhook does not answer | 60 s: its server may be restarting |
| no node has enough resources | until the deadline: a cluster autoscaler may add a node |
| the pod runs but is not ready | until the deadline |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.core.errors import PipelineError
from continuous_training.rollout.kubernetes.serving_objects import Manifest
from continuous_training.rollout.kubernetes.warning_events import EventFilter, find_warnings

IMAGE_GRACE, CRASH_GRACE, CREATION_GRACE, NO_LIMIT = 30.0, 15.0, 15.0, float("inf")
WEBHOOK_GRACE = 60.0
LOG_LINES, MAX_LINE = 10, 300

_STARTING = {"ContainerCreating", "PodInitializing", ""}
_CRASHING = {"CrashLoopBackOff", "RunContainerError", "Error"}
_WEBHOOK_FAILURE = "failed calling webhook"
"""The text of the API server for a webhook that does not answer. A webhook that rejects a pod is "denied"."""


@dataclass(frozen=True)
class PodProblem:
    """A reason why pods are not ready.

    `grace_period` is in seconds. `pod` and `container` name the log that may contain the cause; empty if
    there is none.
    """

    message: str
    grace_period: float = NO_LIMIT
    pod: str = ""
    container: str = ""


def find_problem(deployment: Manifest | None, pods: Iterable[Manifest]) -> PodProblem | None:
    """Return the current problem with the shortest grace period, or None."""
    problems = [problem for pod in pods for problem in _pod_problems(pod)]
    if (failure := creation_failure(deployment)) is not None:
        grace_period = WEBHOOK_GRACE if _WEBHOOK_FAILURE in failure else CREATION_GRACE
        problems.append(PodProblem(f"pods cannot be created: {failure}", grace_period))
    return min(problems, key=lambda problem: problem.grace_period, default=None)


def creation_failure(deployment: Manifest | None) -> str | None:
    """Return why pods of a Deployment could not be created, None without such a failure.

    Kubernetes keeps the message of the first failure while further attempts fail, and the failure itself
    until the next attempt. So the cause may be another one now, or may have ended.
    """
    failure = _condition(deployment or {}, "ReplicaFailure")
    return str(failure.get("message", "")) if failure and failure["status"] == "True" else None


def _pod_problems(pod: Manifest) -> Iterator[PodProblem]:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return
    scheduled = _condition(pod, "PodScheduled")
    if scheduled and scheduled["status"] == "False":
        yield PodProblem(f"pod {name} cannot be scheduled: {scheduled.get('message', '')}")
    if status.get("phase") == "Failed":
        reason = status.get("message") or status.get("reason") or "unknown reason"
        yield PodProblem(f"pod {name} failed: {reason}", CRASH_GRACE, name)
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        if problem := _container_problem(name, container):
            yield problem


def _container_problem(pod: str, container: Manifest) -> PodProblem | None:
    waiting = container.get("state", {}).get("waiting") or {}
    reason, name = waiting.get("reason", ""), container["name"]
    ended = container.get("lastState", {}).get("terminated") or container.get("state", {}).get("terminated")
    if reason in _CRASHING or (ended and ended.get("exitCode") and not container.get("ready")):
        cause = waiting.get("message", reason)
        if ended:
            cause = f"{ended['reason']}, exit code {ended['exitCode']}"
        restarts = container.get("restartCount", 0)
        # In CrashLoopBackOff the container waits for its next start, otherwise it has ended again by now.
        ends = restarts + (reason != "CrashLoopBackOff")
        event = f"ended {ends} times" if ends > 1 else "ended"
        message = f"container {name} of pod {pod} {event} ({cause})"
        # A single failure may be due to a store that was unavailable for a moment.
        return PodProblem(message, CRASH_GRACE if restarts else NO_LIMIT, pod, name)
    if reason not in _STARTING:
        message = f"pod {pod} cannot start: {reason}: {waiting.get('message', '')}"
        return PodProblem(message, IMAGE_GRACE, pod, name)
    return None


def _condition(manifest: Manifest, kind: str) -> Manifest | None:
    conditions = manifest.get("status", {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == kind), None)


def collect_evidence(cluster: Cluster, event_filter: EventFilter, problem: PodProblem | None) -> str:
    """Return the last log lines of the problem's pod and the last warning events of a version.

    An error while reading them becomes part of the result, because it must not hide the problem itself.
    """
    parts = []
    try:
        if problem and problem.pod:
            lines = cluster.logs(problem.pod, problem.container, LOG_LINES) or cluster.logs(
                problem.pod, problem.container, LOG_LINES, previous=True
            )
            if lines:
                parts.append(f"last log lines: {' | '.join(map(_truncate, lines))}")
        if warnings := find_warnings(cluster, event_filter):
            parts.append(f"last events: {' | '.join(map(_truncate, warnings))}")
    except PipelineError as error:
        parts.append(f"logs or events could not be read: {error}")
    return "; ".join(parts)


def _truncate(text: str) -> str:
    return text if len(text) <= MAX_LINE else f"{text[: MAX_LINE - 3]}..."
