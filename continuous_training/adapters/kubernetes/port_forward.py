"""Forward a port of this machine to a pod behind a Service, as `kubectl port-forward` does."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import POD, SERVICE
from continuous_training.core.errors import PipelineError, TransientError, UserError

_BUFFER_BYTES = 64 * 1024
_RETRY_BUDGET = 20.0
"""Seconds. The client of a forwarded port repeats its own requests, too."""


@contextmanager
def forward_port(cluster: Cluster, service: str, port: int) -> Iterator[str]:
    """Forward a port of a Service within the block. Yield HOST:PORT on this machine.

    Raises UserError if the Service or its port does not exist or the caller may not forward ports, and
    TransientError if the Service has no ready pod.
    """
    forward = _Forward(cluster, service, port)
    # The first connection verifies that the caller has the permission.
    forward.connect().close()
    with _Server(forward) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


class _Forward:
    """Opens connections to a ready pod of a Service."""

    def __init__(self, cluster: Cluster, service: str, port: int) -> None:
        self.cluster = cluster.with_retry_budget(_RETRY_BUDGET)
        self.service, self.port = service, port

    def connect(self) -> Any:
        """Return a socket that is connected to the port of a pod."""
        from kubernetes.client import ApiClient, ApiException, CoreV1Api
        from kubernetes.stream import portforward

        pod, number = self._endpoint()
        # `portforward` replaces a method of the client during the call, so threads cannot share a client.
        api = CoreV1Api(ApiClient(self.cluster.transport.api.configuration))
        try:
            connection = portforward(
                api.connect_get_namespaced_pod_portforward, pod, self.cluster.namespace, ports=str(number)
            )
        except ApiException as error:
            raise self._error(str(error.reason)) from None
        return connection.socket(number)

    def _endpoint(self) -> tuple[str, int]:
        """Return the name of a ready pod of the Service, and the number of its port."""
        service = self.cluster.get(SERVICE, self.service)
        ports = (service or {}).get("spec", {}).get("ports") or []
        entry = next((entry for entry in ports if entry["port"] == self.port), None)
        if service is None or entry is None:
            raise UserError(
                f"namespace {self.cluster.namespace} has no Service {self.service} with port {self.port}"
            )
        selector = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
        pods = [pod for pod in self.cluster.find(POD, selector) if _is_ready(pod)]
        if not pods:
            raise TransientError(
                f"Service {self.service} in namespace {self.cluster.namespace} has no ready pod:\n"
                f"kubectl -n {self.cluster.namespace} get pods -l {selector}"
            )
        return pods[0]["metadata"]["name"], _target_port(pods[0], entry)

    def _error(self, reason: str) -> PipelineError:
        action = f"forward a port to Service {self.service} in namespace {self.cluster.namespace}"
        caller = self.cluster.transport.caller
        if "Handshake status 403" in reason:
            return UserError(
                f"{caller} may not {action}: it needs the verbs get and create on pods/portforward "
                f"(manifests/base/operator-role.yaml) ({reason})"
            )
        return TransientError(f"{caller} could not {action}: {reason}")


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _target_port(pod: Object, entry: Object) -> int:
    target = entry.get("targetPort", entry["port"])
    if isinstance(target, int):
        return target
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or []]
    return next(int(port["containerPort"]) for port in ports if port.get("name") == target)


class _Server(ThreadingTCPServer):
    """Accepts connections on a free port of the loopback interface."""

    daemon_threads, block_on_close = True, False

    def __init__(self, forward: _Forward) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.forward = forward


class _Handler(BaseRequestHandler):
    """Copies the bytes of one connection in both directions."""

    server: _Server
    request: socket.socket

    def handle(self) -> None:
        """Connect to the pod, and copy until one side closes. A failure closes the client's connection."""
        with suppress(PipelineError, OSError), closing(self.server.forward.connect()) as remote:
            peers = {self.request: remote, remote: self.request}
            while True:
                for source in select.select(list(peers), [], [])[0]:
                    data = source.recv(_BUFFER_BYTES)
                    if not data:
                        return
                    peers[source].sendall(data)
