"""The active runs of a recurring run, which its deletion would kill."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.resources import SCHEDULED_WORKFLOW, WORKFLOW
from continuous_training.core.errors import PipelineError
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.api_objects import RecurringRun, Run
from continuous_training.kubeflow.object_names import KUBEFLOW_NAMESPACE, RUN_ID_LABEL
from continuous_training.kubeflow.preflight.cluster_preflight import RETRY_BUDGET


def active_runs(client: KubeflowClient, recurring_run: RecurringRun, kubeconfig: str = "") -> list[Run]:
    """Return the runs of a recurring run that have not ended.

    The API never reports the end of a run whose Workflow was deleted. Such a run counts as ended if
    `kubeconfig` ("" for the default) is for the cluster of the server and permits to list Workflows.
    """
    runs = [
        run
        for run in client.runs(recurring_run.spec.experiment_id)
        if run.recurring_run_id == recurring_run.recurring_run_id and not run.has_ended
    ]
    if not runs:
        return runs
    try:
        run_ids = _runs_with_workflow(recurring_run, client.connection.namespace, kubeconfig)
    except PipelineError:
        return runs
    return runs if run_ids is None else [run for run in runs if run.run_id in run_ids]


def _runs_with_workflow(recurring_run: RecurringRun, namespace: str, kubeconfig: str) -> set[str] | None:
    """Return the ids of the runs that have a Workflow, or None if the cluster is not that of the server."""
    # Start-up time: the import loads the Kubernetes client, which most commands do not need.
    from continuous_training.adapters.kubernetes.connection import connect

    cluster = connect(namespace or KUBEFLOW_NAMESPACE, kubeconfig)
    cluster.transport.retry_budget = RETRY_BUDGET
    # The id of a recurring run is the UID of its object in the cluster.
    uids = {row["metadata"]["uid"] for row in cluster.find(SCHEDULED_WORKFLOW)}
    if recurring_run.recurring_run_id not in uids:
        return None
    return {row["metadata"]["labels"][RUN_ID_LABEL] for row in cluster.find(WORKFLOW, RUN_ID_LABEL)}
