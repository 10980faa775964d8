"""Why a version's pods do not come up: read from the Deployment and the pods, with what they last said.

| trouble | how long it may last before it is the verdict |
|---|---|
| the image or the container cannot be had (ErrImagePull, CreateContainerConfigError, ...) | 30 s |
| the container ends again and again | 15 s, which is its third try |
| pods may not be made (quota, policy, webhook, no such service account) | 15 s |
| no node has room | until the deadline: an autoscaler may bring one |
| it runs and is not ready | until the deadline |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import EVENT
from continuous_training.core.errors import PipelineError

IMAGE, CRASH, REFUSED, NO_LIMIT = 30.0, 15.0, 15.0, float("inf")
LOG_LINES, EVENTS, LONGEST = 10, 5, 300

_HARMLESS = {"ContainerCreating", "PodInitializing", ""}
_CRASHES = {"CrashLoopBackOff", "RunContainerError", "Error"}


@dataclass(frozen=True)
class PodProblem:
    """What keeps pods from being ready; `patience` in seconds, `pod` whose log may tell more."""

    words: str
    patience: float = NO_LIMIT
    pod: str = ""
    container: str = ""


def find(deployment: Object | None, pods: Iterable[Object]) -> PodProblem | None:
    """Return the gravest trouble that is seen now; None when all goes well so far."""
    found = [trouble for pod in pods for trouble in _of_pod(pod)]
    refused = _condition(deployment or {}, "ReplicaFailure")
    if refused and refused["status"] == "True":
        found.append(PodProblem(f"pods cannot be made: {refused.get('message', '')}", REFUSED))
    return min(found, key=lambda trouble: trouble.patience, default=None)


def _of_pod(pod: Object) -> Iterable[PodProblem]:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return
    scheduled = _condition(pod, "PodScheduled")
    if scheduled and scheduled["status"] == "False":
        yield PodProblem(f"no node takes pod {name}: {scheduled.get('message', '')}")
    if status.get("phase") == "Failed":
        words = status.get("message") or status.get("reason") or "it ended"
        yield PodProblem(f"pod {name} failed: {words}", CRASH, name)
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        trouble = _of_container(name, container)
        if trouble:
            yield trouble


def _of_container(pod: str, container: dict[str, Any]) -> PodProblem | None:
    waiting = container.get("state", {}).get("waiting") or {}
    reason, name = waiting.get("reason", ""), container["name"]
    ended = container.get("lastState", {}).get("terminated") or container.get("state", {}).get("terminated")
    if reason in _CRASHES or (ended and ended.get("exitCode") and not container.get("ready")):
        how = f"{ended['reason']}, exit code {ended['exitCode']}" if ended else waiting.get("message", reason)
        count = container.get("restartCount", 0)
        times = f"has ended {count + (reason != 'CrashLoopBackOff')} times" if count else "ended"
        words = f"the container {name} of pod {pod} {times} ({how})"
        # Once may be a store that was away for the moment.
        return PodProblem(words, CRASH if count else NO_LIMIT, pod, name)
    if reason not in _HARMLESS:
        words = f"pod {pod} cannot begin: {reason}: {waiting.get('message', '')}"
        return PodProblem(words, IMAGE, pod, name)
    return None


def _condition(thing: Object, kind: str) -> dict[str, Any] | None:
    conditions = thing.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), None)


def evidence(cluster: Cluster, deployment: str, trouble: PodProblem | None) -> str:
    """Return the last warnings of the cluster about a Deployment, and the last log lines of its pod.

    What cannot be read is left out: it must not hide what is known already.
    """
    parts = []
    try:
        if trouble and trouble.pod:
            lines = cluster.logs(trouble.pod, trouble.container, LOG_LINES) or cluster.logs(
                trouble.pod, trouble.container, LOG_LINES, previous=True
            )
            parts += [f"the last lines of its log: {' | '.join(map(_short, lines))}"] if lines else []
        warnings = _warnings(cluster, deployment)
        parts += [f"the last events: {' | '.join(map(_short, warnings))}"] if warnings else []
    except PipelineError as error:
        parts.append(f"more cannot be read: {error}")
    return "; ".join(parts)


def _warnings(cluster: Cluster, deployment: str) -> list[str]:
    """Return the newest warnings about a Deployment and what it has made, each once, oldest first."""
    about = [
        event
        for event in cluster.find(EVENT, fields="type=Warning")
        if event["involvedObject"].get("name", "").startswith(deployment)
    ]
    about.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    words = [f"{event.get('reason', '')}: {' '.join(event.get('message', '').split())}" for event in about]
    return list(dict.fromkeys(reversed(words)))[:EVENTS][::-1]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
