"""A simulation of KServe's controller, based on its observed behaviour.

The condition Ready is always true, also without ready pods. Each InferenceService gets a finalizer, which is
removed `deletion_seconds` after its deletion. A container without a CPU limit gets the limit 1, as KServe's
defaulting webhook adds it. A new InferenceService has a harmless warning. An error, such as a Deployment that
the API server rejects, becomes an event on the InferenceService.

In Standard mode it creates a Deployment and a Service NAME-predictor. The Deployment makes rolling updates,
and canaryTrafficPercent is ignored. The pods have the annotations of the InferenceService, so a change of an
annotation replaces them. The annotation `stop` removes the Deployment and the Service.

In Knative mode it creates one Service, and a Deployment for each revision. The traffic moves to a revision
when the revision is available. With canaryTrafficPercent, the revision and the previous revision share the
traffic.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ConflictError, NotThereError, RefusedError
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, EVENT, SERVICE
from continuous_training.adapters.kubernetes.transport import APPLY, Request
from continuous_training.adapters.kubernetes.watch import watch
from continuous_training.core.errors import PipelineError
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE, STOP_ANNOTATION
from continuous_training.rollout.kubernetes.serving_objects import DIGEST_LABEL, Manifest

_PREDICTOR_ONLY_KEYS = {
    "minReplicas",
    "maxReplicas",
    "canaryTrafficPercent",
    "deploymentStrategy",
    "labels",
    "annotations",
}
_SERVICE_LABEL = "serving.kserve.io/inferenceservice"
_MAX_SECONDS = 3600
_FINALIZER = "inferenceservice.finalizers"


class SimulatedController:
    """Reconciles the InferenceServices of one namespace.

    `image_overrides` replaces the image of the pods of an InferenceService. Its keys are the name and the
    first twelve digits of the version's digest. `is_paused` stops all
    reconciliation, as if the controller did not run. Without `is_knative_installed`, it rejects the Knative
    mode, as KServe does.
    """

    def __init__(self, cluster: Cluster, mode: str = "Standard") -> None:
        self.cluster, self.mode, self._stop = cluster, mode, threading.Event()
        self.defect: Exception | None = None
        self.image_overrides: dict[tuple[str, str], str] = {}
        self.is_paused, self.deletion_seconds = False, 0.5
        self.is_knative_installed = True
        self._deletions: dict[str, float] = {}

    @contextmanager
    def run_in_background(self) -> Iterator[None]:
        """Run the controller in a thread during the block."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=30)
            assert not thread.is_alive(), "the controller did not stop"
            for service in self.cluster.find(INFERENCE_SERVICE):
                # Otherwise the namespace could not be deleted.
                self._set_finalizers(service, [])
            assert self.defect is None

    def _run(self) -> None:
        """Reconcile at each change, and every second."""
        for services in watch(self.cluster, INFERENCE_SERVICE, "", seconds=_MAX_SECONDS, interval=1):
            if self._stop.is_set():
                return
            for service in [] if self.is_paused else services:
                try:
                    self._reconcile(service)
                except RefusedError as error:
                    self._report(service, "InternalError", f"fails to reconcile predictor: {error}")
                except PipelineError as error:
                    # The object was deleted or changed: the next round uses its new state.
                    print(f"controller: {error}")
                except Exception as error:
                    self.defect = error
                    raise

    def _reconcile(self, service: Manifest) -> None:
        metadata = service["metadata"]
        if "deletionTimestamp" in metadata:
            start = self._deletions.setdefault(metadata["uid"], time.monotonic())
            if time.monotonic() - start >= self.deletion_seconds:
                self._set_finalizers(service, [])
            return
        if _FINALIZER not in metadata.get("finalizers", []):
            self._set_finalizers(service, [_FINALIZER])
            self._report(service, "InternalError", "the object has been modified; please apply your changes")
        if self.mode == "Standard":
            self._reconcile_standard(service)
        elif not self.is_knative_installed:
            message = (
                "It is not possible to use Knative deployment mode when Knative Services are not available"
            )
            self._report(service, "ServerlessModeRejected", message)
        else:
            self._reconcile_knative(service)

    def _set_finalizers(self, service: Manifest, finalizers: list[str]) -> None:
        path = self.cluster.path(INFERENCE_SERVICE, service["metadata"]["name"])
        body = {"metadata": {"finalizers": finalizers, "uid": service["metadata"]["uid"]}}
        request = Request("PATCH", path, "set finalizers", {}, body, "application/merge-patch+json")
        with suppress(NotThereError, ConflictError):
            self.cluster.transport.send(request)

    def _report(self, service: Manifest, reason: str, message: str) -> None:
        """Create an event on the InferenceService, as KServe does."""
        metadata = service["metadata"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "metadata": {"generateName": f"{metadata['name']}."},
            "involvedObject": {
                "apiVersion": INFERENCE_SERVICE.api_version,
                "kind": INFERENCE_SERVICE.kind,
                "namespace": self.cluster.namespace,
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "reason": reason,
            "message": message,
            "type": "Warning",
            "source": {"component": "v1beta1Controllers"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self.cluster.create(EVENT, event)

    def _reconcile_standard(self, service: Manifest) -> None:
        name = f"{service['metadata']['name']}-predictor"
        if service["metadata"].get("annotations", {}).get(STOP_ANNOTATION) == "true":
            for resource in (DEPLOYMENT, SERVICE):
                self.cluster.delete(resource, name)
            return
        selector = {"app": f"isvc.{name}"}
        self.cluster.apply(DEPLOYMENT, self._deployment(service, name, selector))
        self._update_status(service, self._apply_service(service, name, selector), {})

    def _reconcile_knative(self, service: Manifest) -> None:
        """Keep the latest revision and the revision that was rolled out before it."""
        name, predictor = service["metadata"]["name"], service["spec"]["predictor"]
        revision = f"{name}-predictor-{service['metadata']['labels'][DIGEST_LABEL]}"
        labels = {"app": name, "revision": revision}
        self.cluster.apply(DEPLOYMENT, self._deployment(service, revision, labels))
        deployments = {
            deployment["metadata"]["name"]: deployment
            for deployment in self.cluster.find(DEPLOYMENT, f"{_SERVICE_LABEL}={name}")
        }
        if revision not in deployments:
            # The Deployment of a deleted InferenceService with this name is being deleted: retry later.
            return
        rolled_out = service.get("status", {}).get("rolledOut", revision)
        available = deployments[revision].get("status", {}).get("availableReplicas", 0)
        is_ready = available >= predictor["minReplicas"]
        is_canary = bool(predictor.get("canaryTrafficPercent")) and rolled_out != revision
        selector = {"app": name}
        if not (is_canary and is_ready):
            selector["revision"] = revision if is_ready else rolled_out
        if is_ready and not is_canary:
            rolled_out = revision
            for other in deployments.keys() - {revision}:
                self.cluster.delete(DEPLOYMENT, other)
        self._update_status(service, self._apply_service(service, name, selector), {"rolledOut": rolled_out})

    def _deployment(self, service: Manifest, name: str, selector: dict[str, str]) -> Manifest:
        metadata, predictor = service["metadata"], service["spec"]["predictor"]
        labels = {**metadata.get("labels", {}), _SERVICE_LABEL: metadata["name"], **selector}
        annotations = metadata.get("annotations", {})
        pod = {key: value for key, value in predictor.items() if key not in _PREDICTOR_ONLY_KEYS}
        image = self.image_overrides.get((metadata["name"], labels.get(DIGEST_LABEL, "")))
        if image:
            pod["containers"] = [{**pod["containers"][0], "image": image}, *pod["containers"][1:]]
        pod["containers"] = list(map(_with_default_limit, pod["containers"]))
        spec = {
            "replicas": predictor["minReplicas"],
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
        }
        if "deploymentStrategy" in predictor:
            spec["strategy"] = predictor["deploymentStrategy"]
        return {
            "metadata": {"name": name, "labels": labels, "ownerReferences": [_owner_reference(service)]},
            "spec": spec,
        }

    def _apply_service(self, service: Manifest, name: str, selector: dict[str, str]) -> Manifest:
        port = service["spec"]["predictor"]["containers"][0]["ports"][0]["containerPort"]
        ports = [{"name": "http", "port": 80, "targetPort": port, "protocol": "TCP"}]
        metadata = {"name": name, "ownerReferences": [_owner_reference(service)]}
        return self.cluster.apply(
            SERVICE, {"metadata": metadata, "spec": {"selector": selector, "ports": ports}}
        )

    def _update_status(self, service: Manifest, applied: Manifest, fields: dict[str, Any]) -> None:
        name, host = service["metadata"]["name"], applied["metadata"]["name"]
        status = {
            "observedGeneration": service["metadata"]["generation"],
            "deploymentMode": self.mode,
            "address": {"url": f"http://{host}.{self.cluster.namespace}.svc.cluster.local"},
            "url": f"http://{name}.example.com",
            "conditions": [{"type": kind, "status": "True"} for kind in ("Ready", "PredictorReady")],
            "modelStatus": {"transitionStatus": "UpToDate", "states": {"targetModelState": "Loaded"}},
            **fields,
        }
        if service.get("status") == status:
            return
        body = {
            "apiVersion": INFERENCE_SERVICE.api_version,
            "kind": INFERENCE_SERVICE.kind,
            "metadata": {"name": name},
            "status": status,
        }
        query = {"fieldManager": "kserve-controller", "force": "true"}
        path = self.cluster.path(INFERENCE_SERVICE, name, "status")
        action = f"write the status of {name}"
        self.cluster.transport.send(Request("PATCH", path, action, query, body, APPLY))


def _with_default_limit(container: Manifest) -> Manifest:
    resources = container.get("resources", {})
    limits = {"cpu": "1", **resources.get("limits", {})}
    return {**container, "resources": {**resources, "limits": limits}}


def _owner_reference(service: Manifest) -> Manifest:
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "name": service["metadata"]["name"],
        "uid": service["metadata"]["uid"],
        "controller": True,
    }
