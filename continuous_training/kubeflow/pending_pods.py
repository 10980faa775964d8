"""Why the pods of a run do not start: no node has room, the image cannot be pulled, a Secret is missing."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.resources import POD
from continuous_training.kubeflow.object_names import RUN_ID_LABEL, STEP_LABEL
from continuous_training.rollout.kubernetes.pod_problems import find_problem

DRIVER = "kubeflow"
"""The name for pods that belong to no step: the drivers of Kubeflow Pipelines."""


def find_pending_pods(cluster: Cluster, run_id: str) -> dict[str, str]:
    """Return the reason of each step whose pod does not start, as one line."""
    reasons = {}
    for pod in cluster.find(POD, f"{RUN_ID_LABEL}={run_id}", "status.phase=Pending"):
        problem = find_problem(None, [pod])
        if problem:
            step = pod["metadata"]["labels"].get(STEP_LABEL, DRIVER)
            reasons[step] = " ".join(problem.message.split())
    return reasons
