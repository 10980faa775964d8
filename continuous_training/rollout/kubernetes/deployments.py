"""The Deployments of a model's versions: start their pods, count them, and remove them."""

from __future__ import annotations

from collections.abc import Callable

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.resources import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    SERVICE,
)
from continuous_training.core.errors import PipelineError
from continuous_training.core.progress import Progress
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.rollout.kubernetes import serving_objects
from continuous_training.rollout.kubernetes.draining import wait_until_drained
from continuous_training.rollout.kubernetes.readiness import (
    Deadline,
    label_selector,
    pods_of,
    wait_until_ready,
)
from continuous_training.rollout.kubernetes.service_client import ServiceClient
from continuous_training.rollout.kubernetes.serving_objects import Manifest, model_labels
from continuous_training.rollout.kubernetes.serving_runtimes import ServingRuntime
from continuous_training.rollout.trial import DeployedVersion


class Deployments:
    """The Deployments of one namespace. `check_lease` is called before and while pods start."""

    def __init__(
        self,
        cluster: Cluster,
        settings: ServingSettings,
        runtime: ServingRuntime,
        client: ServiceClient,
        progress: Progress,
        check_lease: Callable[[], None],
    ) -> None:
        self.cluster, self.settings, self.runtime, self.client = cluster, settings, runtime, client
        self.progress, self.check_lease = progress, check_lease

    def get(self, version: DeployedVersion) -> Manifest | None:
        """Return the Deployment of a version, or None."""
        return self.cluster.get(DEPLOYMENT, version.deployment_name)

    def replicas(self, version: DeployedVersion) -> int:
        """Return the number of pods that a version has or would have."""
        deployment = self.get(version) or {}
        return int(deployment.get("spec", {}).get("replicas") or self.settings.replicas)

    def start(
        self, version: DeployedVersion, replicas: int, deadline: Deadline, autoscaled: bool = True
    ) -> None:
        """Apply the objects of a version, and wait until the pods are ready."""
        self.check_lease()
        current = self.get(version)
        if current is not None and autoscaled:
            # The autoscaler may have added pods.
            replicas = max(replicas, int(current["spec"].get("replicas") or 0))
        deployment = self.cluster.apply(
            DEPLOYMENT, serving_objects.deployment(version, replicas, self.runtime.pod(version))
        )
        self.cluster.apply(SERVICE, serving_objects.trial_service(version))
        self.cluster.apply(DISRUPTION_BUDGET, serving_objects.disruption_budget(version.name))
        if autoscaled:
            self.cluster.apply(AUTOSCALER, serving_objects.autoscaler(version, self.settings, deployment))
        wait_until_ready(self.cluster, version, replicas, deadline, self.progress, self.check_lease)

    def wait_until_complete(self, version: DeployedVersion, deadline: Deadline) -> None:
        """Wait until all pods that the Deployment of a version requires are ready. Raises PipelineError."""
        deployment = self.get(version)
        if deployment is None:
            raise PipelineError(f"there is no Deployment {version.deployment_name}")
        replicas = int(deployment["spec"].get("replicas") or 0)
        wait_until_ready(self.cluster, version, replicas, deadline, self.progress, self.check_lease)

    def remove(self, name: str, deployment_name: str, drain_timeout: float) -> None:
        """Remove a Deployment of a model after its pods receive no more requests, or after the timeout."""
        deployment = self.cluster.get(DEPLOYMENT, deployment_name)
        if deployment is None:
            return
        labels = deployment["spec"]["selector"]["matchLabels"]
        wait_until_drained(lambda: pods_of(self.cluster, labels), name, self.client.metrics, drain_timeout)
        self.cluster.delete(DEPLOYMENT, deployment_name)

    def remove_all_except(self, name: str, *versions: DeployedVersion, drain_timeout: float = 0) -> None:
        """Remove the Deployments of the model's other versions."""
        keep = {version.deployment_name for version in versions}
        for deployment in self.cluster.find(DEPLOYMENT, label_selector(model_labels(name))):
            if deployment["metadata"]["name"] not in keep:
                self.remove(name, deployment["metadata"]["name"], drain_timeout)
