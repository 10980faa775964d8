"""Read the versions to which the Services of a namespace send their traffic."""

from __future__ import annotations

from collections.abc import Mapping

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, SERVICE
from continuous_training.operations.serving_state import ClusterServingState
from continuous_training.rollout.kubernetes.serving_objects import (
    CANARY_ANNOTATION,
    CONFIRMED_ANNOTATION,
    SERVED_ANNOTATION,
)
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer, TorchServe
from continuous_training.rollout.trial import DeployedVersion, trial_name
from continuous_training.serving.models.model_status import (
    ON_TRIAL,
    READY,
    SERVING,
    UNAVAILABLE,
    ModelStatus,
)

MANAGED = "app.kubernetes.io/name=model-server,app.kubernetes.io/managed-by=continuous-training"
"""The label selector of the objects that the rollout manages."""


def read_services(cluster: Cluster, runtime: type[ModelServer | TorchServe]) -> ClusterServingState:
    """Return the versions that Services serve. Raises TransientError if the cluster is unreachable."""
    ready_replicas = {
        deployment["metadata"]["name"]: deployment.get("status", {}).get("readyReplicas", 0)
        for deployment in cluster.find(DEPLOYMENT, MANAGED)
    }
    services = {service["metadata"]["name"]: service for service in cluster.find(SERVICE, MANAGED)}
    models = {
        name: _model_status(name, service, ready_replicas)
        for name, service in services.items()
        if not any(name == trial_name(other) for other in services if other != name)
    }
    predict_path = runtime.predict_path
    addresses = {
        name: f"http://{name}.{cluster.namespace}.svc{predict_path(name)}"
        for name, model in models.items()
        if model.ready
    }
    return ClusterServingState(None, models, {}, addresses, cluster.namespace)


def _model_status(name: str, service: Object, ready_replicas: Mapping[str, int]) -> ModelStatus:
    annotations = service["metadata"].get("annotations") or {}
    digest, confirmed = annotations.get(SERVED_ANNOTATION, ""), annotations.get(CONFIRMED_ANNOTATION, "")
    settled = digest == confirmed and CANARY_ANNOTATION not in annotations
    ready = bool(ready_replicas.get(DeployedVersion(name, digest).deployment_name))
    return ModelStatus(
        name=name,
        state=READY if ready else UNAVAILABLE,
        reason="" if ready else f"no server of {digest[:12]} is ready",
        digest=digest,
        phase=SERVING if settled else ON_TRIAL,
        previous_digest=confirmed if confirmed != digest else None,
    )
