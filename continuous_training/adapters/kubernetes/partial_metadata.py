"""Check whether a kind or an object exists, without reading its content, so that no Secret is read."""

from __future__ import annotations

import json

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import NotThereError, error_of, status_of
from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.adapters.kubernetes.transport import ANSWER_SECONDS, CONNECT_SECONDS, Request
from continuous_training.core.errors import TransientError

_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


def is_there(cluster: Cluster, resource: Resource, name: str) -> bool:
    """Return whether the object exists in the namespace. Only its metadata is transferred.

    Raises ForbiddenError if the caller may not read it, and TransientError if the server does not answer.
    """
    # Start-up time: only steps on a cluster need these.
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    transport, description = cluster.transport, f"look for {resource.kind} {name}"
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
        raise error_of(error.status, status_of(error.body), description, transport.caller) from None
    except HTTPError as error:
        raise TransientError(f"could not {description}: the API server does not answer ({error})") from None
    return True


def is_known(cluster: Cluster, resource: Resource) -> bool:
    """Return whether the API server serves this kind in this version. Every caller may request that."""
    path = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.api_version}"
    try:
        response = cluster.transport.send(Request("GET", path, f"look for the kind {resource.kind}"))
    except NotThereError:
        return False
    return any(entry["name"] == resource.plural for entry in json.loads(response.data)["resources"])
