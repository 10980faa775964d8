"""The deployment target `kubernetes`: a Deployment per version, and a Service that selects one version.

The pods of the previous version run until the new version is confirmed, so that a revert is only a change of
the selector. The annotations of the Service contain all that the next rollout needs to recover from an
interrupted one. docs/rollout.md describes the whole procedure.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from continuous_training.adapters.kubernetes.resources import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    SERVICE,
)
from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.rollout.canary_watch import canary_replicas
from continuous_training.rollout.cluster_target import ClusterTarget, InterruptedTrial, Trial
from continuous_training.rollout.kubernetes import serving_objects
from continuous_training.rollout.kubernetes.draining import wait_until_drained
from continuous_training.rollout.kubernetes.readiness import (
    Deadline,
    label_selector,
    pods_of,
    wait_until_ready,
)
from continuous_training.rollout.kubernetes.serving_objects import (
    CANARY_ANNOTATION,
    CONFIRMED_ANNOTATION,
    SERVED_ANNOTATION,
    DeployedVersion,
    Manifest,
    annotations_of,
    model_labels,
    trial_name,
)
from continuous_training.serving.errors import VersionMismatchError

CONSECUTIVE_RESPONSES, SWITCH_TIMEOUT = 5, 60.0
"""The traffic counts as moved after this many consecutive responses of the version, within seconds."""

NODE_RECONNECT_SECONDS = 45.0
"""Nodes reconnect to an API server that was unavailable after up to half a minute."""

CONFIRM_DRAIN_TIMEOUT, REVERT_DRAIN_TIMEOUT = 30.0, 5.0
"""Seconds to wait until the pods of a version without traffic receive no more requests, before their removal.
Nodes may apply the switch late, and callers may keep a connection. The pods of a failed version get less
time."""


@dataclass(frozen=True)
class KubernetesTrial(Trial):
    """A trial, with the previous Deployment of the version if that version is served already."""

    previous_deployment: Manifest | None


class KubernetesTarget(ClusterTarget[KubernetesTrial]):
    """The model servers of one namespace."""

    def served_digest(self, name: str) -> str | None:
        """Return the digest in the annotation of the Service, or None if there is no Service."""
        return annotations_of(self.cluster.get(SERVICE, name)).get(SERVED_ANNOTATION) or None

    def address(self, name: str) -> str:
        """Return the address of a Service."""
        return f"http://{name}.{self.cluster.namespace}.svc"

    def prepare_trial(self, version: DeployedVersion, deadline: Deadline) -> KubernetesTrial:
        """Read the served version, and its Deployment if it is the version itself."""
        served = self.served_digest(version.name)
        previous = DeployedVersion(version.name, served) if served else None
        deployment = self.cluster.get(DEPLOYMENT, version.deployment_name) if previous == version else None
        return KubernetesTrial(version, previous, deadline, deployment)

    def start_trial(self, trial: KubernetesTrial, *, is_canary: bool) -> None:
        """Apply the Deployment and the trial's Service. A canary gets fewer pods, and no autoscaler."""
        if is_canary and trial.previous:
            self._remove_all_except(trial.version.name, trial.version, trial.previous)
            replicas = canary_replicas(self.settings.canary, self._replicas(trial.previous))
            self._start_pods(trial, replicas, autoscaled=False)
        else:
            self._start_pods(trial, self.settings.replicas)
        self._wait_for_responses(trial_name(trial.version.name), trial.version)

    def start_canary(self, trial: KubernetesTrial, previous: DeployedVersion) -> None:
        """Let the endpoint's Service select the pods of both versions."""
        version, previous_replicas = trial.version, self._replicas(previous)
        replicas = canary_replicas(self.settings.canary, previous_replicas)
        self.check_lease()
        self.cluster.apply(
            SERVICE, serving_objects.endpoint_service(previous, previous.digest, canary=version.digest)
        )
        total = replicas + previous_replicas
        self.progress(
            f"canary: {version.deployment_name} receives {100 * replicas / total:.0f} % of the traffic "
            f"({replicas} of {total} pods)"
        )

    def scale_up(self, trial: KubernetesTrial) -> None:
        """Start all pods of a promoted canary, and verify its golden requests again."""
        self._start_pods(trial, self.settings.replicas)
        self._wait_for_responses(trial_name(trial.version.name), trial.version)
        self.verify_trial(trial.version)

    def switch(self, trial: KubernetesTrial) -> None:
        """Let the endpoint's Service select only the pods of the version."""
        self._route(trial.version, trial.previous.digest if trial.previous else "")

    def confirm(self, name: str, digest: str) -> None:
        """Record the version as confirmed, then remove the other versions."""
        version = DeployedVersion(name, digest)
        self.check_lease()
        self.cluster.apply(SERVICE, serving_objects.endpoint_service(version, confirmed=digest))
        self._wait_for_nodes()
        self._remove_all_except(name, version, drain_timeout=CONFIRM_DRAIN_TIMEOUT)
        self.cluster.delete(SERVICE, trial_name(name))

    def revert(self, name: str, digest: str) -> None:
        """Route the traffic to the confirmed version, wait until it answers, and remove this version."""
        service = self.cluster.get(SERVICE, name)
        self._route_to_confirmed(name, service)
        if digest != annotations_of(service).get(CONFIRMED_ANNOTATION, ""):
            self._remove(DeployedVersion(name, digest).deployment_name, name, REVERT_DRAIN_TIMEOUT)
        self.cluster.delete(SERVICE, trial_name(name))

    def undo_trial(self, trial: KubernetesTrial) -> None:
        """Revert the trial, or apply the previous Deployment of the same version again."""
        previous, version = trial.previous_deployment, trial.version
        if previous is None:
            self.revert(version.name, version.digest)
            return
        metadata = {key: previous["metadata"].get(key, {}) for key in ("name", "labels", "annotations")}
        self.cluster.apply(DEPLOYMENT, {"metadata": metadata, "spec": previous["spec"]})
        self.cluster.delete(SERVICE, trial_name(version.name))

    def find_interrupted_trial(self, name: str) -> InterruptedTrial | None:
        """Compare the annotations of the Service."""
        annotations = annotations_of(self.cluster.get(SERVICE, name))
        served, confirmed = annotations.get(SERVED_ANNOTATION, ""), annotations.get(CONFIRMED_ANNOTATION, "")
        canary = annotations.get(CANARY_ANNOTATION, "")
        if served == confirmed and not canary:
            return None
        return InterruptedTrial(canary or served, confirmed)

    def restore(self, name: str) -> None:
        """Route the traffic to the confirmed version; remove the Service if there is none."""
        self._route_to_confirmed(name, self.cluster.get(SERVICE, name))

    def _route_to_confirmed(self, name: str, service: Manifest | None) -> None:
        annotations = annotations_of(service)
        confirmed = annotations.get(CONFIRMED_ANNOTATION, "")
        self.check_lease()
        if not confirmed:
            self.cluster.delete(SERVICE, name)
        elif annotations.get(SERVED_ANNOTATION) != confirmed or annotations.get(CANARY_ANNOTATION):
            self._route(DeployedVersion(name, confirmed), confirmed)

    def _route(self, version: DeployedVersion, confirmed: str) -> None:
        """Route all the traffic to the version, and wait until it answers."""
        self.check_lease()
        self.cluster.apply(SERVICE, serving_objects.endpoint_service(version, confirmed))
        self._wait_for_responses(version.name, version)

    def _start_pods(self, trial: KubernetesTrial, replicas: int, autoscaled: bool = True) -> None:
        """Apply the objects of a version, and wait until the pods are ready."""
        version = trial.version
        self.check_lease()
        current = self.cluster.get(DEPLOYMENT, version.deployment_name)
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
        wait_until_ready(self.cluster, version, replicas, trial.deadline, self.progress, self.check_lease)

    def _replicas(self, version: DeployedVersion) -> int:
        deployment = self.cluster.get(DEPLOYMENT, version.deployment_name) or {}
        return int(deployment.get("spec", {}).get("replicas") or self.settings.replicas)

    def _wait_for_responses(self, service: str, version: DeployedVersion) -> None:
        """Wait until only this version responds at a Service; nodes apply a change a moment later."""
        request = self.archives.golden_requests(version).requests[0].request
        address, end, consecutive = self.address(service), time.monotonic() + SWITCH_TIMEOUT, 0
        while consecutive < CONSECUTIVE_RESPONSES:
            try:
                self.predict_at(address, version, request)
                consecutive += 1
            except (TransientError, VersionMismatchError) as error:
                consecutive = 0
                if time.monotonic() > end:
                    raise PipelineError(
                        f"{version.deployment_name} does not respond at Service {service} after "
                        f"{SWITCH_TIMEOUT:g} s: {error}"
                    ) from None
                time.sleep(0.2)

    def _wait_for_nodes(self) -> None:
        """Wait until the nodes have applied the last change, if the API server was recently unavailable."""
        remaining = NODE_RECONNECT_SECONDS - self.cluster.transport.seconds_since_lost
        if remaining > 0:
            self.progress(
                f"the API server was unavailable: waiting {remaining:.0f} s for the nodes before "
                "the previous version is removed"
            )
            time.sleep(remaining)

    def _remove_all_except(self, name: str, *versions: DeployedVersion, drain_timeout: float = 0) -> None:
        """Remove the Deployments of the model's other versions."""
        keep = {version.deployment_name for version in versions}
        for deployment in self.cluster.find(DEPLOYMENT, label_selector(model_labels(name))):
            if deployment["metadata"]["name"] not in keep:
                self._remove(deployment["metadata"]["name"], name, drain_timeout)

    def _remove(self, deployment_name: str, name: str, drain_timeout: float) -> None:
        """Remove a Deployment after its pods receive no more requests, or after the timeout."""
        deployment = self.cluster.get(DEPLOYMENT, deployment_name)
        if deployment is None:
            return
        labels = deployment["spec"]["selector"]["matchLabels"]
        wait_until_drained(lambda: pods_of(self.cluster, labels), name, self.client.metrics, drain_timeout)
        self.cluster.delete(DEPLOYMENT, deployment_name)
