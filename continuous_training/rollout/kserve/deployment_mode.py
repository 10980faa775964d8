"""The deployment mode of an InferenceService: Standard (a Deployment) or Knative (serverless).

KServe uses the status, then the annotation, then its own ConfigMap, and so does this module. It returns the
names that the installed KServe uses: before version 0.16 the modes were named RawDeployment and Serverless.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import CONFIG_MAP
from continuous_training.rollout.kubernetes.serving_objects import Manifest

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
CONFIG_MAP_NAME = "inferenceservice-config"
CONFIG_MAP_NAMESPACES = ("kserve", "kubeflow")
"""The namespaces of KServe's ConfigMap: of KServe alone, and of Kubeflow."""

STANDARD, KNATIVE = ("Standard", "RawDeployment"), ("Knative", "Serverless")


def is_standard(mode: str) -> bool:
    """Return whether a Deployment runs the pods, and not Knative."""
    return mode in STANDARD


def find_mode(cluster: Cluster, service: Manifest | None) -> str:
    """Return the mode of an InferenceService, or of a new one if `service` is None.

    The result is Standard if the mode is not known, because this account may not read KServe's ConfigMap:
    Standard needs no other software, and the annotation of the new InferenceService then selects it.
    """
    return mode_of(service) or _default_mode(cluster) or STANDARD[0]


def mode_of(service: Manifest | None) -> str | None:
    """Return the mode in the status of an InferenceService, or else in its annotation, or None."""
    manifest = service or {}
    candidates = (
        (manifest.get("status") or {}).get("deploymentMode"),
        (manifest.get("metadata", {}).get("annotations") or {}).get(MODE_ANNOTATION),
    )
    return next((mode for mode in candidates if mode in (*STANDARD, *KNATIVE)), None)


def configured_mode(data: Mapping[str, str]) -> str | None:
    """Return the default mode in the data of KServe's ConfigMap, or None if it has none."""
    try:
        mode = json.loads(data.get("deploy", "{}")).get("defaultDeploymentMode")
    except (ValueError, AttributeError):
        return None
    return mode if mode in (*STANDARD, *KNATIVE) else None


def _default_mode(cluster: Cluster) -> str | None:
    transport = cluster.transport
    for namespace in CONFIG_MAP_NAMESPACES:
        other = Cluster(transport.api, namespace, cluster.in_pod, retry_budget=transport.retry_budget)
        try:
            config_map = other.get(CONFIG_MAP, CONFIG_MAP_NAME)
        except ForbiddenError:
            continue
        if config_map is not None:
            return configured_mode(config_map.get("data") or {})
    return None
