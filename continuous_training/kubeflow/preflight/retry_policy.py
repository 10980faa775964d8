"""Preflight report of the failures that Argo retries in a run of Kubeflow Pipelines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import CONFIG_MAP
from continuous_training.kubeflow.preflight.finding import Finding, State

CONTROLLER_CONFIG_MAP = "workflow-controller-configmap"
POLICY_PATH = ("workflowDefaults", "spec", "templateDefaults", "retryStrategy", "retryPolicy")
ARGO_DEFAULT = "OnFailure"
"""The policy of Argo without any configuration. It retries a container that exits with an error."""


def check_retry_policy(cluster: Cluster) -> Iterator[Finding]:
    """Yield the retry policy of the Argo controller, if its configuration is in the cluster's namespace."""
    try:
        config_map = cluster.get(CONFIG_MAP, CONTROLLER_CONFIG_MAP)
    except ForbiddenError:
        config_map = None
    if config_map is None:
        return
    policy = _policy(config_map.get("data") or {})
    advice = ""
    if policy == "OnError":
        advice = (
            "Argo retries only pods that were deleted or evicted, and the steps retry temporary failures "
            f"themselves. To retry each failed pod, set {'.'.join(POLICY_PATH)}: Always in ConfigMap "
            f"{CONTROLLER_CONFIG_MAP}"
        )
    yield Finding(State.OK, f"retries of failed pods: Argo's retryPolicy is {policy}", advice)


def _policy(data: Mapping[str, str]) -> str:
    """Return the policy: of the key `workflowDefaults`, or of the whole configuration in the key `config`."""
    value: Any = {POLICY_PATH[0]: yaml.safe_load(data.get(POLICY_PATH[0]) or "")}
    if not value[POLICY_PATH[0]]:
        value = yaml.safe_load(data.get("config") or "")
    for key in POLICY_PATH:
        value = value.get(key) if isinstance(value, dict) else None
    return str(value or ARGO_DEFAULT)
