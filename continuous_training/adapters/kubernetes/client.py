"""Read, apply and delete objects of a Kubernetes cluster as dictionaries, and read the logs of pods."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from continuous_training.adapters.kubernetes.errors import NotThereError, RefusedError
from continuous_training.adapters.kubernetes.resources import ACCESS_REVIEW, POD, Resource
from continuous_training.adapters.kubernetes.transport import APPLY, MERGE, Request, Transport
from continuous_training.core.progress import Progress

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Object = dict[str, Any]

FIELD_MANAGER = "continuous-training"
RETRY_BUDGET = 120.0
"""Seconds within which a request is retried. The upgrade of an API server takes less."""


class Cluster:
    """An API server and one of its namespaces. `in_pod` is true if this process runs in that cluster.

    All requests raise TransientError if the server does not answer within the retry budget, and the errors
    of errors.py if it refuses the request.
    """

    def __init__(
        self,
        api: ApiClient,
        namespace: str,
        in_pod: bool = False,
        caller: str = "this user",
        progress: Progress = lambda _: None,
        retry_budget: float = RETRY_BUDGET,
    ) -> None:
        self.transport = Transport(api, caller, progress, retry_budget)
        self.namespace, self.in_pod = namespace, in_pod

    def with_retry_budget(self, seconds: float) -> Cluster:
        """Return the same cluster with another retry budget."""
        transport = self.transport
        return Cluster(
            transport.api, self.namespace, self.in_pod, transport.caller, transport.progress, seconds
        )

    def in_namespace(self, namespace: str) -> Cluster:
        """Return the same cluster with another namespace."""
        copy = self.with_retry_budget(self.transport.retry_budget)
        copy.namespace = namespace
        return copy

    def get(self, resource: Resource, name: str) -> Object | None:
        """Return the object, or None if it does not exist."""
        try:
            return self._send("GET", self.path(resource, name), f"get {resource.kind} {name}")
        except NotThereError:
            return None

    def find(self, resource: Resource, selector: str = "", fields: str = "") -> list[Object]:
        """Return the namespace's objects with these labels and fields (`a=b,c=d`)."""
        return self.find_with_version(resource, selector, fields)[0]

    def find_with_version(
        self, resource: Resource, selector: str = "", fields: str = ""
    ) -> tuple[list[Object], str]:
        """Return the objects, and the resource version to start a watch from."""
        query = {"labelSelector": selector, "fieldSelector": fields}
        response = self._send("GET", self.path(resource), f"list {resource.plural}", query)
        return response.get("items") or [], str(response["metadata"]["resourceVersion"])

    def apply(self, resource: Resource, manifest: Object, dry_run: bool = False) -> Object:
        """Apply the manifest (server-side apply). Return the object.

        Fields that an earlier apply set and the manifest does not contain are removed; fields of other
        managers stay. With `dry_run` the server validates the manifest and changes nothing.
        """
        name = manifest["metadata"]["name"]
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "dryRun": "All" if dry_run else ""}
        description = f"apply {resource.kind} {name}"
        body = self._with_type(resource, manifest)
        return self._send("PATCH", self.path(resource, name), description, query, body, APPLY, (409,))

    def create(self, resource: Resource, manifest: Object) -> Object:
        """Create the object. Raises ConflictError if an object with that name exists.

        After a lost connection, that may be the object that this call created.
        """
        name = manifest["metadata"].get("name") or manifest["metadata"].get("generateName")
        query = {"fieldManager": FIELD_MANAGER}
        description = f"create {resource.kind} {name}"
        return self._send(
            "POST", self.path(resource), description, query, self._with_type(resource, manifest)
        )

    def replace(self, resource: Resource, manifest: Object) -> Object:
        """Replace an object that was read. Raises ConflictError if it has been changed since."""
        name = manifest["metadata"]["name"]
        query = {"fieldManager": FIELD_MANAGER}
        description = f"replace {resource.kind} {name}"
        return self._send(
            "PUT", self.path(resource, name), description, query, self._with_type(resource, manifest)
        )

    def annotate(self, resource: Resource, name: str, annotations: Mapping[str, str]) -> None:
        """Set annotations of an object, and change nothing else. Raises NotThereError if it is missing."""
        body = {"metadata": {"annotations": dict(annotations)}}
        query = {"fieldManager": FIELD_MANAGER}
        self._send(
            "PATCH", self.path(resource, name), f"annotate {resource.kind} {name}", query, body, MERGE, (409,)
        )

    def delete(self, resource: Resource, name: str) -> None:
        """Delete the object and, in the background, its dependents. No effect if it does not exist."""
        body = {"propagationPolicy": "Background"}
        with suppress(NotThereError):
            self._send("DELETE", self.path(resource, name), f"delete {resource.kind} {name}", body=body)

    def allowed(self, verb: str, resource: Resource, subresource: str = "", name: str = "") -> bool:
        """Return whether this caller has a permission in the namespace (SelfSubjectAccessReview)."""
        attributes = {
            "namespace": self.namespace if resource.namespaced else "",
            "verb": verb,
            "group": resource.group,
            "resource": resource.plural,
            "subresource": subresource,
            "name": name,
        }
        review = {"spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}}}
        description = f"check whether it may {verb} {resource.plural}"
        body = self._with_type(ACCESS_REVIEW, review)
        return bool(self._send("POST", self.path(ACCESS_REVIEW), description, body=body)["status"]["allowed"])

    def logs(self, pod: str, container: str = "", lines: int = 20, previous: bool = False) -> list[str]:
        """Return the last log lines of a container, or of its previous run; empty if there is no log."""
        query = {"tailLines": str(lines), "previous": "true" if previous else "", "container": container}
        path = self.path(POD, pod, "log")
        try:
            response = self.transport.send(Request("GET", path, f"read the log of pod {pod}", query))
        except (NotThereError, RefusedError):
            return []
        return list(response.data.decode(errors="replace").splitlines())

    def follow_logs(self, pod: str, container: str = "") -> Iterator[str]:
        """Yield the log lines of a container until it ends or the connection is lost."""
        from urllib3.exceptions import HTTPError  # start-up time: only steps on a cluster need it

        path, query = self.path(POD, pod, "log"), {"follow": "true", "container": container}
        response = self.transport.send(
            Request("GET", path, f"follow the log of pod {pod}", query, seconds=None)
        )
        rest = b""
        try:
            with suppress(HTTPError):
                for chunk in response.stream(4096):
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield from (line.decode(errors="replace") for line in lines)
        finally:
            response.close()
        if rest:
            yield rest.decode(errors="replace")

    def path(self, resource: Resource, name: str = "", subresource: str = "") -> str:
        """Return the path of objects in this namespace."""
        return resource.path(self.namespace, name, subresource)

    @staticmethod
    def _with_type(resource: Resource, manifest: Object) -> Object:
        return {"apiVersion": resource.api_version, "kind": resource.kind, **manifest}

    def _send(
        self,
        method: str,
        path: str,
        description: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        retried: tuple[int, ...] = (),
    ) -> Object:
        request = Request(method, path, description, query or {}, body, content_type, retried)
        return dict(json.loads(self.transport.send(request).data))
