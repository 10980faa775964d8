"""A Kubernetes API server in memory, with the controllers and the model servers that a rollout needs.

The server stores objects as plain JSON and makes every Deployment ready immediately. It answers requests to
model servers with the golden responses of the archive that the Service's selector selects. It does not import
the product, so that every version of the code can be tested with it.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Object = dict[str, Any]
Key = tuple[str, str]
"""The plural name of a kind, and the name of an object."""

NAMESPACE = "models"
SERVED_ANNOTATION = "continuous-training/served"
PLURALS = {
    "v1": ("services", "pods", "configmaps", "secrets", "serviceaccounts", "events"),
    "apps/v1": ("deployments",),
    "autoscaling/v2": ("horizontalpodautoscalers",),
    "policy/v1": ("poddisruptionbudgets",),
    "coordination.k8s.io/v1": ("leases",),
    "serving.kserve.io/v1beta1": ("inferenceservices",),
}
_OBJECT = re.compile(rf"/apis?/(.+)/namespaces/{NAMESPACE}/([a-z]+)(?:/([^/]+))?")
_SERVICE = re.compile(rf"/api/v1/namespaces/{NAMESPACE}/services/http:([^/]+):http/proxy(/.+)")
_POD = re.compile(rf"/api/v1/namespaces/{NAMESPACE}/pods/([^/]+)-0:8080/proxy(/.+)")


class ErrorResponse(Exception):
    """A response with an error status."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status, self.body = status, body


@dataclass
class Api:
    """The objects of the namespace, and the write requests in order.

    `archives` is the folder with the archives of the models. `metrics` is the metrics text of each pod.
    `snapshots` contains all objects after each write request.
    """

    archives: Path
    metrics: str = ""
    objects: dict[Key, Object] = field(default_factory=dict)
    writes: list[Object] = field(default_factory=list)
    snapshots: list[list[Object]] = field(default_factory=list)
    resource_version: int = 0
    url: str = ""

    def load(self, objects: list[Object]) -> None:
        """Replace all objects."""
        self.objects = {(plural_of(item), item["metadata"]["name"]): copy.deepcopy(item) for item in objects}
        versions = [int(item["metadata"]["resourceVersion"]) for item in objects]
        self.resource_version = max(versions, default=0)

    def snapshot(self) -> list[Object]:
        """Return a copy of all objects."""
        return copy.deepcopy(list(self.objects.values()))

    def handle(self, method: str, target: str, body: Any) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and body of the response to a request."""
        address = urlsplit(target)
        path, query = unquote(address.path), {key: v[0] for key, v in parse_qs(address.query).items()}
        if match := _SERVICE.fullmatch(path):
            return self._predict(match[1], match[2], body)
        if match := _POD.fullmatch(path):
            if match[2] == "/metrics":
                return 200, {}, self.metrics
            return self._respond(self.objects["deployments", match[1]], match[2], body)
        if path.endswith("/selfsubjectaccessreviews"):
            return 201, {}, {"status": {"allowed": True}}
        if version := re.fullmatch(r"/apis?/([^/]+(?:/v[^/]+)?)", path):
            return 200, {}, {"resources": [{"name": name} for name in PLURALS.get(version[1], ())]}
        match = _OBJECT.fullmatch(path)
        if match is None:
            raise ErrorResponse(404, {"kind": "Status", "code": 404, "message": f"no {path}"})
        kind, name = match[2], match[3] or ""
        if method == "GET":
            return self._read(kind, name, query)
        return self._write(method, kind, name, body)

    def _read(self, kind: str, name: str, query: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        if name:
            if (kind, name) not in self.objects:
                raise ErrorResponse(404, {"kind": "Status", "code": 404, "message": f"no {kind} {name}"})
            return 200, {}, self.objects[kind, name]
        if query.get("watch"):
            # The response contains no event, so the client lists the objects again.
            time.sleep(0.05)
            return 200, {}, ""
        selector = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)
        items = (
            self._pods() if kind == "pods" else [item for key, item in self.objects.items() if key[0] == kind]
        )
        items = [item for item in items if selector.items() <= item["metadata"].get("labels", {}).items()]
        return 200, {}, {"items": items, "metadata": {"resourceVersion": str(self.resource_version)}}

    def _write(self, method: str, kind: str, name: str, body: Any) -> tuple[int, dict[str, str], Any]:
        name = name or body["metadata"]["name"]
        existing = self.objects.get((kind, name))
        if method == "POST" and existing is not None:
            raise ErrorResponse(409, {"kind": "Status", "code": 409, "reason": "AlreadyExists"})
        if method == "DELETE":
            if existing is None:
                raise ErrorResponse(404, {"kind": "Status", "code": 404, "message": f"no {kind} {name}"})
            self._record_write(method, kind, name, None)
            self._delete(kind, name)
            return 200, {}, {"kind": "Status", "status": "Success"}
        if method == "PUT" and existing is None:
            raise ErrorResponse(404, {"kind": "Status", "code": 404, "message": f"no {kind} {name}"})
        is_renewal = kind == "leases" and existing is not None and _holder(existing) == _holder(body)
        stored = self._store(kind, name, body, existing)
        if not is_renewal:
            self._record_write(method, kind, name, body)
        return 200, {}, stored

    def _record_write(self, method: str, kind: str, name: str, body: Any) -> None:
        self.writes.append({"method": method, "object": f"{kind}/{name}", "body": copy.deepcopy(body)})
        self.snapshots.append(self.snapshot())

    def _store(self, kind: str, name: str, body: Object, existing: Object | None) -> Object:
        self.resource_version += 1
        metadata = (existing or {}).get("metadata", {})
        stored = copy.deepcopy(body)
        changed = existing is None or existing.get("spec") != body.get("spec")
        stored["metadata"] |= {
            "namespace": NAMESPACE,
            "uid": metadata.get("uid", f"uid-of-{kind}-{name}-{self.resource_version}"),
            "resourceVersion": str(self.resource_version),
            "generation": metadata.get("generation", 0) + changed,
        }
        self.objects[kind, name] = stored
        if kind == "deployments":
            _make_ready(stored)
        elif kind == "inferenceservices":
            self._reconcile(stored)
        return stored

    def _delete(self, kind: str, name: str) -> None:
        deleted = self.objects.pop((kind, name))
        for other_kind, other_name in list(self.objects):
            owners = (
                self.objects[other_kind, other_name]["metadata"].get("ownerReferences", [])
                if (other_kind, other_name) in self.objects
                else []
            )
            if any(owner["uid"] == deleted["metadata"]["uid"] for owner in owners):
                self._delete(other_kind, other_name)

    def _reconcile(self, service: Object) -> None:
        """Create the objects that KServe creates for an InferenceService in Standard mode."""
        metadata, predictor = service["metadata"], service["spec"]["predictor"]
        name = f"{metadata['name']}-predictor"
        predictor_only = ("minReplicas", "maxReplicas", "canaryTrafficPercent", "deploymentStrategy")
        pod = {key: value for key, value in predictor.items() if key not in predictor_only}
        labels = {**metadata["labels"], "app": f"isvc.{name}"}
        labels["serving.kserve.io/inferenceservice"] = metadata["name"]
        owner = {"kind": "InferenceService", "name": metadata["name"], "uid": metadata["uid"]}
        metadata_of_deployment = {
            "name": name,
            "labels": labels,
            "ownerReferences": [owner],
            "annotations": metadata["annotations"],
        }
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata_of_deployment,
            "spec": {
                "replicas": predictor["minReplicas"],
                "selector": {"matchLabels": {"app": labels["app"]}},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }
        self._store("deployments", name, deployment, self.objects.get(("deployments", name)))
        service_object = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "ownerReferences": [owner]},
            "spec": {"selector": {"app": labels["app"]}},
        }
        self._store("services", name, service_object, self.objects.get(("services", name)))
        service["status"] = {
            "deploymentMode": "Standard",
            "address": {"url": f"http://{name}.{NAMESPACE}.svc.cluster.local"},
            "conditions": [{"type": "Ready", "status": "True"}],
        }

    def _pods(self) -> list[Object]:
        """Return one pod for each Deployment."""
        return [
            {
                "metadata": {"name": f"{name}-0", "uid": f"pod-of-{name}", "labels": _pod_labels(item)},
                "status": {"phase": "Running", "podIP": "10.0.0.1"},
            }
            for (kind, name), item in self.objects.items()
            if kind == "deployments"
        ]

    def _predict(self, service: str, path: str, request: Any) -> tuple[int, dict[str, str], Any]:
        """Return the response of the model server that the Service's selector selects."""
        service_object = self.objects.get(("services", service))
        selector = service_object["spec"]["selector"] if service_object else {}
        for (kind, _), item in self.objects.items():
            if kind == "deployments" and selector and selector.items() <= _pod_labels(item).items():
                break
        else:
            raise ErrorResponse(
                503, {"kind": "Status", "code": 503, "message": f"no endpoints for {service}"}
            )
        return self._respond(item, path, request)

    def _respond(self, deployment: Object, path: str, request: Any) -> tuple[int, dict[str, str], Any]:
        """Return the response of a pod of a Deployment."""
        digest = deployment["metadata"]["annotations"][SERVED_ANNOTATION]
        model = path.split("/")[2]
        with zipfile.ZipFile(self.archives / model / f"{digest}.mar") as archive:
            golden = json.loads(archive.read("archive.json"))["golden"]
            version = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]["modelVersion"]
        if path.startswith("/predictions/"):
            if path.split("/")[3:] not in ([], [version]):
                raise ErrorResponse(
                    404, {"code": 404, "type": "ModelVersionNotFoundException", "message": "no"}
                )
            headers = {}
        else:
            headers = {"X-Model-Digest": digest}
        response = next(row["answer"] for row in golden if row["request"] == request)
        return 200, headers, response


def plural_of(item: Object) -> str:
    """Return the plural name of an object's kind."""
    kind = item["kind"].lower()
    return {"poddisruptionbudget": "poddisruptionbudgets"}.get(kind, f"{kind}s")


def _holder(lease: Object) -> Any:
    return lease["spec"].get("holderIdentity")


def _pod_labels(deployment: Object) -> dict[str, str]:
    return dict(deployment["spec"]["template"]["metadata"]["labels"])


def _make_ready(deployment: Object) -> None:
    replicas = deployment["spec"]["replicas"]
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    generation = deployment["metadata"]["generation"]
    deployment["status"] = {"observedGeneration": generation, **dict.fromkeys(counts, replicas)}


@contextmanager
def serve(api: Api) -> Iterator[Api]:
    """Serve the API on a free port of 127.0.0.1."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(data) if data else None
            try:
                if "watch=true" in self.path:
                    status, headers, content = api.handle(self.command, self.path, body)
                else:
                    with lock:
                        status, headers, content = api.handle(self.command, self.path, body)
            except ErrorResponse as error:
                status, headers, content = error.status, {}, error.body
            payload = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            for key, value in {"content-type": "application/json", **headers}.items():
                self.send_header(key, value)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = respond  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kubeconfig(api: Api, path: Path) -> Path:
    """Write a kubeconfig file for the API, and return its path."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": api.url}}],
        "users": [{"name": "test", "user": {"token": "token-of-the-test"}}],
        "contexts": [
            {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": NAMESPACE}}
        ],
        "current-context": "test",
    }
    path.write_text(json.dumps(config))
    return path
