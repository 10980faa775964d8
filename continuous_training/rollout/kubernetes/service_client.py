"""Requests to the model servers of a cluster.

A process in the cluster uses the cluster's DNS and network. Any other process uses the proxy of the API
server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import requests
from urllib3.exceptions import HTTPError

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import NotThereError, error_of, status_of
from continuous_training.adapters.kubernetes.transport import Request
from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.rollout.kubernetes.serving_objects import Manifest

CONNECT_TIMEOUT, RESPONSE_TIMEOUT, METRICS_TIMEOUT = 5.0, 60.0, 5.0
"""Seconds."""

PORT = 8080

_UNAVAILABLE = (502, 503, 504)


@dataclass(frozen=True)
class ServiceResponse:
    """An HTTP response of any status. The names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the decoded body of a successful response.

        Raises TransientError if the server is unavailable, and PipelineError for another status or if the
        body is not JSON.
        """
        try:
            content = json.loads(self.body)
        except ValueError:
            content = None
        if self.status == 200 and content is not None:
            return content
        reason = content.get("error") or content.get("message") if isinstance(content, dict) else None
        message = f"HTTP {self.status}: {reason or self.body[:200].decode(errors='replace')}"
        raise (TransientError if self.status in _UNAVAILABLE else PipelineError)(message)


class ServiceClient(Protocol):
    """Sends requests to Services and pods of one namespace, each over a connection of its own.

    A persistent connection would stay with its pod after the Service has moved to other pods.
    """

    def post(self, address: str, path: str, body: Any) -> ServiceResponse:
        """Send a JSON request to an address inside the cluster (`http://SERVICE.NAMESPACE.svc...`).

        Raises TransientError if there is no response.
        """

    def post_to_pod(self, pod: Manifest, path: str, body: Any) -> ServiceResponse:
        """Send a JSON request to a pod. Raises TransientError if there is no response."""

    def metrics(self, pod: Manifest) -> str | None:
        """Return the metrics of a pod in Prometheus's text format, or None if it does not respond."""


class InClusterClient:
    """Uses the DNS and the network of the cluster."""

    def post(self, address: str, path: str, body: Any) -> ServiceResponse:
        """Send the request to exactly this host name, by which Knative routes requests."""
        url = f"{address}{path}"
        try:
            response = requests.post(
                url,
                json=body,
                headers={"connection": "close"},
                timeout=(CONNECT_TIMEOUT, RESPONSE_TIMEOUT),
                proxies={"http": ""},
            )
        except requests.exceptions.RequestException as error:
            raise TransientError(f"{url} does not respond: {error}") from None
        return ServiceResponse(response.status_code, _lower_case(response.headers), response.content)

    def post_to_pod(self, pod: Manifest, path: str, body: Any) -> ServiceResponse:
        """Send the request to the pod's IP address."""
        address = _pod_address(pod)
        if address is None:
            raise TransientError(f"pod {pod['metadata']['name']} has no address")
        return self.post(address, path, body)

    def metrics(self, pod: Manifest) -> str | None:
        """Read the metrics from the pod's IP address."""
        address = _pod_address(pod)
        if address is None:
            return None
        try:
            response = requests.get(f"{address}/metrics", timeout=METRICS_TIMEOUT, proxies={"http": ""})
        except requests.exceptions.RequestException:
            return None
        return response.text if response.status_code == 200 else None


class ApiServerProxyClient:
    """Uses the proxy of the API server, with the permissions of the kubeconfig."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def post(self, address: str, path: str, body: Any) -> ServiceResponse:
        """Send the request to the Service that the first label of the host name names."""
        service = (urlsplit(address).hostname or "").partition(".")[0]
        root = f"/api/v1/namespaces/{self.cluster.namespace}/services/http:{quote(service)}:http/proxy"
        return self._send(
            Request("POST", root + path, f"send a request to {service}", body=body, seconds=RESPONSE_TIMEOUT)
        )

    def post_to_pod(self, pod: Manifest, path: str, body: Any) -> ServiceResponse:
        """Send the request to the pod."""
        action = f"send a request to pod {pod['metadata']['name']}"
        request = Request("POST", self._pod_path(pod) + path, action, body=body, seconds=RESPONSE_TIMEOUT)
        return self._send(request)

    def metrics(self, pod: Manifest) -> str | None:
        """Read the metrics of the pod."""
        if not pod.get("status", {}).get("podIP"):
            return None
        path = f"{self._pod_path(pod)}/metrics"
        try:
            response = self._send(Request("GET", path, "read metrics", seconds=METRICS_TIMEOUT))
        except TransientError:
            return None
        return response.body.decode(errors="replace") if response.status == 200 else None

    def _pod_path(self, pod: Manifest) -> str:
        name = pod["metadata"]["name"]
        return f"/api/v1/namespaces/{self.cluster.namespace}/pods/{name}:{PORT}/proxy"

    def _send(self, request: Request) -> ServiceResponse:
        try:
            response = self.cluster.transport.once(request)
            body = response.data if isinstance(response.data, bytes) else str(response.data).encode()
        except HTTPError as error:
            raise TransientError(f"the API server does not respond: {error}") from None
        if response.status >= 400 and (status := status_of(body)).get("kind") == "Status":
            # The API server itself responded, not the model server. It may not know a new Service yet.
            failure = error_of(response.status, status, request.description, self.cluster.transport.caller)
            raise TransientError(str(failure)) if isinstance(failure, NotThereError) else failure
        return ServiceResponse(response.status, _lower_case(response.headers), body)


def _pod_address(pod: Manifest) -> str | None:
    address = pod.get("status", {}).get("podIP")
    if not address:
        return None
    return f"http://[{address}]:{PORT}" if ":" in address else f"http://{address}:{PORT}"


def _lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def open_service_client(cluster: Cluster) -> ServiceClient:
    """Return the client for the environment of this process."""
    return InClusterClient() if cluster.in_pod else ApiServerProxyClient(cluster)
