"""Preflight checks of the settings in the steps' ConfigMap, and of the objects that the settings require."""

from __future__ import annotations

from collections.abc import Mapping

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import CONFIG_MAP
from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.settings import Settings
from continuous_training.kubeflow.object_names import SERVER_ACCOUNT, SERVER_SECRET, STEPS_CONFIG_MAP
from continuous_training.kubeflow.preflight.cluster_objects import check_object
from continuous_training.kubeflow.preflight.finding import Finding, State
from continuous_training.kubeflow.preflight.images import check_image
from continuous_training.kubeflow.preflight.kserve_check import check_kserve
from continuous_training.kubeflow.preflight.references import Reference
from continuous_training.rollout.kubernetes.ownership import foreign_objects

_EXAMPLE = "manifests/base/configmap.yaml shows an example"
_REQUIRED = {
    "MLFLOW_TRACKING_URI": "without it, each step uses a separate registry in its own pod",
    "CT_STORE": "without it, each step uses a separate store in its own pod",
}


def read_config_map(cluster: Cluster) -> Mapping[str, str] | None:
    """Return the data of the steps' ConfigMap. None if it does not exist or the user may not read it."""
    try:
        config_map = cluster.get(CONFIG_MAP, STEPS_CONFIG_MAP)
    except ForbiddenError:
        return None
    return None if config_map is None else config_map.get("data") or {}


def check_settings(data: Mapping[str, str]) -> tuple[list[Finding], Settings | None]:
    """Return a finding for each mistake in the settings, and the settings if they can be parsed."""
    findings = [
        Finding(State.MISSING, _setting(name), f"{consequence}; {_EXAMPLE}")
        for name, consequence in _REQUIRED.items()
        if not data.get(name)
    ]
    try:
        settings = Settings.from_environment(data)
    except UserError as error:
        return [*findings, Finding(State.MISSING, f"ConfigMap {STEPS_CONFIG_MAP}", str(error))], None
    if settings.target == "local":
        advice = "the endpoint would run in the step's pod and end with it: set kubernetes or kserve"
        findings.append(Finding(State.WARNING, f"CT_TARGET is local in ConfigMap {STEPS_CONFIG_MAP}", advice))
    return findings, settings


def check_serving_requirements(cluster: Cluster, settings: Settings) -> list[Finding]:
    """Return a finding for each object that the deployment target requires in the cluster's namespace."""
    if settings.target == "local":
        return []
    findings = [
        check_object(cluster, Reference("ServiceAccount", SERVER_ACCOUNT, optional=False)),
        check_object(cluster, Reference("Secret", SERVER_SECRET, optional=True)),
        _check_serving_image(settings),
    ]
    if settings.target == "kserve":
        findings += check_kserve(cluster, settings.serving)
    return findings


def check_model_name(cluster: Cluster, name: str) -> Finding:
    """Return whether a model with this name can be served without a change of another owner's objects."""
    requirement = f"the Service of workload {name} in namespace {cluster.namespace}"
    try:
        objects = foreign_objects(cluster, name)
    except PipelineError as error:
        return Finding(State.NOT_VISIBLE, requirement, str(error))
    if objects:
        advice = f"{' and '.join(objects)} has another owner: rename it, or set CT_SERVING_NAMESPACE"
        return Finding(State.MISSING, requirement, advice)
    return Finding(State.OK, requirement)


def _check_serving_image(settings: Settings) -> Finding:
    uses_torchserve = settings.target == "torchserve"
    serving = settings.serving
    if image := serving.torchserve_image if uses_torchserve else serving.image:
        return check_image(image)
    name = "CT_TORCHSERVE_IMAGE" if uses_torchserve else "CT_SERVING_IMAGE"
    advice = f"make images prints the image with its digest; {_EXAMPLE}"
    return Finding(State.MISSING, _setting(name), advice)


def _setting(name: str) -> str:
    return f"{name} in ConfigMap {STEPS_CONFIG_MAP}"
