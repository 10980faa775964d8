"""A view of some objects that stays true: listed once, then watched, listed anew when the watch expires."""

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

_SILENCE = 10.0
_PAUSE = 0.25
_CUT_OFF = TRANSIENT | {410}


def watch(
    cluster: Cluster, resource: Resource, selector: str, seconds: float, pulse: float = 2.0
) -> Iterator[list[Object]]:
    """Yield the objects as they are: at once, after each change, and at least every `pulse` seconds.

    Ends after `seconds`. When the connection is lost or the watch has expired (410) they are listed anew,
    so nothing stays wrong; TransientError when the API server stays away.
    """
    end = time.monotonic() + seconds
    version = None
    objects: dict[str, Object] = {}
    while True:
        if version is None:
            listed, version = cluster.find_with_version(resource, selector)
            objects = {one["metadata"]["name"]: one for one in listed}
        yield list(objects.values())
        if time.monotonic() >= end:
            return
        for event in _events(cluster, resource, selector, version, min(pulse, end - time.monotonic())):
            version = _take(event, objects)
            if version is None:
                time.sleep(_PAUSE)
                break
            if event["type"] != "BOOKMARK":
                yield list(objects.values())


def _take(event: Object, objects: dict[str, Object]) -> str | None:
    """Bring the objects up to date; returns where a watch goes on, None when it cannot."""
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
    """Yield what happens within about `seconds` (whole ones, at least one) from `version` on.

    What cuts a watch off, an expired version included, becomes an event of type ERROR.
    """
    from urllib3.exceptions import HTTPError

    patient = max(1, math.ceil(seconds))
    query = {
        "watch": "true",
        "labelSelector": selector,
        "resourceVersion": version,
        "timeoutSeconds": str(patient),
        "allowWatchBookmarks": "true",
    }
    what = f"watch {resource.plural}"
    request = Request("GET", cluster.path(resource), what, query, seconds=patient + _SILENCE)
    try:
        response = cluster.transport.once(request)
        if response.status != 200:
            status = status_of(response.data)
            if response.status not in _CUT_OFF:
                raise error_of(response.status, status, what, cluster.transport.who)
            # The list that comes next is asked for with patience, and tells what is wrong if that ends.
            yield {"type": "ERROR", "object": status}
            return
        yield from _lines(response)
    except HTTPError as error:
        yield {"type": "ERROR", "object": {"message": str(error)}}


def _lines(response: Any) -> Iterator[Object]:
    rest = b""
    try:
        for part in response.stream(65536):
            *whole, rest = (rest + part).split(b"\n")
            yield from (json.loads(line) for line in whole if line)
    finally:
        response.release_conn()
