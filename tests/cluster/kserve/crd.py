"""KServe's InferenceService as a kind of the API server that the tests run on.

KServe writes its predictor as a pod's spec with fields of its own beside it. So the schema here is built
from what the server itself says of pods, and is as strict: an unknown field, a wrong type or a list item
without its key is refused, under server-side apply too. The status is the controller's to fill.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from adapters.kubernetes.client import Cluster
from adapters.kubernetes.metadata import is_known
from adapters.kubernetes.resources import Resource
from adapters.kubernetes.transport import Request
from components.deploy_serving.inference_service import INFERENCE_SERVICE

DEFINITION = Resource(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
NAME = f"{INFERENCE_SERVICE.plural}.{INFERENCE_SERVICE.group}"

_INTEGER = {"type": "integer"}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_EITHER = {"io.k8s.apimachinery.pkg.util.intstr.IntOrString", _QUANTITY}


@contextmanager
def installed(cluster: Cluster) -> Iterator[None]:
    """Have the API server know InferenceServices for the while; a KServe that is there stays as it is."""
    known = is_known(cluster, INFERENCE_SERVICE)
    if not known:
        cluster.apply(DEFINITION, definition(cluster))
        end = time.monotonic() + 30
        while not is_known(cluster, INFERENCE_SERVICE):
            assert time.monotonic() < end, "the API server does not take the definition up"
            time.sleep(0.1)
    try:
        yield
    finally:
        if not known:
            cluster.delete(DEFINITION, NAME)


def definition(cluster: Cluster) -> dict[str, Any]:
    """Return the definition, with the pods' schema of this very server."""
    core, apps = (_schemas(cluster, path) for path in ("api/v1", "apis/apps/v1"))
    pod = _structural(core["io.k8s.api.core.v1.PodSpec"], core)
    strategy = _structural(apps["io.k8s.api.apps.v1.DeploymentStrategy"], apps)
    own = {
        "minReplicas": _INTEGER,
        "maxReplicas": _INTEGER,
        "scaleTarget": _INTEGER,
        "scaleMetric": {"type": "string"},
        "containerConcurrency": _INTEGER,
        "timeout": _INTEGER,
        "canaryTrafficPercent": _INTEGER,
        "labels": _TEXTS,
        "annotations": _TEXTS,
        "deploymentStrategy": strategy,
    }
    predictor = {**pod, "properties": {**pod["properties"], **own}}
    spec = {"type": "object", "required": ["predictor"], "properties": {"predictor": predictor}}
    version = {
        "name": INFERENCE_SERVICE.api_version.partition("/")[2],
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": _OPEN}}},
    }
    names = {
        "kind": INFERENCE_SERVICE.kind,
        "listKind": f"{INFERENCE_SERVICE.kind}List",
        "plural": INFERENCE_SERVICE.plural,
        "singular": "inferenceservice",
        "shortNames": ["isvc"],
    }
    return {
        "metadata": {"name": NAME},
        "spec": {
            "group": INFERENCE_SERVICE.group,
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        },
    }


def _schemas(cluster: Cluster, path: str) -> dict[str, Any]:
    answer = cluster.transport.send(Request("GET", f"/openapi/v3/{path}", "read the server's schemas"))
    return dict(json.loads(answer.data)["components"]["schemas"])


def _structural(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a schema as a definition must have it: whole, without references, each part with its type."""
    for reference in (schema, *schema.get("allOf", ())):
        if "$ref" in reference:
            name = reference["$ref"].rpartition("/")[2]
            if name in _EITHER:
                return {"x-kubernetes-int-or-string": True}
            return _structural(schemas[name], schemas)
    kept = {
        key: value
        for key, value in schema.items()
        if key in ("type", "required", "enum") or key.startswith("x-kubernetes-list")
    }
    if "properties" in schema:
        kept["properties"] = {key: _structural(part, schemas) for key, part in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            kept[key] = _structural(schema[key], schemas)
    # An item is known by its key, so that must never be absent.
    for key in set(kept.get("x-kubernetes-list-map-keys", ())) - set(
        kept.get("items", {}).get("required", ())
    ):
        kept["items"]["properties"][key]["default"] = "TCP" if key == "protocol" else ""
    return kept
