"""Preflight checks of KServe: its definition, its controller and its webhooks."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.partial_metadata import is_known
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT
from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.kubeflow.preflight.finding import Finding, State
from continuous_training.rollout.kserve.deployment_mode import (
    CONFIG_MAP_NAMESPACES,
    find_mode,
    is_standard,
    mode_of,
)
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE, inference_service
from continuous_training.rollout.kubernetes.serving_objects import deployment
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer
from continuous_training.rollout.trial import DeployedVersion

CONTROLLER = "kserve-controller-manager"
"""The name of the controller's Deployment in KServe's manifests and chart."""

_VERSION = DeployedVersion("ct-preflight", "0" * 64)
_DRY_RUN = "a dry run of an InferenceService with these settings"


def check_kserve(cluster: Cluster, settings: ServingSettings) -> list[Finding]:
    """Return the findings about KServe. Nothing is created: objects are applied as dry runs."""
    requirement = f"KServe's {INFERENCE_SERVICE.kind} ({INFERENCE_SERVICE.api_version})"
    if not is_known(cluster, INFERENCE_SERVICE):
        advice = "install KServe, or set CT_TARGET=kubernetes"
        return [Finding(State.MISSING, requirement, advice)]
    findings = [Finding(State.OK, requirement), check_controller(cluster)]
    try:
        runtime, mode = ModelServer(settings), find_mode(cluster, None)
    except UserError:
        # The image or the store is not set, which is a finding of its own.
        return findings
    manifest = inference_service(_VERSION.name, _VERSION, runtime.pod(_VERSION), settings, mode)
    return [*findings, check_dry_run(cluster, manifest)]


def check_controller(cluster: Cluster) -> Finding:
    """Return whether a pod of KServe's controller is available."""
    requirement, visible = "KServe's controller", False
    for namespace in CONFIG_MAP_NAMESPACES:
        transport = cluster.transport
        other = Cluster(transport.api, namespace, cluster.in_pod, retry_budget=transport.retry_budget)
        try:
            controller = other.get(DEPLOYMENT, CONTROLLER)
        except ForbiddenError:
            continue
        visible = True
        if controller is not None:
            if controller.get("status", {}).get("availableReplicas"):
                return Finding(State.OK, requirement)
            advice = f"no pod of it is available: kubectl -n {namespace} describe deployment {CONTROLLER}"
            return Finding(State.MISSING, requirement, advice)
    namespaces = " or ".join(CONFIG_MAP_NAMESPACES)
    if not visible:
        advice = f"this user has no permission to read Deployments in namespace {namespaces}"
        return Finding(State.NOT_VISIBLE, requirement, advice)
    advice = (
        f"there is no Deployment {CONTROLLER} in namespace {namespaces}; without a controller, no "
        "InferenceService gets a pod"
    )
    return Finding(State.WARNING, requirement, advice)


def check_dry_run(cluster: Cluster, manifest: Object) -> Finding:
    """Return whether the API server and KServe's webhooks accept an InferenceService and its pods.

    KServe's webhook adds defaults, such as a CPU limit. The Deployment of the result is validated as well,
    because KServe creates it only later.
    """
    try:
        service = cluster.apply(INFERENCE_SERVICE, manifest, dry_run=True)
        predictor = service["spec"]["predictor"]
        if is_standard(mode_of(manifest) or ""):
            pod_spec = {"containers": predictor["containers"], "volumes": predictor.get("volumes", [])}
            cluster.apply(DEPLOYMENT, deployment(_VERSION, 1, pod_spec), dry_run=True)
    except ForbiddenError:
        return Finding(State.NOT_VISIBLE, _DRY_RUN, "this user has no permission for a dry run")
    except PipelineError as error:
        return Finding(State.MISSING, _DRY_RUN, str(error))
    return Finding(State.OK, _DRY_RUN)
