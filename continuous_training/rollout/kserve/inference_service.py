"""The InferenceServices that serve a model with KServe, as plain data."""

from __future__ import annotations

import hashlib
import json

from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.core.errors import UserError
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.rollout.kserve.cpu_limit import with_cpu_limit
from continuous_training.rollout.kserve.deployment_mode import MODE_ANNOTATION, is_standard
from continuous_training.rollout.kubernetes.serving_objects import (
    CONFIRMED_ANNOTATION,
    SERVED_ANNOTATION,
    Manifest,
    pod_labels,
)
from continuous_training.rollout.trial import DeployedVersion

INFERENCE_SERVICE = Resource("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")

PREVIOUS_MANIFEST_ANNOTATION = "continuous-training/former"
"""The annotation of a trial that contains the manifest of its endpoint before the trial. The next rollout
restores it if this rollout is interrupted."""

TEMPLATE_LABEL = "continuous-training/template"
"""The label with a digest of the pod template. KServe copies the labels to the pods of its Deployment."""

MANAGED_BY_LABELS = {"app.kubernetes.io/managed-by": "continuous-training"}

_CLUSTER_LOCAL_LABELS = {
    f"networking.{owner}/visibility": "cluster-local" for owner in ("kserve.io", "knative.dev")
}
"""Labels, for both modes, of a service without an address outside of the cluster."""

STOP_ANNOTATION = "serving.kserve.io/stop"
"""KServe removes the Deployment of an InferenceService with this annotation, since version 0.16."""

_CONTAINER_NAME = "kserve-container"
_KNATIVE_INITIAL_DELAY = 60


def inference_service(
    name: str, version: DeployedVersion, pod_spec: Manifest, settings: ServingSettings, mode: str
) -> Manifest:
    """Return the InferenceService `name` that serves one version with pods of this spec."""
    predictor = _standard_predictor(pod_spec) if is_standard(mode) else _knative_predictor(pod_spec)
    template = json.dumps(predictor, sort_keys=True).encode()
    return {
        "metadata": {
            "name": name,
            "labels": MANAGED_BY_LABELS
            | pod_labels(version)
            | {TEMPLATE_LABEL: hashlib.sha256(template).hexdigest()[:12]},
            # The annotation fixes the mode that the pods are made for, even if the default changes later.
            "annotations": {SERVED_ANNOTATION: version.digest, MODE_ANNOTATION: mode},
        },
        "spec": {
            "predictor": {
                "minReplicas": settings.replicas,
                "maxReplicas": settings.max_replicas,
                **predictor,
            }
        },
    }


def _standard_predictor(pod_spec: Manifest) -> Manifest:
    """Return the predictor for a Deployment, which keeps all pods until new pods are ready."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}
    (container,) = pod_spec["containers"]
    return {
        **pod_spec,
        "containers": [{**with_cpu_limit(container), "name": _CONTAINER_NAME}],
        "deploymentStrategy": strategy,
    }


def _knative_predictor(pod_spec: Manifest) -> Manifest:
    """Return the predictor for a Knative service, which supports fewer fields of pods.

    The security context is that of the container, the port is named `http1`, probes use the number of the
    port, and Knative itself limits the duration of a request.
    """
    (container,) = pod_spec["containers"]
    (port,) = container["ports"]
    security = {**pod_spec["securityContext"], **container["securityContext"]}
    security.pop("fsGroup", None)
    knative_container = {
        **{key: value for key, value in with_cpu_limit(container).items() if key != "startupProbe"},
        "name": _CONTAINER_NAME,
        "ports": [{**port, "name": "http1"}],
        "securityContext": security,
    }
    for probe in ("readinessProbe", "livenessProbe"):
        http_get = {**container[probe]["httpGet"], "port": port["containerPort"]}
        knative_container[probe] = {**container[probe], "httpGet": http_get}
    # There is no startup probe, so the liveness probe has to wait while a model loads.
    knative_container["livenessProbe"]["initialDelaySeconds"] = _KNATIVE_INITIAL_DELAY
    unsupported = ("securityContext", "terminationGracePeriodSeconds", "containers")
    supported = {key: value for key, value in pod_spec.items() if key not in unsupported}
    return {**supported, "containers": [knative_container]}


def trial_manifest(service: Manifest, name: str, previous: Manifest | None, replicas: int = 1) -> Manifest:
    """Return the InferenceService `name` for the trial of `service`, with this number of pods.

    Its annotation contains `previous`, the manifest of the endpoint before the trial.
    """
    metadata, predictor = service["metadata"], service["spec"]["predictor"]
    return {
        "metadata": {
            **metadata,
            "name": name,
            "labels": {**metadata["labels"], **_CLUSTER_LOCAL_LABELS},
            "annotations": {**metadata["annotations"], PREVIOUS_MANIFEST_ANNOTATION: json.dumps(previous)},
        },
        "spec": {"predictor": {**predictor, "minReplicas": replicas, "maxReplicas": replicas}},
    }


def is_trial(service: Manifest) -> bool:
    """Return whether the InferenceService serves a version on trial."""
    return PREVIOUS_MANIFEST_ANNOTATION in service["metadata"].get("annotations", {})


def is_confirmed(trial: Manifest) -> bool:
    """Return whether the rollout of a trial has ended with its version."""
    return CONFIRMED_ANNOTATION in trial["metadata"].get("annotations", {})


def is_being_deleted(service: Manifest) -> bool:
    """Return whether the InferenceService only waits for its finalizers."""
    return "deletionTimestamp" in service["metadata"]


def confirmed_trial_manifest(trial: Manifest, digest: str) -> Manifest:
    """Return the trial, without servers, with the annotation that its rollout has ended with a version."""
    manifest = stopped_trial_manifest(trial)
    manifest["metadata"]["annotations"][CONFIRMED_ANNOTATION] = digest
    return manifest


def stopped_trial_manifest(trial: Manifest) -> Manifest:
    """Return the trial without servers. It still contains the previous state of the endpoint."""
    manifest, annotations = restorable_manifest(trial), trial["metadata"]["annotations"]
    for key in (PREVIOUS_MANIFEST_ANNOTATION, CONFIRMED_ANNOTATION):
        if key in annotations:
            manifest["metadata"]["annotations"][key] = annotations[key]
    manifest["metadata"]["annotations"][STOP_ANNOTATION] = "true"
    return manifest


def with_canary(service: Manifest, percent: int) -> Manifest:
    """Return the InferenceService with a share of the traffic for its new version (Knative only)."""
    predictor = {**service["spec"]["predictor"], "canaryTrafficPercent": percent}
    return {**service, "spec": {"predictor": predictor}}


def restorable_manifest(service: Manifest) -> Manifest:
    """Return the part of an InferenceService that restores it when it is applied again."""
    metadata = service["metadata"]
    annotations = metadata.get("annotations", {})
    return {
        "metadata": {
            "name": metadata["name"],
            "labels": metadata.get("labels", {}),
            "annotations": {
                key: annotations[key] for key in (MODE_ANNOTATION, SERVED_ANNOTATION) if key in annotations
            },
        },
        "spec": service["spec"],
    }


def without_additional_pods(service: Manifest) -> Manifest | None:
    """Return the InferenceService whose pods are replaced one by one, each after the end of an old pod.

    Returns None if it has no Deployment, or if its only pod would end first.
    """
    predictor = service["spec"]["predictor"]
    if "deploymentStrategy" not in predictor or (predictor.get("minReplicas") or 1) < 2:
        return None
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}
    return {**service, "spec": {"predictor": {**predictor, "deploymentStrategy": strategy}}}


def previous_manifest(trial: Manifest) -> Manifest | None:
    """Return the manifest of the endpoint before a trial, or None if there was no endpoint.

    Raises UserError if the trial's annotation is missing or damaged.
    """
    name, annotations = trial["metadata"]["name"], trial["metadata"].get("annotations", {})
    try:
        manifest: Manifest | None = json.loads(annotations[PREVIOUS_MANIFEST_ANNOTATION])
    except (KeyError, ValueError):
        raise UserError(
            f"InferenceService {name} belongs to an interrupted rollout, but its annotation "
            f"{PREVIOUS_MANIFEST_ANNOTATION} is missing or damaged: check that the endpoint serves the right "
            f"version, then delete {name}"
        ) from None
    return manifest


def served_digest(service: Manifest) -> str | None:
    """Return the archive digest of the version that an InferenceService of ours serves."""
    digest: str | None = service["metadata"].get("annotations", {}).get(SERVED_ANNOTATION)
    return digest
