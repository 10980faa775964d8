"""Watch objects of the cluster: list them once, then apply the events; list again when the watch expires."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.errors import TRANSIENT, error_of, status_of
from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.adapters.kubernetes.transport import Request

_READ_MARGIN = 10.0
_PAUSE = 0.25
_EXPIRED = TRANSIENT | {410}


def watch(
    cluster: Cluster, resource: Resource, selector: str, seconds: float, interval: float = 2.0
) -> Iterator[list[Object]]:
    """Yield the current objects: at once, after each change, and at least every `interval` seconds.

    Ends after `seconds`. After a lost connection or an expired watch (410), the objects are listed again.
    Raises TransientError if the API server does not come back within the retry budget.
    """
    end = time.monotonic() + seconds
    version = None
    objects: dict[str, Object] = {}
    while True:
        if version is None:
            current, version = cluster.find_with_version(resource, selector)
            objects = {item["metadata"]["name"]: item for item in current}
        yield list(objects.values())
        if time.monotonic() >= end:
            return
        for event in _events(cluster, resource, selector, version, min(interval, end - time.monotonic())):
            version = _apply_event(event, objects)
            if version is None:
                time.sleep(_PAUSE)
                break
            if event["type"] != "BOOKMARK":
                yield list(objects.values())


def _apply_event(event: Object, objects: dict[str, Object]) -> str | None:
    """Update the objects. Return the resource version to continue from, or None after an error."""
    kind, changed = event["type"], event["object"]
    if kind == "ERROR":
        return None
    if kind == "DELETED":
        objects.pop(changed["metadata"]["name"], None)
    elif kind != "BOOKMARK":
        objects[changed["metadata"]["name"]] = changed
    return str(changed["metadata"]["resourceVersion"])


def _events(
    cluster: Cluster, resource: Resource, selector: str, version: str, seconds: float
) -> Iterator[Object]:
    """Yield the events after `version` for about `seconds` (rounded up to whole seconds).

    An event of type ERROR is yielded when the watch ends early, for example because the version expired.
    """
    from urllib3.exceptions import HTTPError  # start-up time: only steps on a cluster need it

    timeout = max(1, math.ceil(seconds))
    query = {
        "watch": "true",
        "labelSelector": selector,
        "resourceVersion": version,
        "timeoutSeconds": str(timeout),
        "allowWatchBookmarks": "true",
    }
    description = f"watch {resource.plural}"
    request = Request("GET", cluster.path(resource), description, query, seconds=timeout + _READ_MARGIN)
    try:
        response = cluster.transport.once(request)
        if response.status != 200:
            status = status_of(response.data)
            if response.status not in _EXPIRED:
                raise error_of(response.status, status, description, cluster.transport.caller)
            # The following list request is retried, and reports the error if the server stays away.
            yield {"type": "ERROR", "object": status}
            return
        yield from _decode_lines(response)
    except HTTPError as error:
        yield {"type": "ERROR", "object": {"message": str(error)}}


def _decode_lines(response: Any) -> Iterator[Object]:
    rest = b""
    try:
        for chunk in response.stream(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines if line)
    finally:
        response.release_conn()
