"""The warning events that explain why a version does not become ready."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.resources import AUTOSCALER, EVENT
from continuous_training.rollout.kubernetes.serving_objects import Manifest

MAX_EVENTS = 5

_HARMLESS = ("the object has been modified", "Istio VirtualService CRD not present")
"""Parts of warnings that KServe's controller creates in normal operation: a conflict, after which it tries
again, and the absence of Istio."""


@dataclass(frozen=True)
class EventFilter:
    """The events of one version: of its Deployment and pods, and of the object that owns the Deployment.

    An empty `deployment` matches no Deployment.

    `since` is the creation time of an object of the current rollout (RFC 3339), which excludes the events of
    earlier rollouts with the same names; empty for no limit. Events of autoscalers and harmless ones of
    KServe's controller say nothing about readiness.
    """

    deployment: str = ""
    owner: str = ""
    since: str = ""

    def matches(self, event: Manifest) -> bool:
        """Return whether an event is one of this version."""
        involved = event["involvedObject"]
        name = involved.get("name", "")
        is_of_deployment = bool(self.deployment) and name.startswith(self.deployment)
        # The times of events have a resolution of a second or better.
        is_current = _time_of(event)[:19] >= self.since[:19]
        return (
            (is_of_deployment or name == self.owner)
            and is_current
            and involved.get("kind") != AUTOSCALER.kind
            and not any(text in event.get("message", "") for text in _HARMLESS)
        )


def find_warnings(cluster: Cluster, event_filter: EventFilter) -> list[str]:
    """Return the latest warnings that match, without repeats, the oldest first."""
    events = [event for event in cluster.find(EVENT, fields="type=Warning") if event_filter.matches(event)]
    events.sort(key=_time_of)
    texts = [f"{event.get('reason', '')}: {' '.join(event.get('message', '').split())}" for event in events]
    return list(dict.fromkeys(reversed(texts)))[:MAX_EVENTS][::-1]


def _time_of(event: Manifest) -> str:
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), series.get("lastObservedTime"), event.get("eventTime"))
    return next((str(time) for time in times if time), "")
