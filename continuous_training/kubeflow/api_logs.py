"""The logs of steps, through the API of Kubeflow Pipelines: neither Kubernetes nor the store is needed.

The API reads the log of a pod by its name, and returns no names of pods. They are derived from the nodes of
the run's Workflow: Argo names a pod WORKFLOW-TEMPLATE-NUMBER, and its node WORKFLOW-NUMBER.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import requests

from continuous_training.core.errors import PipelineError
from continuous_training.core.json_object import Json
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.object_names import KUBEFLOW_NAMESPACE

_TIMEOUT = (5, 60)


def read_api_log(client: KubeflowClient, run_id: str, step: str) -> tuple[str, list[str]]:
    """Return the name of the pod of a step's last attempt, and the lines of its log.

    Both are empty if the API does not provide them, for example because the pods were deleted.
    """
    try:
        run = _get(client, f"apis/v1beta1/runs/{run_id}").json()
        workflow = json.loads(run["pipeline_runtime"]["workflow_manifest"])
        pods = step_pods(workflow, step)
        return (pods[-1], _read_log(client, run_id, pods[-1])) if pods else ("", [])
    except (PipelineError, requests.RequestException, ValueError, KeyError, TypeError):
        return "", []


def step_pods(workflow: Json, step: str) -> list[str]:
    """Return the names of the pods in which a step was executed, in the order of their start."""
    nodes = [node for node in _nodes(workflow) if node["type"] == "Pod" and _is_execution(node, step)]
    nodes.sort(key=lambda node: str(node.get("startedAt")))
    name = workflow["metadata"]["name"]
    return [f"{name}-{node['templateName']}-{node['id'].rpartition('-')[2]}" for node in nodes]


def _nodes(workflow: Json) -> Iterator[Json]:
    yield from (workflow["status"].get("nodes") or {}).values()


def _is_execution(node: Json, step: str) -> bool:
    """Return whether a node executes the step. The path of its name contains the task of the step."""
    path = [part.partition("(")[0] for part in node["name"].split(".")]
    return step in path and not node["templateName"].endswith("-driver")


def _read_log(client: KubeflowClient, run_id: str, pod: str) -> list[str]:
    response = _get(client, f"apis/v1alpha1/runs/{run_id}/nodes/{pod}/log")
    if not response.ok:
        # The server of the web UI has another address for logs.
        namespace = client.connection.namespace or KUBEFLOW_NAMESPACE
        query = {"podname": pod, "runid": run_id, "podnamespace": namespace}
        response = _get(client, "k8s/pod/logs", query)
    response.raise_for_status()
    response.encoding = "utf-8"
    return list(response.text.splitlines())


def _get(client: KubeflowClient, path: str, query: dict[str, str] | None = None) -> requests.Response:
    connection = client.connection
    return client.session.get(
        f"{connection.host}/{path}",
        params=query,
        headers=connection.headers(),
        timeout=_TIMEOUT,
        allow_redirects=False,
    )
