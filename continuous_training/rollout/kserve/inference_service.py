"""A version of a model as KServe's InferenceService, as plain data."""

from __future__ import annotations

import json

from continuous_training.adapters.kubernetes.client import Object
from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.core.errors import UserError
from continuous_training.core.settings import ServingSettings
from continuous_training.rollout.kserve.deployment_mode import MODE_ANNOTATION, is_standard
from continuous_training.rollout.kubernetes.manifests import SERVED_ANNOTATION, DeployedVersion

INFERENCE_SERVICE = Resource("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")

FORMER_ANNOTATION = "continuous-training/former"
"""The annotation of a trial that holds what its endpoint was before: who dies leaves that to the next."""

_UNSEEN = {f"networking.{owner}/visibility": "cluster-local" for owner in ("kserve.io", "knative.dev")}
"""Labels, of either mode, of what gets no address outside of the cluster."""

_CONTAINER = "kserve-container"
MANAGED_BY_LABELS = {"app.kubernetes.io/managed-by": "continuous-training"}


def inference_service(
    name: str, version: DeployedVersion, pod: Object, settings: ServingSettings, mode: str
) -> Object:
    """Return the InferenceService `name` that serves one version with pods like `pod` (a pod's spec)."""
    replicas = {"minReplicas": settings.replicas, "maxReplicas": settings.max_replicas}
    predictor = _standard(pod) if is_standard(mode) else _knative(pod)
    # The mode that the pod is made for is the one that it gets, whatever the default is by then.
    annotations = {SERVED_ANNOTATION: version.digest, MODE_ANNOTATION: mode}
    return {
        "metadata": {
            "name": name,
            "labels": MANAGED_BY_LABELS | version.pod_labels,
            "annotations": annotations,
        },
        "spec": {"predictor": {**replicas, **predictor}},
    }


def _standard(pod: Object) -> Object:
    """Return the predictor for a Deployment: no version has fewer servers while the next one comes up."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}
    (container,) = pod["containers"]
    return {**pod, "containers": [{**container, "name": _CONTAINER}], "deploymentStrategy": rolling}


def _knative(pod: Object) -> Object:
    """Return the predictor for a Knative service, which knows fewer fields of pods.

    Who a container runs as stands in the container, its port is named `http1`, probes have its number, and
    how long a request may take is Knative's own.
    """
    (container,) = pod["containers"]
    (port,) = container["ports"]
    secured = {**pod["securityContext"], **container["securityContext"]}
    secured.pop("fsGroup", None)
    taken = {
        **{key: value for key, value in container.items() if key != "startupProbe"},
        "name": _CONTAINER,
        "ports": [{**port, "name": "http1"}],
        "securityContext": secured,
    }
    for probe in ("readinessProbe", "livenessProbe"):
        asked = {**container[probe]["httpGet"], "port": port["containerPort"]}
        taken[probe] = {**container[probe], "httpGet": asked}
    # With no startup probe beside it, it is to wait for a model that loads.
    taken["livenessProbe"]["initialDelaySeconds"] = 60
    left_out = ("securityContext", "terminationGracePeriodSeconds", "containers")
    return {**{key: value for key, value in pod.items() if key not in left_out}, "containers": [taken]}


def trial_of(service: Object, name: str, former: Object | None) -> Object:
    """Return the InferenceService `name` that tries this one with one server; it remembers the former."""
    metadata, predictor = service["metadata"], service["spec"]["predictor"]
    labels = {**metadata["labels"], **_UNSEEN}
    annotations = {**metadata["annotations"], FORMER_ANNOTATION: json.dumps(former)}
    return {
        "metadata": {**metadata, "name": name, "labels": labels, "annotations": annotations},
        "spec": {"predictor": {**predictor, "minReplicas": 1, "maxReplicas": 1}},
    }


def with_canary(service: Object, percent: int) -> Object:
    """Return the InferenceService with that share of the traffic for its new version (not in Standard)."""
    predictor = {**service["spec"]["predictor"], "canaryTrafficPercent": percent}
    return {**service, "spec": {"predictor": predictor}}


def restorable_manifest(service: Object) -> Object:
    """Return of an InferenceService what an apply needs to bring it back as it was."""
    metadata = service["metadata"]
    annotations = metadata.get("annotations", {})
    ours = {key: annotations[key] for key in (MODE_ANNOTATION, SERVED_ANNOTATION) if key in annotations}
    labels = metadata.get("labels", {})
    return {
        "metadata": {"name": metadata["name"], "labels": labels, "annotations": ours},
        "spec": service["spec"],
    }


def former_manifest(trial: Object) -> Object | None:
    """Return what the trial's endpoint was before; None when there was none.

    UserError when somebody took the annotation away.
    """
    name, annotations = trial["metadata"]["name"], trial["metadata"].get("annotations", {})
    try:
        return json.loads(annotations[FORMER_ANNOTATION])
    except (KeyError, ValueError):
        raise UserError(
            f"InferenceService {name} belongs to an interrupted rollout, and its annotation "
            f"{FORMER_ANNOTATION} is missing: check that the endpoint serves the right version, "
            f"then delete {name}"
        ) from None


def served_digest(service: Object) -> str | None:
    """Return the sha256 of the archive that an InferenceService of ours asks for."""
    return service["metadata"].get("annotations", {}).get(SERVED_ANNOTATION)
