"""The objects that serve a model on Kubernetes, as plain data.

| object | name | |
|---|---|---|
| Deployment | NAME-DIGEST12 | one version's servers; a new version is a new Deployment |
| HorizontalPodAutoscaler | NAME-DIGEST12 | of that Deployment, and gone with it |
| Service | NAME | the endpoint: its selector says which version has the traffic |
| Service | NAME-trial | the version on trial, for golden requests before it has any |
| PodDisruptionBudget | NAME | at most one server of the model is drained at a time |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from continuous_training.core.errors import UserError
from continuous_training.core.settings import ServingSettings

Object = dict[str, Any]

MODEL_LABEL, DIGEST_LABEL = "continuous-training/model", "continuous-training/digest"
"""Labels: a model's name, and the first twelve digits of a version's digest."""

SERVED_ANNOTATION, CONFIRMED_ANNOTATION, CANARY_ANNOTATION = (
    f"continuous-training/{word}" for word in ("served", "confirmed", "canary")
)
"""Annotations of the Service: the digests that have the traffic, that have proven themselves with it, and
that are given a share of it. Where they differ, a rollout is under way or was cut off."""

TARGET_CPU = 70
_LABELS = {
    "app.kubernetes.io/name": "model-server",
    "app.kubernetes.io/managed-by": "continuous-training",
}
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,48}[a-z0-9])?")


@dataclass(frozen=True)
class DeployedVersion:
    """A version of a model: its name, which is the Service's, and the sha256 of its archive."""

    name: str
    digest: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(
                f"the model {self.name!r} cannot be served on Kubernetes: a Service's name is small letters, "
                "digits and '-', begins with a letter, and here has at most 50 of them"
            )

    @property
    def deployment_name(self) -> str:
        """The Deployment's name."""
        return f"{self.name}-{self.digest[:12]}"

    @property
    def pod_labels(self) -> dict[str, str]:
        """The labels that this version's pods have, and those of no other one."""
        return model_labels(self.name) | {DIGEST_LABEL: self.digest[:12]}


def model_labels(name: str) -> dict[str, str]:
    """Return the labels that the pods of every version of a model have."""
    return {"app.kubernetes.io/name": "model-server", MODEL_LABEL: name}


def trial_name(name: str) -> str:
    """Return the name of the Service of the version on trial."""
    return f"{name}-trial"


def deployment(version: DeployedVersion, replicas: int, pod: Object) -> Object:
    """Return the Deployment; `pod` is the pods' spec."""
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
            # A changed image or setting of a version that is served replaces its pods one by one.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": version.pod_labels},
            "template": {"metadata": {"labels": labels}, "spec": _spread(version) | pod},
        },
    }


def _spread(version: DeployedVersion) -> Object:
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


def autoscaler(version: DeployedVersion, settings: ServingSettings, owner: Object) -> Object:
    """Return the autoscaler; `owner` is the Deployment as the server has it."""
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
                        "target": {"type": "Utilization", "averageUtilization": TARGET_CPU},
                    },
                }
            ],
        },
    }


def disruption_budget(name: str) -> Object:
    """Return the budget of a model's servers, whatever their version."""
    return {
        "metadata": {"name": name, "labels": _LABELS | {MODEL_LABEL: name}},
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": model_labels(name)},
            # A server that is not ready serves nobody: it may always go.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def endpoint_service(served: DeployedVersion, confirmed: str, canary: str = "") -> Object:
    """Return the Service that callers ask.

    `confirmed` is the digest that it goes back to ("": none). With a `canary` all versions' pods answer,
    so that each has the share that it has of the pods.
    """
    chosen = model_labels(served.name) if canary else served.pod_labels
    annotations = {SERVED_ANNOTATION: served.digest, CONFIRMED_ANNOTATION: confirmed} | (
        {CANARY_ANNOTATION: canary} if canary else {}
    )
    return _service(served.name, served.name, chosen, annotations)


def trial_service(version: DeployedVersion) -> Object:
    """Return the Service of the version on trial."""
    return _service(
        trial_name(version.name), version.name, version.pod_labels, {SERVED_ANNOTATION: version.digest}
    )


def _service(name: str, model: str, chosen: dict[str, str], annotations: dict[str, str]) -> Object:
    return {
        "metadata": {"name": name, "labels": _LABELS | {MODEL_LABEL: model}, "annotations": annotations},
        "spec": {
            "selector": chosen,
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }
