"""Objects of a Kubernetes cluster, as plain dictionaries: read, applied, deleted; and the logs of pods."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from continuous_training.adapters.kubernetes.errors import NotThereError, RefusedError
from continuous_training.adapters.kubernetes.resources import ACCESS_REVIEW, POD, Resource
from continuous_training.adapters.kubernetes.transport import APPLY, Request, Transport

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Object = dict[str, Any]

FIELD_MANAGER = "continuous-training"
PATIENCE = 120.0
"""Seconds for which a request is tried again: an API server that is upgraded is away for less."""


class Cluster:
    """An API server and one namespace in it; `in_pod` tells that this process runs in that cluster.

    Whatever it is asked, it raises TransientError when the server is not there for PATIENCE seconds, and
    what `errors` has when the server will not do it.
    """

    def __init__(
        self,
        api: ApiClient,
        namespace: str,
        in_pod: bool = False,
        who: str = "this user",
        say: Callable[[str], None] = lambda _: None,
        patience: float = PATIENCE,
    ) -> None:
        self.transport = Transport(api, who, say, patience)
        self.namespace, self.in_pod = namespace, in_pod

    def patient(self, seconds: float) -> Cluster:
        """Return the same cluster, with another patience."""
        transport = self.transport
        return Cluster(transport.api, self.namespace, self.in_pod, transport.who, transport.say, seconds)

    def get(self, resource: Resource, name: str) -> Object | None:
        """Return the object, or None when there is none."""
        try:
            return self._ask("GET", self.path(resource, name), f"get {resource.kind} {name}")
        except NotThereError:
            return None

    def find(self, resource: Resource, selector: str = "", fields: str = "") -> list[Object]:
        """Return the namespace's objects with these labels and fields, each written as `a=b,c=d`."""
        return self.find_with_version(resource, selector, fields)[0]

    def find_with_version(
        self, resource: Resource, selector: str = "", fields: str = ""
    ) -> tuple[list[Object], str]:
        """Return the objects, and the resource version from which a watch of them goes on."""
        query = {"labelSelector": selector, "fieldSelector": fields}
        listed = self._ask("GET", self.path(resource), f"list {resource.plural}", query)
        return listed.get("items") or [], str(listed["metadata"]["resourceVersion"])

    def apply(self, resource: Resource, manifest: Object, dry_run: bool = False) -> Object:
        """Make the object's fields be the manifest's, by server-side apply; returns the object.

        Fields that an earlier apply set and this one does not name are removed; those of others stay.
        `dry_run` has the server check all of it and change nothing.
        """
        name = manifest["metadata"]["name"]
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "dryRun": "All" if dry_run else ""}
        what = f"apply {resource.kind} {name}"
        body = self._whole(resource, manifest)
        return self._ask("PATCH", self.path(resource, name), what, query, body, APPLY, (409,))

    def create(self, resource: Resource, manifest: Object) -> Object:
        """Create the object; ConflictError when there is one of its name.

        After a lost connection that may be the object that this very call has made.
        """
        name = manifest["metadata"].get("name") or manifest["metadata"].get("generateName")
        query = {"fieldManager": FIELD_MANAGER}
        what = f"create {resource.kind} {name}"
        return self._ask("POST", self.path(resource), what, query, self._whole(resource, manifest))

    def replace(self, resource: Resource, manifest: Object) -> Object:
        """Replace the object that was read; ConflictError when somebody has changed it since."""
        name = manifest["metadata"]["name"]
        query = {"fieldManager": FIELD_MANAGER}
        what = f"replace {resource.kind} {name}"
        return self._ask("PUT", self.path(resource, name), what, query, self._whole(resource, manifest))

    def delete(self, resource: Resource, name: str) -> None:
        """Delete the object, and in the background what it owns; nothing happens when there is none."""
        body = {"propagationPolicy": "Background"}
        with suppress(NotThereError):
            self._ask("DELETE", self.path(resource, name), f"delete {resource.kind} {name}", body=body)

    def allowed(self, verb: str, resource: Resource, sub: str = "", name: str = "") -> bool:
        """Tell whether this caller may do that in the namespace (SelfSubjectAccessReview)."""
        attributes = {
            "namespace": self.namespace if resource.namespaced else "",
            "verb": verb,
            "group": resource.group,
            "resource": resource.plural,
            "subresource": sub,
            "name": name,
        }
        review = {"spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}}}
        what = f"ask whether it may {verb} {resource.plural}"
        body = self._whole(ACCESS_REVIEW, review)
        return bool(self._ask("POST", self.path(ACCESS_REVIEW), what, body=body)["status"]["allowed"])

    def logs(self, pod: str, container: str = "", lines: int = 20, previous: bool = False) -> list[str]:
        """Return the last log lines of a container, or of its run before; none when there was none."""
        query = {"tailLines": str(lines), "previous": "true" if previous else "", "container": container}
        path = self.path(POD, pod, "log")
        try:
            response = self.transport.send(Request("GET", path, f"read the log of pod {pod}", query))
        except (NotThereError, RefusedError):
            return []
        return response.data.decode(errors="replace").splitlines()

    def follow_logs(self, pod: str, container: str = "") -> Iterator[str]:
        """Yield the log lines of a container as they come, until it ends or the connection is lost."""
        from urllib3.exceptions import HTTPError

        path, query = self.path(POD, pod, "log"), {"follow": "true", "container": container}
        response = self.transport.send(
            Request("GET", path, f"follow the log of pod {pod}", query, seconds=None)
        )
        rest = b""
        try:
            with suppress(HTTPError):
                for part in response.stream(4096):
                    *whole, rest = (rest + part).split(b"\n")
                    yield from (line.decode(errors="replace") for line in whole)
        finally:
            response.close()
        if rest:
            yield rest.decode(errors="replace")

    def path(self, resource: Resource, name: str = "", sub: str = "") -> str:
        """Return the path of objects in this namespace."""
        return resource.path(self.namespace, name, sub)

    @staticmethod
    def _whole(resource: Resource, manifest: Object) -> Object:
        return {"apiVersion": resource.api_version, "kind": resource.kind, **manifest}

    def _ask(
        self,
        method: str,
        path: str,
        what: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        retried: tuple[int, ...] = (),
    ) -> Object:
        request = Request(method, path, what, query or {}, body, content_type, retried)
        return dict(json.loads(self.transport.send(request).data))
