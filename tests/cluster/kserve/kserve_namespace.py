"""A namespace with the InferenceService kind and a KServe controller: an installed one, or a simulation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT
from continuous_training.kubeflow.preflight.kserve_check import CONTROLLER
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE
from continuous_training.rollout.kserve.target import KServeTarget
from continuous_training.rollout.kubernetes.service_client import open_service_client
from continuous_training.rollout.kubernetes.serving_objects import Manifest
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer

from ..cluster_namespace import ClusterNamespace
from .simulated_controller import SimulatedController


@dataclass
class KServeNamespace(ClusterNamespace):
    """A namespace whose deployment target is KServe."""

    def target(self, cluster: Cluster | None = None, **changes: Any) -> KServeTarget:  # type: ignore[override]
        """Return the target under test; `cluster` may have fewer permissions than the test."""
        settings = replace(self.settings, **changes)
        return KServeTarget(
            cluster or self.cluster,
            settings,
            self.store,
            self.progress,
            ModelServer(settings),
            client=open_service_client(self.cluster),
        )

    def service(self, name: str) -> Manifest | None:
        """Return an InferenceService."""
        return self.cluster.get(INFERENCE_SERVICE, name)

    def deployment_exists(self, name: str) -> bool:
        """Return whether there is a Deployment with this name."""
        return self.cluster.get(DEPLOYMENT, name) is not None


def is_kserve_installed(cluster: Cluster) -> bool:
    """Return whether a pod of KServe's own controller is available."""
    deployment = cluster.in_namespace("kserve").get(DEPLOYMENT, CONTROLLER) or {}
    return bool(deployment.get("status", {}).get("availableReplicas"))


@contextmanager
def simulated_kserve(
    namespace: ClusterNamespace, mode: str = "Standard"
) -> Iterator[tuple[KServeNamespace, SimulatedController]]:
    """Run a simulated controller for the namespace's InferenceServices during the block.

    If KServe is installed, its controller is used, and the simulated one does not run.
    """
    controller = SimulatedController(namespace.cluster, mode)
    is_installed = is_kserve_installed(namespace.cluster)
    with nullcontext() if is_installed else controller.run_in_background():
        yield KServeNamespace(namespace.cluster, namespace.store, namespace.settings), controller
