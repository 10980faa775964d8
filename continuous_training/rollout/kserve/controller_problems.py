"""Why KServe's controller does not apply an InferenceService to its Deployment."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.rollout.kubernetes import pod_problems
from continuous_training.rollout.kubernetes.pod_problems import PodProblem
from continuous_training.rollout.kubernetes.serving_objects import Manifest
from continuous_training.rollout.kubernetes.warning_events import EventFilter, find_warnings

CONTROLLER_GRACE = 30.0
"""Seconds. A controller that runs processes an InferenceService within a few seconds."""

FIND_CONTROLLER = "kubectl get pods -A -l control-plane=kserve-controller-manager"


def find_controller_problem(cluster: Cluster, service: Manifest, since: str) -> PodProblem:
    """Return why the Deployment of an InferenceService is missing or not up to date.

    KServe reports errors, such as a Deployment that the API server rejects, as events on the
    InferenceService. `since` excludes the events of earlier rollouts.
    """
    name = service["metadata"]["name"]
    if warnings := find_warnings(cluster, EventFilter(owner=name, since=since)):
        return PodProblem(f"KServe reports {warnings[-1]}", pod_problems.CREATION_GRACE)
    return PodProblem(
        f"KServe's controller has not processed InferenceService {name}; to see whether it runs: "
        f"{FIND_CONTROLLER}",
        CONTROLLER_GRACE,
    )
