"""Why a run makes no progress.

A pod does not start (no node has room, the image cannot be pulled, a Secret is missing), or the Workflow of
the run was deleted.
"""

from __future__ import annotations

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.resources import POD, WORKFLOW
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


def find_delays(cluster: Cluster, run_id: str) -> dict[str, str]:
    """Return why the run makes no progress, by step."""
    reasons = find_pending_pods(cluster, run_id)
    if not reasons and not cluster.find(WORKFLOW, f"{RUN_ID_LABEL}={run_id}"):
        # Kubeflow Pipelines creates the Workflow before it returns the id of the run.
        reasons[DRIVER] = (
            f"namespace {cluster.namespace} has no Workflow of this run. If KUBECONFIG names the cluster of "
            "Kubeflow Pipelines, the Workflow was deleted: the run stays RUNNING for ever. Start another one"
        )
    return reasons
