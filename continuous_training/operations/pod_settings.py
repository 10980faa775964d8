"""The settings of new model servers for a command outside the cluster.

The environment of an operator must not change what the pods get: its address of the store may be a forwarded
port, and its image and resources may belong to another cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.connection import connect
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import AUTOSCALER, CONFIG_MAP, DEPLOYMENT, SERVICE
from continuous_training.core.progress import Progress
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.core.settings import Settings
from continuous_training.kubeflow.object_names import STEPS_CONFIG_MAP
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE
from continuous_training.rollout.kubernetes.serving_objects import SERVED_ANNOTATION, annotations_of
from continuous_training.rollout.trial import DeployedVersion

_VARIABLES = {
    "store": "CT_SERVING_STORE",
    "image": "CT_SERVING_IMAGE",
    "torchserve_image": "CT_TORCHSERVE_IMAGE",
    "cpu": "CT_SERVING_CPU",
    "memory": "CT_SERVING_MEMORY",
    "replicas": "CT_SERVING_REPLICAS",
    "max_replicas": "CT_SERVING_MAX_REPLICAS",
}
"""The fields that determine the pods, and their environment variables."""

_DEFAULTS = {field.name: field.default for field in fields(ServingSettings)}


def with_pod_settings_of_cluster(settings: Settings, name: str, progress: Progress) -> Settings:
    """Return the settings with those of the cluster for new pods, and report each difference.

    The source is the ConfigMap of the steps, or else the running pods of the model `name`. In a pod of the
    cluster, and if there is neither, the settings are returned unchanged.
    """
    serving = settings.serving
    cluster = connect(serving.namespace, serving.kubeconfig, serving.context, progress)
    if settings.target == "local" or cluster.in_pod:
        return settings
    running = _running_settings(cluster, settings.target, name)
    configured = _pod_fields(serving) if settings.cluster else _configured_settings(cluster)
    origin, selected = ("ConfigMap", configured) if configured else ("running pods", running)
    for field, value, other in _differences(selected, _pod_fields(serving)):
        if other not in ("", _DEFAULTS[field]):
            progress(f"{_VARIABLES[field]}: {value} of the {origin}, not {other} of this environment")
    for field, value, other in _differences(configured, running):
        progress(f"{_VARIABLES[field]}: {value} for new pods, {other} in the running ones")
    return replace(settings, serving=replace(serving, **selected))


def _differences(values: Mapping[str, Any], others: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    from kubernetes.utils.quantity import parse_quantity

    for field, value in values.items():
        other = others.get(field, value)
        # The API server writes a quantity in another unit: 1024Mi becomes 1Gi.
        is_quantity = field in ("cpu", "memory")
        if parse_quantity(value) != parse_quantity(other) if is_quantity else value != other:
            yield field, value, other


def _pod_fields(settings: ServingSettings) -> dict[str, Any]:
    return {field: getattr(settings, field) for field in _VARIABLES}


def _configured_settings(cluster: Cluster) -> dict[str, Any]:
    """Return the settings of the ConfigMap; empty if it does not exist or cannot be read."""
    try:
        config_map = cluster.get(CONFIG_MAP, STEPS_CONFIG_MAP)
    except ForbiddenError:
        return {}
    data = (config_map or {}).get("data") or {}
    return _pod_fields(ServingSettings.from_environment(data)) if data.get("CT_STORE") else {}


def _running_settings(cluster: Cluster, target: str, name: str) -> dict[str, Any]:
    """Return the settings of the pods that serve the model; empty if there are none."""
    if target == "kserve":
        service = cluster.get(INFERENCE_SERVICE, name) or {}
        predictor = service.get("spec", {}).get("predictor") or {}
        return _settings_of_pod(predictor) | _replicas(predictor)
    digest = annotations_of(cluster.get(SERVICE, name)).get(SERVED_ANNOTATION)
    deployment_name = DeployedVersion(name, digest).deployment_name if digest else ""
    deployment = cluster.get(DEPLOYMENT, deployment_name) if deployment_name else None
    if deployment is None:
        return {}
    pod = _settings_of_pod(deployment["spec"]["template"]["spec"])
    try:
        autoscaler = cluster.get(AUTOSCALER, deployment_name) or {}
    except ForbiddenError:
        return pod
    return pod | _replicas(autoscaler.get("spec") or {})


def _replicas(spec: Mapping[str, Any]) -> dict[str, Any]:
    replicas = {"replicas": spec.get("minReplicas"), "max_replicas": spec.get("maxReplicas")}
    return {field: value for field, value in replicas.items() if value}


def _settings_of_pod(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in the spec of a pod, as serving_runtimes.py writes them."""
    downloads, servers = spec.get("initContainers") or [], spec.get("containers") or []
    if not servers:
        return {}
    server = servers[0]
    requests = (server.get("resources") or {}).get("requests") or {}
    values = {field: requests[field] for field in ("cpu", "memory") if field in requests}
    # With TorchServe, an init container downloads the archive with our image.
    download = downloads[0] if downloads else server
    command = download.get("command") or []
    if "--model-store" in command:
        values["store"] = command[command.index("--model-store") + 1]
        values["image"] = download["image"]
    if downloads:
        values["torchserve_image"] = server["image"]
    return values
