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
from dataclasses import dataclass
from typing import Any

from continuous_training.core.errors import UserError
from continuous_training.core.serving_settings import ServingSettings

Manifest = dict[str, Any]
"""A Kubernetes object as JSON: what is applied, and what the API server returns."""

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


@dataclass(frozen=True)
class DeployedVersion:
    """A version of a model on a cluster: the model's name, and the sha256 of the version's archive.

    Raises UserError if a Service cannot have the model's name.
    """

    name: str
    digest: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(
                f"the model {self.name!r} cannot be served on Kubernetes, where a Service has its name: "
                "rename the model to at most 50 lowercase letters, digits and '-', beginning with a letter"
            )

    @property
    def deployment_name(self) -> str:
        """The name of the Deployment."""
        return f"{self.name}-{self.digest[:12]}"

    @property
    def pod_labels(self) -> dict[str, str]:
        """The labels by which a selector finds the pods of this version only."""
        return model_labels(self.name) | {DIGEST_LABEL: self.digest[:12]}


def model_labels(name: str) -> dict[str, str]:
    """Return the labels that the pods of all versions of a model have."""
    return {"app.kubernetes.io/name": "model-server", MODEL_LABEL: name}


def trial_name(name: str) -> str:
    """Return the name of the objects of a model's version on trial."""
    return f"{name}-trial"


def deployment(version: DeployedVersion, replicas: int, pod_spec: Manifest) -> Manifest:
    """Return the Deployment of a version."""
    labels = _LABELS | version.pod_labels
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
            "selector": {"matchLabels": version.pod_labels},
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
                "labelSelector": {"matchLabels": version.pod_labels},
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
            "labels": _LABELS | version.pod_labels,
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
    selector = model_labels(served.name) if canary else served.pod_labels
    annotations = {SERVED_ANNOTATION: served.digest, CONFIRMED_ANNOTATION: confirmed}
    if canary:
        annotations[CANARY_ANNOTATION] = canary
    return _service(served.name, served.name, selector, annotations)


def trial_service(version: DeployedVersion) -> Manifest:
    """Return the Service of the version on trial."""
    annotations = {SERVED_ANNOTATION: version.digest}
    return _service(trial_name(version.name), version.name, version.pod_labels, annotations)


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
