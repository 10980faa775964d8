"""How a deployer asks the model servers of a cluster: by Service DNS from inside, else by the API server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import requests

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.errors import NotThereError, error_of, status_of
from continuous_training.adapters.kubernetes.transport import Request
from continuous_training.core.errors import PipelineError, TransientError

CONNECT_SECONDS, ANSWER_SECONDS, METRICS_SECONDS = 5.0, 60.0, 5.0
PORT = 8080


@dataclass(frozen=True)
class ServiceResponse:
    """What came back, of whatever status; names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the answer; PipelineError when it is an error or no JSON."""
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if self.status == 200 and found is not None:
            return found
        told = found.get("error") or found.get("message") if isinstance(found, dict) else None
        words = f"HTTP {self.status}: {told or self.body[:200].decode(errors='replace')}"
        raise (TransientError if self.status in (502, 503, 504) else PipelineError)(words)


class ServiceClient(Protocol):
    """Reaches Services and pods of one namespace; each request is a connection of its own.

    A connection that is kept would stay with the pod that it once led to, whatever the Service says now.
    """

    def post(self, service: str, path: str, request: Any) -> ServiceResponse:
        """Ask a Service; TransientError when nothing answers."""

    def post_to(self, address: str, path: str, request: Any) -> ServiceResponse:
        """Ask at an address inside the cluster (`http://SERVICE.NAMESPACE...`), as `post` does."""

    def metrics(self, pod: Object) -> str | None:
        """Return a pod's metrics; None when it does not answer."""


class InClusterClient:
    """By the cluster's DNS and network."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def post(self, service: str, path: str, request: Any) -> ServiceResponse:
        """Ask the Service by its name."""
        return self.post_to(f"http://{service}.{self.namespace}.svc", path, request)

    def post_to(self, address: str, path: str, request: Any) -> ServiceResponse:
        """Ask at the address: what routes by names may know no other one."""
        url = f"{address}{path}"
        try:
            response = requests.post(
                url,
                json=request,
                headers={"connection": "close"},
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                proxies={"http": ""},
            )
        except requests.exceptions.RequestException as error:
            raise TransientError(f"{url} does not answer: {error}") from None
        headers = {key.lower(): value for key, value in response.headers.items()}
        return ServiceResponse(response.status_code, headers, response.content)

    def metrics(self, pod: Object) -> str | None:
        """Ask the pod by its address."""
        address = pod.get("status", {}).get("podIP")
        if not address:
            return None
        host = f"[{address}]" if ":" in address else address
        try:
            response = requests.get(
                f"http://{host}:{PORT}/metrics", timeout=METRICS_SECONDS, proxies={"http": ""}
            )
        except requests.exceptions.RequestException:
            return None
        return response.text if response.status_code == 200 else None


class ApiServerProxyClient:
    """By the API server's proxy, with the rights of the kubeconfig."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def post(self, service: str, path: str, request: Any) -> ServiceResponse:
        """Ask the Service through the API server."""
        root = f"/api/v1/namespaces/{self.cluster.namespace}/services/http:{quote(service)}:http/proxy"
        return self._send(
            Request("POST", root + path, f"ask {service}", body=request, seconds=ANSWER_SECONDS)
        )

    def post_to(self, address: str, path: str, request: Any) -> ServiceResponse:
        """Ask the Service of that address through the API server."""
        return self.post((urlsplit(address).hostname or "").partition(".")[0], path, request)

    def metrics(self, pod: Object) -> str | None:
        """Ask the pod through the API server."""
        if not pod.get("status", {}).get("podIP"):
            return None
        root = f"/api/v1/namespaces/{self.cluster.namespace}/pods/{pod['metadata']['name']}:{PORT}/proxy"
        try:
            answer = self._send(Request("GET", f"{root}/metrics", "read metrics", seconds=METRICS_SECONDS))
        except TransientError:
            return None
        return answer.body.decode(errors="replace") if answer.status == 200 else None

    def _send(self, request: Request) -> ServiceResponse:
        from urllib3.exceptions import HTTPError

        try:
            response = self.cluster.transport.once(request)
            body = response.data if isinstance(response.data, bytes) else str(response.data).encode()
        except HTTPError as error:
            raise TransientError(f"the API server does not answer: {error}") from None
        if response.status >= 400 and (told := status_of(body)).get("kind") == "Status":
            # The API server itself, not the model server: it may not know its newest Service yet.
            refused = error_of(response.status, told, request.what, self.cluster.transport.who)
            raise TransientError(str(refused)) if isinstance(refused, NotThereError) else refused
        headers = {key.lower(): value for key, value in dict(response.headers).items()}
        return ServiceResponse(response.status, headers, body)


def open_service_client(cluster: Cluster) -> ServiceClient:
    """Return the way from this process to the cluster's Services."""
    return InClusterClient(cluster.namespace) if cluster.in_pod else ApiServerProxyClient(cluster)
