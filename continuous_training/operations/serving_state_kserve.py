"""Read the versions that the InferenceServices of a namespace serve."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT
from continuous_training.operations.serving_state import ClusterServingState
from continuous_training.rollout.kserve.deployment_mode import is_standard, mode_of
from continuous_training.rollout.kserve.inference_service import (
    INFERENCE_SERVICE,
    MANAGED_BY_LABELS,
    is_being_deleted,
    is_confirmed,
    is_trial,
    previous_manifest,
    served_digest,
)
from continuous_training.rollout.kserve.predictor import deployment_name
from continuous_training.rollout.kubernetes.readiness import label_selector
from continuous_training.rollout.kubernetes.serving_objects import MODEL_LABEL
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer
from continuous_training.serving.models.model_status import (
    ON_TRIAL,
    READY,
    SERVING,
    UNAVAILABLE,
    ModelStatus,
)


def read_inference_services(cluster: Cluster) -> ClusterServingState:
    """Return the versions that are served. Raises TransientError if the cluster is unreachable."""
    services = {
        service["metadata"]["name"]: service
        for service in cluster.find(INFERENCE_SERVICE, label_selector(MANAGED_BY_LABELS))
        if not is_being_deleted(service)
    }
    trials = {
        service["metadata"]["labels"].get(MODEL_LABEL): service
        for service in services.values()
        if is_trial(service) and not is_confirmed(service)
    }
    models = {
        name: _model_status(cluster, name, service, trials.get(name))
        for name, service in services.items()
        if not is_trial(service)
    }
    addresses = {
        name: f"{address.rstrip('/')}{ModelServer.predict_path(name)}"
        for name, model in models.items()
        if model.ready and (address := _address(services[name]))
    }
    return ClusterServingState(None, models, {}, addresses, cluster.namespace)


def _model_status(cluster: Cluster, name: str, service: Object, trial: Object | None) -> ModelStatus:
    digest = served_digest(service) or ""
    previous = previous_manifest(trial) if trial else None
    previous_digest = served_digest(previous) if previous else None
    ready = _is_ready(cluster, name, service)
    return ModelStatus(
        name=name,
        state=READY if ready else UNAVAILABLE,
        reason="" if ready else f"no server of {digest[:12]} is ready",
        digest=digest,
        phase=ON_TRIAL if trial else SERVING,
        previous_digest=previous_digest if previous_digest != digest else None,
    )


def _is_ready(cluster: Cluster, name: str, service: Object) -> bool:
    """Return whether a server is available. In serverless mode, only the InferenceService reports it."""
    if is_standard(mode_of(service) or ""):
        deployment = cluster.get(DEPLOYMENT, deployment_name(name)) or {}
        return bool(deployment.get("status", {}).get("availableReplicas"))
    conditions = service.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _address(service: Object) -> str:
    return str(((service.get("status") or {}).get("address") or {}).get("url") or "")
