"""What the pods of a followed run show: the log of a failed step, and why steps do not start."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.core.errors import PipelineError
from continuous_training.kubeflow.pending_pods import find_pending_pods
from continuous_training.kubeflow.preflight.cluster_preflight import RETRY_BUDGET
from continuous_training.kubeflow.step_logs import StepLog, failed_step_log


def read_failed_log(run_id: str, step: str, namespace: str, kubeconfig: str) -> StepLog | None:
    """Return the log of the failed step, or None if this machine cannot read it."""
    try:
        return failed_step_log(_connect(namespace, kubeconfig), run_id, step)
    except PipelineError:
        return None


def find_delays(run_id: str, namespace: str, kubeconfig: str) -> dict[str, str]:
    """Return why steps do not start, by step; empty if this machine cannot read the pods."""
    try:
        return find_pending_pods(_connect(namespace, kubeconfig), run_id)
    except PipelineError:
        return {}


def _connect(namespace: str, kubeconfig: str) -> Cluster:
    # Start-up time: the import loads the Kubernetes client, which only a failed or a delayed run needs.
    from continuous_training.adapters.kubernetes.connection import connect

    cluster = connect(namespace, kubeconfig)
    cluster.transport.retry_budget = RETRY_BUDGET
    return cluster
