"""A look at the ConfigMap that the steps take their settings from, and at what those settings name."""

from __future__ import annotations

from collections.abc import Mapping

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.partial_metadata import is_known
from continuous_training.adapters.kubernetes.resources import CONFIG_MAP
from continuous_training.core.errors import UserError
from continuous_training.core.settings import Settings
from continuous_training.kubeflow.object_names import SERVER_ACCOUNT, SERVER_SECRET, STEPS_CONFIG_MAP
from continuous_training.kubeflow.preflight import cluster_objects, images
from continuous_training.kubeflow.preflight.finding import DOUBTFUL, MISSING, THERE, Finding
from continuous_training.kubeflow.preflight.references import Named
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE

_BROUGHT_BY = "manifests/base/configmap.yaml shows it"
_REQUIRED = {
    "MLFLOW_TRACKING_URI": "without it each step has a registry of its own, in its own pod",
    "CT_STORE": "without it each step has a store of its own, in its own pod",
}


def read(cluster: Cluster) -> Mapping[str, str] | None:
    """Return what the ConfigMap holds; None when it is not there, or this user may not read it."""
    try:
        found = cluster.get(CONFIG_MAP, STEPS_CONFIG_MAP)
    except ForbiddenError:
        return None
    return None if found is None else found.get("data") or {}


def look_at(data: Mapping[str, str]) -> tuple[list[Finding], Settings | None]:
    """Return what is wrong with the settings, and the settings themselves when they can be read."""
    found = []
    for name, why in _REQUIRED.items():
        if not data.get(name):
            what = f"{name} in ConfigMap {STEPS_CONFIG_MAP}"
            found.append(Finding(MISSING, what, f"{why}; {_BROUGHT_BY}"))
    try:
        settings = Settings.from_environment(data)
    except UserError as error:
        return [*found, Finding(MISSING, f"ConfigMap {STEPS_CONFIG_MAP}", str(error))], None
    if settings.target == "local":
        advice = "the endpoint would live and die in the step's own pod; set kubernetes or kserve"
        found.append(Finding(DOUBTFUL, f"CT_TARGET is local in ConfigMap {STEPS_CONFIG_MAP}", advice))
    return found, settings


def look_behind(cluster: Cluster, settings: Settings) -> list[Finding]:
    """Return whether the namespace of the model servers (the cluster's) has what the target needs there."""
    if settings.target == "local":
        return []
    account = Named("ServiceAccount", SERVER_ACCOUNT, optional=False)
    secret = Named("Secret", SERVER_SECRET, optional=True)
    found = [cluster_objects.look_for(cluster, named) for named in (account, secret)]
    serving, torchserve = settings.serving, settings.target == "torchserve"
    image = serving.torchserve_image if torchserve else serving.image
    if image:
        found.append(images.look_for(image))
    else:
        name = "CT_TORCHSERVE_IMAGE" if torchserve else "CT_SERVING_IMAGE"
        what = f"{name} in ConfigMap {STEPS_CONFIG_MAP}"
        advice = f"make images prints the image by its digest; {_BROUGHT_BY}"
        found.append(Finding(MISSING, what, advice))
    return [*found, kserve(cluster)] if settings.target == "kserve" else found


def kserve(cluster: Cluster) -> Finding:
    """Return whether the cluster knows KServe's InferenceService."""
    what = f"KServe's {INFERENCE_SERVICE.kind} ({INFERENCE_SERVICE.api_version})"
    if is_known(cluster, INFERENCE_SERVICE):
        return Finding(THERE, what)
    return Finding(MISSING, what, "install KServe, or set CT_TARGET=kubernetes")
