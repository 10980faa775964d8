"""Read the settings of a cluster's steps from outside the cluster, and make their services reachable."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.connection import connect
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.port_forward import forward_port
from continuous_training.adapters.kubernetes.resources import CONFIG_MAP, SECRET, SERVICE, Resource
from continuous_training.core.errors import UserError
from continuous_training.core.progress import Progress
from continuous_training.core.settings import ClusterSource, Settings
from continuous_training.kubeflow.object_names import STEPS_CONFIG_MAP, STEPS_SECRET

_ENDPOINT = re.compile(r"(?<=[?&]endpoint=)[^&]+")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@contextmanager
def open_cluster_settings(
    source: ClusterSource, environment: Mapping[str, str], progress: Progress
) -> Iterator[Settings]:
    """Yield the settings of the steps: those of their ConfigMap, and the keys of their Secret.

    The ports of the registry and the store are forwarded within the block if they are Services of the
    cluster. Of `environment`, only KUBECONFIG and CT_STATE are used. Raises UserError if the ConfigMap does
    not exist, is incomplete, or cannot be read.
    """
    kubeconfig = environment.get("KUBECONFIG", "")
    cluster = connect(source.namespace, kubeconfig, source.context, progress)
    data = _read_config_map(cluster)
    secret = _read_secret(cluster)
    with ExitStack() as stack:
        addresses = _Addresses(cluster, stack)
        settings = Settings.from_environment(
            {
                **data,
                **secret,
                "MLFLOW_TRACKING_URI": addresses.of_registry(data["MLFLOW_TRACKING_URI"]),
                "CT_STORE": addresses.of_store(data["CT_STORE"]),
                # The pods use the addresses inside the cluster.
                "CT_SERVING_STORE": data.get("CT_SERVING_STORE") or data["CT_STORE"],
                "CT_SERVING_NAMESPACE": data.get("CT_SERVING_NAMESPACE") or cluster.namespace,
                "KUBECONFIG": kubeconfig,
                "CT_CONTEXT": source.context,
                "CT_STATE": environment.get("CT_STATE", ""),
            }
        )
        key, secret_key = (secret.get(name, "") for name in _KEYS)
        access = (key, secret_key) if key and secret_key else None
        yield replace(settings, store_access=access, cluster=source)


def _read_config_map(cluster: Cluster) -> dict[str, str]:
    content = _get(cluster, CONFIG_MAP, STEPS_CONFIG_MAP)
    location = f"ConfigMap {STEPS_CONFIG_MAP} in namespace {cluster.namespace}"
    if content is None:
        raise UserError(
            f"{location} does not exist: pass --namespace with the namespace of the steps (docs/cluster.md)"
        )
    data = {name: str(value) for name, value in (content.get("data") or {}).items()}
    missing = [name for name in ("CT_STORE", "MLFLOW_TRACKING_URI") if not data.get(name)]
    if missing:
        raise UserError(f"{location} lacks {' and '.join(missing)} (manifests/base/configmap.yaml)")
    if data.get("CT_TARGET", "local") == "local":
        raise UserError(f"{location}: CT_TARGET is local, so the cluster serves no models")
    return data


def _read_secret(cluster: Cluster) -> dict[str, str]:
    """Return the decoded content of the Secret; empty if it does not exist."""
    data = (_get(cluster, SECRET, STEPS_SECRET) or {}).get("data") or {}
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def _get(cluster: Cluster, resource: Resource, name: str) -> Object | None:
    try:
        return cluster.get(resource, name)
    except ForbiddenError:
        raise UserError(
            f"{cluster.transport.caller} may not read {resource.kind} {name} in namespace "
            f"{cluster.namespace}, which --cluster needs: bind the Role of "
            "manifests/base/operator-role.yaml to the user"
        ) from None


@dataclass(frozen=True)
class _Addresses:
    """The addresses at which this machine reaches the services of the ConfigMap.

    Ports are forwarded until `stack` is closed. The address of a host outside the cluster is not changed.
    """

    cluster: Cluster
    stack: ExitStack

    def of_registry(self, uri: str) -> str:
        """Return the address of the registry."""
        parts = urlsplit(uri)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return parts._replace(netloc=self._forward(parts.netloc, parts.hostname or "", port)).geturl()

    def of_store(self, uri: str) -> str:
        """Return the address of the store."""
        endpoint = _ENDPOINT.search(uri)
        if endpoint is None:
            return uri
        host, _, port = endpoint[0].partition(":")
        default = 80 if "secure=false" in uri else 443
        return _ENDPOINT.sub(self._forward(endpoint[0], host, int(port or default)), uri)

    def _forward(self, address: str, host: str, port: int) -> str:
        service = None if self.cluster.in_pod else self._service(host)
        if service is None:
            return address
        cluster, name = service
        return self.stack.enter_context(forward_port(cluster, name, port))

    def _service(self, host: str) -> tuple[Cluster, str] | None:
        """Return the namespace and the name of the Service with this host name, or None."""
        name, *domain = host.split(".")
        if not domain:
            return self.cluster, name
        if len(domain) > 1 and domain[1:] not in (["svc"], ["svc", "cluster", "local"]):
            return None
        cluster = self.cluster.in_namespace(domain[0])
        if len(domain) > 1:
            return cluster, name
        try:
            return (cluster, name) if cluster.get(SERVICE, name) else None
        except ForbiddenError:
            # NAME.NAMESPACE may also be a host outside the cluster.
            return None
