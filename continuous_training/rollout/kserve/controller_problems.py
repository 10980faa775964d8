"""Why KServe's controller creates no pods for an InferenceService."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.rollout.kubernetes import pod_problems
from continuous_training.rollout.kubernetes.pod_problems import PodProblem
from continuous_training.rollout.kubernetes.warning_events import EventFilter, find_warnings

CONTROLLER_GRACE = 60.0
"""Seconds. A controller that runs processes an InferenceService within a few seconds. After the sudden end
of its pod, the next pod has to start and to wait until the lease of the first one expires (15 s)."""

FIND_CONTROLLER = "kubectl get pods -A -l control-plane=kserve-controller-manager"


def find_controller_problem(cluster: Cluster, name: str, since: str) -> PodProblem:
    """Return why the pods of an InferenceService are missing, or its Deployment is not up to date.

    KServe reports errors, such as a Deployment that the API server rejects or a mode that is not installed,
    as events on the InferenceService. `since` excludes the events of earlier rollouts.
    """
    if warnings := find_warnings(cluster, EventFilter(owner=name, since=since)):
        return PodProblem(f"KServe reports {warnings[-1]}", pod_problems.CREATION_GRACE)
    return PodProblem(
        f"KServe's controller has not processed InferenceService {name}; to see whether it runs: "
        f"{FIND_CONTROLLER}",
        CONTROLLER_GRACE,
    )
