"""The canary in Standard mode: the pods of the trial as additional endpoints of the endpoint's Service.

KServe 0.20 has no traffic share between two versions in this mode: it ignores `canaryTrafficPercent`, and no
request reaches the pods of `spec.canary`. A Service may have EndpointSlices of several managers. Kubernetes
manages the EndpointSlices of the pods that the selector matches, and this module adds one for each pod of the
trial's InferenceService. A pod owns its EndpointSlice, so that Kubernetes deletes both together.
"""

from __future__ import annotations

from contextlib import suppress

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, ENDPOINT_SLICE
from continuous_training.rollout.kserve.predictor import deployment_name
from continuous_training.rollout.kubernetes.canary_watch import canary_replicas
from continuous_training.rollout.kubernetes.readiness import label_selector, pods_of
from continuous_training.rollout.kubernetes.service_client import PORT
from continuous_training.rollout.kubernetes.serving_objects import MODEL_LABEL, Manifest, pod_labels
from continuous_training.rollout.trial import DeployedVersion

_MANAGER_LABEL = {"endpointslice.kubernetes.io/managed-by": "continuous-training"}
_SERVICE_LABEL = "kubernetes.io/service-name"


def endpoint_slice(model: str, pod: Manifest) -> Manifest:
    """Return the EndpointSlice that adds a pod, while it is ready, to the Service of an InferenceService."""
    metadata, address = pod["metadata"], pod["status"]["podIP"]
    is_terminating = "deletionTimestamp" in metadata
    conditions = {condition["type"]: condition["status"] for condition in pod["status"].get("conditions", [])}
    is_serving = conditions.get("Ready") == "True"
    return {
        "metadata": {
            "name": metadata["name"],
            "labels": {**_MANAGER_LABEL, _SERVICE_LABEL: deployment_name(model), MODEL_LABEL: model},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
            ],
        },
        "addressType": "IPv6" if ":" in address else "IPv4",
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {
                    "ready": is_serving and not is_terminating,
                    "serving": is_serving,
                    "terminating": is_terminating,
                },
                "nodeName": pod["spec"]["nodeName"],
                "targetRef": {
                    "kind": "Pod",
                    "namespace": metadata["namespace"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
            }
        ],
        "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
    }


class StandardCanary:
    """The canary of a model in Standard mode."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._version: DeployedVersion | None = None
        self._applied: dict[str, Manifest] = {}

    def replicas(self, model: str, percent: int) -> int:
        """Return the number of pods whose share of all pods is closest to `percent`; at least 1."""
        return canary_replicas(percent, self._endpoint_replicas(model))

    def start(self, version: DeployedVersion) -> str:
        """Add the pods of a version to the Service of its model; return a description of the share."""
        self._version = version
        self.refresh()
        count = len(self._applied)
        total = count + self._endpoint_replicas(version.name)
        return f"{100 * count / total:.0f} % of the traffic ({count} of {total} pods)"

    def refresh(self) -> None:
        """Update which pods of the current canary are ready. No effect without a canary."""
        if self._version is None:
            return
        slices = {
            pod["metadata"]["name"]: endpoint_slice(self._version.name, pod)
            for pod in pods_of(self.cluster, pod_labels(self._version))
            if pod["status"].get("podIP")
        }
        for name in self._applied.keys() - slices.keys():
            self.cluster.delete(ENDPOINT_SLICE, name)
        for name, manifest in slices.items():
            if self._applied.get(name) != manifest:
                self.cluster.apply(ENDPOINT_SLICE, manifest)
        self._applied = slices

    def stop(self, model: str) -> None:
        """Remove the pods of a canary from the Service of the model, also those that another process added.

        An account without the permission has no canary either.
        """
        self._version, self._applied = None, {}
        with suppress(ForbiddenError):
            selector = label_selector({**_MANAGER_LABEL, MODEL_LABEL: model})
            for item in self.cluster.find(ENDPOINT_SLICE, selector):
                self.cluster.delete(ENDPOINT_SLICE, item["metadata"]["name"])

    def _endpoint_replicas(self, model: str) -> int:
        deployment = self.cluster.get(DEPLOYMENT, deployment_name(model)) or {}
        return int(deployment.get("spec", {}).get("replicas", 1))
