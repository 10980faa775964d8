"""In which of its two modes KServe runs an InferenceService, or would run a new one.

KServe goes by the status, then by the annotation, then by its own ConfigMap; so does this. The words are
those that this KServe uses: before 0.16 the modes were called RawDeployment and Serverless.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import CONFIG_MAP

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
CONFIGURATION, NAMESPACES = "inferenceservice-config", ("kserve", "kubeflow")
"""KServe's ConfigMap, and where it is: with KServe alone, and with Kubeflow."""

STANDARD, SERVERLESS = ("Standard", "RawDeployment"), ("Knative", "Serverless")


def is_standard(mode: str) -> bool:
    """Tell whether a Deployment runs the pods, and not Knative."""
    return mode in STANDARD


def find_mode(cluster: Cluster, service: Object | None) -> str:
    """Return the mode of an InferenceService, or of one that is not there yet.

    Where nothing tells, because this account may not read KServe's ConfigMap, it is Standard: that one
    needs nothing beside KServe, and what is written into an InferenceService holds.
    """
    return mode_of(service) or _default(cluster) or STANDARD[0]


def mode_of(service: Object | None) -> str | None:
    """Return the mode that an InferenceService's status or else its annotation tells."""
    found = service or {}
    told = (
        (found.get("status") or {}).get("deploymentMode"),
        (found.get("metadata", {}).get("annotations") or {}).get(MODE_ANNOTATION),
    )
    return next((mode for mode in told if mode in (*STANDARD, *SERVERLESS)), None)


def default_of(configuration: Mapping[str, Any]) -> str | None:
    """Return the mode that the data of KServe's ConfigMap sets for all; None when it sets none."""
    try:
        mode = json.loads(configuration.get("deploy", "{}")).get("defaultDeploymentMode")
    except (ValueError, AttributeError):
        return None
    return mode if mode in (*STANDARD, *SERVERLESS) else None


def _default(cluster: Cluster) -> str | None:
    for namespace in NAMESPACES:
        try:
            found = Cluster(
                cluster.transport.api, namespace, cluster.in_pod, patience=cluster.transport.patience
            ).get(CONFIG_MAP, CONFIGURATION)
        except ForbiddenError:
            continue
        if found is not None:
            return default_of(found.get("data") or {})
    return None
