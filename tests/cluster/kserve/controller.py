"""KServe's controller, played as it was seen: it says Ready all along, whatever its pods do.

Standard: a Deployment and a Service NAME-predictor; the Deployment rolls, and canaryTrafficPercent is
ignored. Knative: a Deployment for each revision and one Service, whose traffic moves to a revision when
that one is available, or is shared with the former one while canaryTrafficPercent is set.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, SERVICE
from continuous_training.adapters.kubernetes.watch import watch
from continuous_training.core.errors import PipelineError
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE
from continuous_training.rollout.kubernetes.manifests import DIGEST_LABEL

_OWN = {"minReplicas", "maxReplicas", "canaryTrafficPercent", "deploymentStrategy", "labels", "annotations"}
_COMPONENT = "serving.kserve.io/inferenceservice"


class Controller:
    """Reconciles the InferenceServices of one namespace until it is told to end.

    `spoilt` has images for the pods of some InferenceServices, by name and twelve digits of the version.
    """

    def __init__(self, cluster: Cluster, mode: str = "Standard") -> None:
        self.cluster, self.mode, self._end = cluster, mode, threading.Event()
        self.fault: Exception | None = None
        self.spoilt: dict[tuple[str, str], str] = {}

    def run(self) -> None:
        """Reconcile at each change, and every second."""
        for services in watch(self.cluster, INFERENCE_SERVICE, "", seconds=3600, pulse=1):
            if self._end.is_set():
                return
            for service in services:
                try:
                    self._reconcile(service)
                except PipelineError as error:
                    # It went away meanwhile, or changed: the next round sees it as it is then.
                    print(f"controller: {error}")
                except Exception as error:
                    self.fault = error
                    raise

    def end(self) -> None:
        """Let `run` return at its next round."""
        self._end.set()

    def _reconcile(self, service: Object) -> None:
        self._standard(service) if self.mode == "Standard" else self._knative(service)

    def _standard(self, service: Object) -> None:
        name = f"{service['metadata']['name']}-predictor"
        app = {"app": f"isvc.{name}"}
        self.cluster.apply(DEPLOYMENT, self._deployment(service, name, app))
        self._say_ready(service, self._service(service, name, app), {})

    def _knative(self, service: Object) -> None:
        """Keep the newest revision and the one that was rolled out before it."""
        name, predictor = service["metadata"]["name"], service["spec"]["predictor"]
        wanted = f"{name}-predictor-{service['metadata']['labels'][DIGEST_LABEL]}"
        self.cluster.apply(DEPLOYMENT, self._deployment(service, wanted, {"app": name, "revision": wanted}))
        made = self.cluster.find(DEPLOYMENT, f"{_COMPONENT}={name}")
        former = service.get("status", {}).get("rolledOut", wanted)
        newest = next((one for one in made if one["metadata"]["name"] == wanted), None)
        if newest is None:
            # That of a deleted InferenceService of this name is being collected: the next round makes it.
            return
        ready = newest.get("status", {}).get("availableReplicas", 0) >= predictor["minReplicas"]
        shared = bool(predictor.get("canaryTrafficPercent")) and former != wanted
        selector = (
            {"app": name} if shared and ready else {"app": name, "revision": wanted if ready else former}
        )
        if ready and not shared:
            former = wanted
            for one in made:
                if one["metadata"]["name"] != wanted:
                    self.cluster.delete(DEPLOYMENT, one["metadata"]["name"])
        self._say_ready(service, self._service(service, name, selector), {"rolledOut": former})

    def _deployment(self, service: Object, name: str, labels: dict[str, str]) -> Object:
        made = _deployment(service, name, labels)
        spoilt = self.spoilt.get(
            (service["metadata"]["name"], service["metadata"].get("labels", {}).get(DIGEST_LABEL, ""))
        )
        if spoilt:
            made["spec"]["template"]["spec"]["containers"][0] |= {"image": spoilt}
        return made

    def _service(self, service: Object, name: str, selector: dict[str, str]) -> Object:
        port = service["spec"]["predictor"]["containers"][0]["ports"][0]["containerPort"]
        ports = [{"name": "http", "port": 80, "targetPort": port, "protocol": "TCP"}]
        metadata = {"name": name, "ownerReferences": [_owner(service)]}
        return self.cluster.apply(
            SERVICE, {"metadata": metadata, "spec": {"selector": selector, "ports": ports}}
        )

    def _say_ready(self, service: Object, made: Object, more: dict[str, Any]) -> None:
        status = {
            "observedGeneration": service["metadata"]["generation"],
            "deploymentMode": self.mode,
            "address": {
                "url": f"http://{made['metadata']['name']}.{self.cluster.namespace}.svc.cluster.local"
            },
            "url": f"http://{service['metadata']['name']}.example.com",
            "conditions": [{"type": kind, "status": "True"} for kind in ("Ready", "PredictorReady")],
            "modelStatus": {"transitionStatus": "UpToDate", "states": {"targetModelState": "Loaded"}},
            **more,
        }
        if service.get("status") != status:
            _write_status(self.cluster, service, status)


def _deployment(service: Object, name: str, labels: dict[str, str]) -> Object:
    metadata, predictor = service["metadata"], service["spec"]["predictor"]
    labels = {**metadata.get("labels", {}), _COMPONENT: metadata["name"], **labels}
    pod = {key: value for key, value in predictor.items() if key not in _OWN}
    spec = {
        "replicas": predictor["minReplicas"],
        "selector": {"matchLabels": {key: labels[key] for key in labels if key in ("app", "revision")}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    if "deploymentStrategy" in predictor:
        spec["strategy"] = predictor["deploymentStrategy"]
    made = {"name": name, "labels": labels, "ownerReferences": [_owner(service)]}
    return {"metadata": made, "spec": spec}


def _owner(service: Object) -> dict[str, Any]:
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "name": service["metadata"]["name"],
        "uid": service["metadata"]["uid"],
        "controller": True,
    }


def _write_status(cluster: Cluster, service: Object, status: dict[str, Any]) -> None:
    from continuous_training.adapters.kubernetes.transport import APPLY, Request

    name = service["metadata"]["name"]
    body = {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": {"name": name},
        "status": status,
    }
    query = {"fieldManager": "kserve-controller", "force": "true"}
    path = cluster.path(INFERENCE_SERVICE, name, "status")
    cluster.transport.send(Request("PATCH", path, f"write the status of {name}", query, body, APPLY))


@contextmanager
def running(played: Controller) -> Iterator[Controller]:
    """Have the controller run beside the test."""
    thread = threading.Thread(target=played.run, daemon=True)
    thread.start()
    try:
        yield played
    finally:
        played.end()
        thread.join(timeout=30)
        assert not thread.is_alive(), "the controller did not end"
        assert played.fault is None
