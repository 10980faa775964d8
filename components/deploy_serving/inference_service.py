"""A model version as KServe's InferenceService: a pure function of settings, name and digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from adapters.errors import UserError
from adapters.kubernetes.client import Object
from adapters.kubernetes.resources import Resource
from components.settings import ServingSettings

INFERENCE_SERVICE = Resource("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")

STANDARD, KNATIVE = "Standard", "Knative"
"""The two ways in which KServe runs a predictor: a Deployment, or a Knative service ("serverless")."""

_MODES = {"Standard": STANDARD, "RawDeployment": STANDARD, "Knative": KNATIVE, "Serverless": KNATIVE}
MODE = "serving.kserve.io/deploymentMode"
DIGEST = "continuous-training/digest"
FORMER = "continuous-training/former"
"""The annotation of a trial that holds what its endpoint was before: who dies leaves that to the next."""

PORT = 8080
USER = 10001
_CONTAINER = "kserve-container"
_PROBE = {"periodSeconds": 2, "timeoutSeconds": 5}


def inference_service(
    name: str, model: str, digest: str, settings: ServingSettings, mode: str, pinned: bool = False
) -> Object:
    """Return the InferenceService `name` that serves one version of `model`, by its archive's sha256.

    It fits a namespace that enforces Pod Security *restricted*. `pinned` writes the mode down in it, where
    nothing else decides. UserError when the settings name no image.
    """
    if not settings.image:
        raise UserError("CT_SERVING_IMAGE is not set: name the model server's image, by digest")
    predictor = {
        "minReplicas": settings.replicas,
        "maxReplicas": settings.max_replicas,
        "serviceAccountName": "model-server",
        "automountServiceAccountToken": False,
        "containers": [_container(f"{model}@{digest}", settings, mode)],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    if mode == STANDARD:
        # No version has fewer servers than asked for while the next one comes up.
        rolling = {"maxSurge": "25%", "maxUnavailable": 0}
        predictor["deploymentStrategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    labels = {
        "app.kubernetes.io/name": "model-server",
        "app.kubernetes.io/managed-by": "continuous-training",
        "continuous-training/model": model,
        DIGEST: digest[:12],
    }
    metadata: Object = {"name": name, "labels": labels, "annotations": {DIGEST: digest}}
    if pinned:
        metadata["annotations"][MODE] = mode
    return {"metadata": metadata, "spec": {"predictor": predictor}}


def _container(version: str, settings: ServingSettings, mode: str) -> Object:
    serve = ["serve", "--host", "0.0.0.0", "--port", str(PORT), "--linger", "5"]  # noqa: S104
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    # Knative knows no other name of a port, and a Service of KServe takes the container's.
    port = "http1" if mode == KNATIVE else "http"
    return {
        "name": _CONTAINER,
        "image": settings.image,
        "command": ["python", "-m", "serving"],
        "args": [*serve, "--model-store", settings.store, "--model", version],
        "env": [{"name": key, "valueFrom": {"secretKeyRef": _optional(key)}} for key in keys],
        "ports": [{"containerPort": PORT, "name": port, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": PORT}, **_PROBE},
        # Patient: a server that does not answer for so long hangs, and one that loads is not hanging.
        "livenessProbe": {
            "httpGet": {"path": "/v2/health/live", "port": PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": {
            "requests": {"cpu": settings.cpu, "memory": settings.memory},
            "limits": {"memory": settings.memory},
        },
        # All of it on the container: Knative takes only some of it on the pod.
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def _optional(key: str) -> Object:
    return {"name": "model-server", "key": key, "optional": True}


def trial_of(service: Object, name: str, former: Object | None) -> Object:
    """Return the InferenceService `name` that tries this one with one server; it remembers the former."""
    metadata, predictor = service["metadata"], service["spec"]["predictor"]
    annotations = {**metadata["annotations"], FORMER: json.dumps(former)}
    return {
        "metadata": {**metadata, "name": name, "annotations": annotations},
        "spec": {"predictor": {**predictor, "minReplicas": 1, "maxReplicas": 1}},
    }


def kept(service: Object) -> Object:
    """Return of an InferenceService what an apply needs to bring it back as it was."""
    metadata = service["metadata"]
    annotations = metadata.get("annotations", {})
    ours = {key: annotations[key] for key in (MODE, DIGEST) if key in annotations}
    labels = metadata.get("labels", {})
    return {
        "metadata": {"name": metadata["name"], "labels": labels, "annotations": ours},
        "spec": service["spec"],
    }


def remembered(trial: Object) -> Object | None:
    """Return what the trial's endpoint was before; None when there was none.

    UserError when somebody took the annotation away.
    """
    name, annotations = trial["metadata"]["name"], trial["metadata"].get("annotations", {})
    try:
        return json.loads(annotations[FORMER])
    except (KeyError, ValueError):
        raise UserError(
            f"InferenceService {name} is what a rollout left behind, and its annotation {FORMER} is gone: "
            f"see that the endpoint serves what it should, and delete {name}"
        ) from None


def digest_of(service: Object) -> str | None:
    """Return the sha256 of the archive that an InferenceService of ours asks for."""
    return service["metadata"].get("annotations", {}).get(DIGEST)


def mode_of(service: Object | None, configuration: Mapping[str, Any] | None) -> str | None:
    """Return how KServe runs this InferenceService, or would run a new one; None when nothing tells.

    KServe itself goes by the status, then by the annotation, then by its ConfigMap `inferenceservice-config`.
    """
    told = []
    if service is not None:
        told = [
            service.get("status", {}).get("deploymentMode"),
            service["metadata"].get("annotations", {}).get(MODE),
        ]
    if configuration is not None:
        try:
            deploy = json.loads(configuration.get("deploy", "{}"))
        except ValueError:
            deploy = {}
        told.append(deploy.get("defaultDeploymentMode") if isinstance(deploy, dict) else None)
    return next((_MODES[mode] for mode in told if mode in _MODES), None)
