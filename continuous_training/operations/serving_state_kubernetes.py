"""What a cluster's Services give their traffic to."""

from __future__ import annotations

from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, SERVICE
from continuous_training.operations.serving_state import ClusterServing
from continuous_training.rollout.kubernetes.manifests import (
    CANARY_ANNOTATION,
    CONFIRMED_ANNOTATION,
    SERVED_ANNOTATION,
    DeployedVersion,
    trial_name,
)
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer, TorchServe

MANAGED = "app.kubernetes.io/name=model-server,app.kubernetes.io/managed-by=continuous-training"


def look_at_cluster(cluster: Cluster, server: type[ModelServer | TorchServe]) -> ClusterServing:
    """Return what the Services of a namespace serve. Raises TransientError if the cluster is unreachable."""
    ready = {
        found["metadata"]["name"]: found.get("status", {}).get("readyReplicas", 0)
        for found in cluster.find(DEPLOYMENT, MANAGED)
    }
    services = {found["metadata"]["name"]: found for found in cluster.find(SERVICE, MANAGED)}
    models = {
        name: _row(name, found, ready)
        for name, found in services.items()
        if not any(name == trial_name(other) for other in services if other != name)
    }
    predict_path = server.predict_path
    addresses = {
        name: f"http://{name}.{cluster.namespace}.svc{predict_path(name)}"
        for name, row in models.items()
        if row["state"] == "READY"
    }
    return ClusterServing(None, models, {}, addresses, cluster.namespace)


def _row(name: str, service: Object, ready: dict[str, int]) -> dict[str, Any]:
    """Return what is served under a name, as a server's own index would tell it."""
    annotations = service["metadata"].get("annotations") or {}
    digest, confirmed = annotations.get(SERVED_ANNOTATION, ""), annotations.get(CONFIRMED_ANNOTATION, "")
    settled = digest == confirmed and CANARY_ANNOTATION not in annotations
    row = {"name": name, "digest": digest, "phase": "serving" if settled else "probation", "state": "READY"}
    if confirmed and confirmed != digest:
        row["former"] = confirmed
    if not ready.get(DeployedVersion(name, digest).deployment_name):
        row |= {"state": "UNAVAILABLE", "reason": f"no server of {digest[:12]} is ready"}
    return row
