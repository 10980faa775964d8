"""A Kubernetes API server in memory, with the controllers and the model servers that a rollout needs.

It keeps objects as plain JSON, makes every Deployment ready at once, and answers requests to model servers
with the golden answers of the archive that the Service's selector leads to. It imports nothing of the
product, so that the code of any version can be run against it.
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
SERVED = "continuous-training/served"
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
_POD = re.compile(rf"/api/v1/namespaces/{NAMESPACE}/pods/([^/]+):8080/proxy/metrics")


class Refusal(Exception):
    """An answer with another status than 200."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status, self.body = status, body


@dataclass
class Api:
    """The objects of the namespace, and what was written to them in this order.

    `archives` is the folder with the archives of the models, `metrics` what each pod returns as its metrics.
    """

    archives: Path
    metrics: str = ""
    objects: dict[Key, Object] = field(default_factory=dict)
    writes: list[Object] = field(default_factory=list)
    snapshots: list[list[Object]] = field(default_factory=list)
    numbers: int = 0
    url: str = ""

    def load(self, objects: list[Object]) -> None:
        """Begin with these objects."""
        self.objects = {(plural_of(one), one["metadata"]["name"]): copy.deepcopy(one) for one in objects}
        versions = [int(one["metadata"]["resourceVersion"]) for one in objects]
        self.numbers = max(versions, default=0)

    def snapshot(self) -> list[Object]:
        """Return a copy of all objects."""
        return copy.deepcopy(list(self.objects.values()))

    def handle(self, method: str, target: str, body: Any) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and body of the answer to a request."""
        address = urlsplit(target)
        path, query = unquote(address.path), {key: v[0] for key, v in parse_qs(address.query).items()}
        if found := _SERVICE.fullmatch(path):
            return self._predict(found[1], found[2], body)
        if _POD.fullmatch(path):
            return 200, {}, self.metrics
        if path.endswith("/selfsubjectaccessreviews"):
            return 201, {}, {"status": {"allowed": True}}
        if version := re.fullmatch(r"/apis?/([^/]+(?:/v[^/]+)?)", path):
            return 200, {}, {"resources": [{"name": name} for name in PLURALS.get(version[1], ())]}
        found = _OBJECT.fullmatch(path)
        if found is None:
            raise Refusal(404, {"kind": "Status", "code": 404, "message": f"no {path}"})
        kind, name = found[2], found[3] or ""
        if method == "GET":
            return self._read(kind, name, query)
        return self._write(method, kind, name, body)

    def _read(self, kind: str, name: str, query: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        if name:
            if (kind, name) not in self.objects:
                raise Refusal(404, {"kind": "Status", "code": 404, "message": f"no {kind} {name}"})
            return 200, {}, self.objects[kind, name]
        if query.get("watch"):
            # No event: the client lists again.
            time.sleep(0.05)
            return 200, {}, ""
        wanted = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)
        items = (
            self._pods() if kind == "pods" else [one for key, one in self.objects.items() if key[0] == kind]
        )
        items = [one for one in items if wanted.items() <= one["metadata"].get("labels", {}).items()]
        return 200, {}, {"items": items, "metadata": {"resourceVersion": str(self.numbers)}}

    def _write(self, method: str, kind: str, name: str, body: Any) -> tuple[int, dict[str, str], Any]:
        name = name or body["metadata"]["name"]
        former = self.objects.get((kind, name))
        if method == "POST" and former is not None:
            raise Refusal(409, {"kind": "Status", "code": 409, "reason": "AlreadyExists"})
        if method == "DELETE":
            if former is None:
                raise Refusal(404, {"kind": "Status", "code": 404, "message": f"no {kind} {name}"})
            self._note(method, kind, name, None)
            self._delete(kind, name)
            return 200, {}, {"kind": "Status", "status": "Success"}
        if method == "PUT" and former is None:
            raise Refusal(404, {"kind": "Status", "code": 404, "message": f"no {kind} {name}"})
        renewed = kind == "leases" and former is not None and _holder(former) == _holder(body)
        made = self._store(kind, name, body, former)
        if not renewed:
            self._note(method, kind, name, body)
        return 200, {}, made

    def _note(self, method: str, kind: str, name: str, body: Any) -> None:
        self.writes.append({"method": method, "object": f"{kind}/{name}", "body": copy.deepcopy(body)})
        self.snapshots.append(self.snapshot())

    def _store(self, kind: str, name: str, body: Object, former: Object | None) -> Object:
        self.numbers += 1
        known = (former or {}).get("metadata", {})
        made = copy.deepcopy(body)
        changed = former is None or former.get("spec") != body.get("spec")
        made["metadata"] |= {
            "namespace": NAMESPACE,
            "uid": known.get("uid", f"uid-of-{kind}-{name}-{self.numbers}"),
            "resourceVersion": str(self.numbers),
            "generation": known.get("generation", 0) + changed,
        }
        self.objects[kind, name] = made
        if kind == "deployments":
            _make_ready(made)
        elif kind == "inferenceservices":
            self._reconcile(made)
        return made

    def _delete(self, kind: str, name: str) -> None:
        gone = self.objects.pop((kind, name))
        for other_kind, other in list(self.objects):
            owners = (
                self.objects[other_kind, other]["metadata"].get("ownerReferences", [])
                if (other_kind, other) in self.objects
                else []
            )
            if any(owner["uid"] == gone["metadata"]["uid"] for owner in owners):
                self._delete(other_kind, other)

    def _reconcile(self, service: Object) -> None:
        """Do what KServe does for an InferenceService in Standard mode."""
        metadata, predictor = service["metadata"], service["spec"]["predictor"]
        name = f"{metadata['name']}-predictor"
        own = ("minReplicas", "maxReplicas", "canaryTrafficPercent", "deploymentStrategy")
        pod = {key: value for key, value in predictor.items() if key not in own}
        labels = {**metadata["labels"], "app": f"isvc.{name}"}
        labels["serving.kserve.io/inferenceservice"] = metadata["name"]
        owner = {"kind": "InferenceService", "name": metadata["name"], "uid": metadata["uid"]}
        about = {
            "name": name,
            "labels": labels,
            "ownerReferences": [owner],
            "annotations": metadata["annotations"],
        }
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": about,
            "spec": {
                "replicas": predictor["minReplicas"],
                "selector": {"matchLabels": {"app": labels["app"]}},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }
        self._store("deployments", name, deployment, self.objects.get(("deployments", name)))
        front = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "ownerReferences": [owner]},
            "spec": {"selector": {"app": labels["app"]}},
        }
        self._store("services", name, front, self.objects.get(("services", name)))
        service["status"] = {
            "deploymentMode": "Standard",
            "address": {"url": f"http://{name}.{NAMESPACE}.svc.cluster.local"},
            "conditions": [{"type": "Ready", "status": "True"}],
        }

    def _pods(self) -> list[Object]:
        """Return a pod of each Deployment."""
        return [
            {
                "metadata": {"name": f"{name}-0", "uid": f"pod-of-{name}", "labels": _pod_labels(one)},
                "status": {"phase": "Running", "podIP": "10.0.0.1"},
            }
            for (kind, name), one in self.objects.items()
            if kind == "deployments"
        ]

    def _predict(self, service: str, path: str, request: Any) -> tuple[int, dict[str, str], Any]:
        """Answer as the servers that the Service's selector leads to."""
        front = self.objects.get(("services", service))
        selector = front["spec"]["selector"] if front else {}
        for (kind, _), one in self.objects.items():
            if kind == "deployments" and selector and selector.items() <= _pod_labels(one).items():
                break
        else:
            raise Refusal(503, {"kind": "Status", "code": 503, "message": f"no endpoints for {service}"})
        digest = one["metadata"]["annotations"][SERVED]
        model = path.split("/")[2]
        with zipfile.ZipFile(self.archives / model / f"{digest}.mar") as archive:
            golden = json.loads(archive.read("archive.json"))["golden"]
            version = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]["modelVersion"]
        if path.startswith("/predictions/"):
            if path.split("/")[3:] not in ([], [version]):
                raise Refusal(404, {"code": 404, "type": "ModelVersionNotFoundException", "message": "no"})
            headers = {}
        else:
            headers = {"X-Model-Digest": digest}
        answer = next(row["answer"] for row in golden if row["request"] == request)
        return 200, headers, answer


def plural_of(one: Object) -> str:
    """Return the plural name of an object's kind."""
    kind = one["kind"].lower()
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
    """Have the API listen on a free port of 127.0.0.1."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(data) if data else None
            try:
                if "watch=true" in self.path:
                    status, headers, content = api.handle(self.command, self.path, body)
                else:
                    with lock:
                        status, headers, content = api.handle(self.command, self.path, body)
            except Refusal as refusal:
                status, headers, content = refusal.status, {}, refusal.body
            sent = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            for key, value in {"content-type": "application/json", **headers}.items():
                self.send_header(key, value)
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

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
    """Write a kubeconfig that leads to the API."""
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
