"""What the InferenceServices of a namespace serve."""

from __future__ import annotations

from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT
from continuous_training.operations.serving_state import ClusterServing
from continuous_training.rollout.kserve.deployment_mode import is_standard, mode_of
from continuous_training.rollout.kserve.inference_service import (
    INFERENCE_SERVICE,
    MANAGED_BY_LABELS,
    previous_manifest,
    served_digest,
)
from continuous_training.rollout.kserve.predictor import deployment_name
from continuous_training.rollout.kubernetes.manifests import trial_name
from continuous_training.rollout.kubernetes.readiness import label_selector
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer


def look_at_kserve(cluster: Cluster) -> ClusterServing:
    """Return what is served; TransientError when the cluster cannot be reached."""
    found = {
        one["metadata"]["name"]: one
        for one in cluster.find(INFERENCE_SERVICE, label_selector(MANAGED_BY_LABELS))
    }
    trials = {trial_name(name) for name in found} & set(found)
    models = {
        name: _row(cluster, name, service, found.get(trial_name(name)))
        for name, service in found.items()
        if name not in trials
    }
    addresses = {
        name: f"{address.rstrip('/')}{ModelServer.predict_path(name)}"
        for name, row in models.items()
        if row["state"] == "READY" and (address := _address(found[name]))
    }
    return ClusterServing(None, models, {}, addresses, cluster.namespace)


def _row(cluster: Cluster, name: str, service: Object, tried: Object | None) -> dict[str, Any]:
    """Return what is served under a name, as a server's own index would tell it."""
    digest = served_digest(service) or ""
    row: dict[str, Any] = {
        "name": name,
        "digest": digest,
        "phase": "probation" if tried else "serving",
        "state": "READY",
    }
    former = previous_manifest(tried) if tried else None
    if former and served_digest(former) != digest:
        row["former"] = served_digest(former)
    if not _answers(cluster, name, service):
        row |= {"state": "UNAVAILABLE", "reason": f"no server of {digest[:12]} is ready"}
    return row


def _answers(cluster: Cluster, name: str, service: Object) -> bool:
    """Tell whether a server is there; in serverless mode only the InferenceService itself can say so."""
    if is_standard(mode_of(service) or ""):
        deployment = cluster.get(DEPLOYMENT, deployment_name(name)) or {}
        return bool(deployment.get("status", {}).get("availableReplicas"))
    conditions = service.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _address(service: Object) -> str:
    return str(((service.get("status") or {}).get("address") or {}).get("url") or "")
