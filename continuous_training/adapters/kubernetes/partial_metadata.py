"""Whether a kind or an object is there, without a look at what it holds: no Secret is read."""

from __future__ import annotations

import json

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import NotThereError, error_of, status_of
from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.adapters.kubernetes.transport import ANSWER_SECONDS, CONNECT_SECONDS, Request
from continuous_training.core.errors import TransientError

_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


def is_there(cluster: Cluster, resource: Resource, name: str) -> bool:
    """Tell whether the namespace has the object; the server sends its metadata and nothing else.

    ForbiddenError when this caller may not look, TransientError when the server is away.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    transport, what = cluster.transport, f"look for {resource.kind} {name}"
    try:
        transport.api.call_api(
            cluster.path(resource, name),
            "GET",
            header_params={"Accept": _METADATA},
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
        )
    except ApiException as error:
        if error.status == 404:
            return False
        raise error_of(error.status, status_of(error.body), what, transport.who) from None
    except HTTPError as error:
        raise TransientError(f"could not {what}: the API server does not answer ({error})") from None
    return True


def is_known(cluster: Cluster, resource: Resource) -> bool:
    """Tell whether the API server serves this kind in this version; every caller may ask that."""
    path = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.api_version}"
    try:
        answer = cluster.transport.send(Request("GET", path, f"look for the kind {resource.kind}"))
    except NotThereError:
        return False
    return any(known["name"] == resource.plural for known in json.loads(answer.data)["resources"])
