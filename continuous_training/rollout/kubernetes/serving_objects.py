"""The Kubernetes objects that serve a model, as plain data.

| object | name | purpose |
|---|---|---|
| Deployment | NAME-DIGEST12 | the pods of one version; a new version is a new Deployment |
| HorizontalPodAutoscaler | NAME-DIGEST12 | scales that Deployment, which owns it |
| Service | NAME | the endpoint; its selector decides which version has the traffic |
| Service | NAME-trial | the version on trial, for golden requests before it has traffic |
| PodDisruptionBudget | NAME | allows the eviction of one pod of the model at a time |
"""

from __future__ import annotations

import re
from typing import Any

from continuous_training.core.errors import UserError
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.rollout.trial import DeployedVersion, trial_name

Manifest = dict[str, Any]
"""A Kubernetes object as JSON, as it is applied or as the API server returns it."""

MODEL_LABEL, DIGEST_LABEL = "continuous-training/model", "continuous-training/digest"
"""Labels: the name of a model, and the first twelve digits of the archive digest of a version."""

SERVED_ANNOTATION = "continuous-training/served"
CONFIRMED_ANNOTATION = "continuous-training/confirmed"
CANARY_ANNOTATION = "continuous-training/canary"
"""Annotations of the Service: the digest that has the traffic, the digest of the last confirmed version, and
the digest that has a share of the traffic. They differ during a rollout and after an interrupted one."""

TARGET_CPU_UTILIZATION = 70
"""Percent; the autoscaler adds pods above it."""

_LABELS = {
    "app.kubernetes.io/name": "model-server",
    "app.kubernetes.io/managed-by": "continuous-training",
}
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,48}[a-z0-9])?")


def check_name(name: str) -> None:
    """Raise UserError if a Service cannot have the model's name."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"the model {name!r} cannot be served on Kubernetes, where a Service has its name: "
            "rename the model to at most 50 lowercase letters, digits and '-', beginning with a letter"
        )


def model_labels(name: str) -> dict[str, str]:
    """Return the labels that the pods of all versions of a model have."""
    return {"app.kubernetes.io/name": "model-server", MODEL_LABEL: name}


def pod_labels(version: DeployedVersion) -> dict[str, str]:
    """Return the labels by which a selector finds the pods of this version only."""
    return model_labels(version.name) | {DIGEST_LABEL: version.digest[:12]}


def deployment(version: DeployedVersion, replicas: int, pod_spec: Manifest) -> Manifest:
    """Return the Deployment of a version."""
    labels = _LABELS | pod_labels(version)
    return {
        "metadata": {
            "name": version.deployment_name,
            "labels": labels,
            "annotations": {SERVED_ANNOTATION: version.digest},
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            # A changed image or setting of the served version replaces its pods one after the other.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": pod_labels(version)},
            "template": {"metadata": {"labels": labels}, "spec": _topology_spread(version) | pod_spec},
        },
    }


def _topology_spread(version: DeployedVersion) -> Manifest:
    return {
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": pod_labels(version)},
            }
            for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ]
    }


def autoscaler(version: DeployedVersion, settings: ServingSettings, owner: Manifest) -> Manifest:
    """Return the autoscaler of a version; `owner` is the Deployment as the API server returned it."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": version.deployment_name}
    return {
        "metadata": {
            "name": version.deployment_name,
            "labels": _LABELS | pod_labels(version),
            "ownerReferences": [{**reference, "uid": owner["metadata"]["uid"], "controller": True}],
        },
        "spec": {
            "scaleTargetRef": reference,
            "minReplicas": settings.replicas,
            "maxReplicas": settings.max_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": TARGET_CPU_UTILIZATION},
                    },
                }
            ],
        },
    }


def disruption_budget(name: str) -> Manifest:
    """Return the disruption budget for the pods of all versions of a model."""
    return {
        "metadata": {"name": name, "labels": _LABELS | {MODEL_LABEL: name}},
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": model_labels(name)},
            # A pod that is not ready serves no request, so it may always be evicted.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def endpoint_service(served: DeployedVersion, confirmed: str, canary: str = "") -> Manifest:
    """Return the Service that callers use.

    `confirmed` is the digest to which an interrupted rollout reverts (empty: none). With `canary`, a digest,
    the Service selects the pods of all versions, so that each version receives a share of the traffic in
    proportion to its pods.
    """
    selector = model_labels(served.name) if canary else pod_labels(served)
    annotations = {SERVED_ANNOTATION: served.digest, CONFIRMED_ANNOTATION: confirmed}
    if canary:
        annotations[CANARY_ANNOTATION] = canary
    return _service(served.name, served.name, selector, annotations)


def trial_service(version: DeployedVersion) -> Manifest:
    """Return the Service of the version on trial."""
    annotations = {SERVED_ANNOTATION: version.digest}
    return _service(trial_name(version.name), version.name, pod_labels(version), annotations)


def _service(name: str, model: str, selector: dict[str, str], annotations: dict[str, str]) -> Manifest:
    return {
        "metadata": {"name": name, "labels": _LABELS | {MODEL_LABEL: model}, "annotations": annotations},
        "spec": {
            "selector": selector,
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def annotations_of(manifest: Manifest | None) -> dict[str, str]:
    """Return the annotations of an object; empty if there is no object."""
    return dict((manifest or {}).get("metadata", {}).get("annotations") or {})
