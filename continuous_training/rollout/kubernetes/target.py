"""The deployment target `kubernetes`: a Deployment per version, and a Service that selects one version.

The pods of the previous version run until the new version is confirmed, so that a revert is only a change of
the selector. The annotations of the Service contain all that the next rollout needs to recover from an
interrupted one. docs/rollout.md describes the whole procedure.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, SERVICE
from continuous_training.core.progress import Progress
from continuous_training.rollout.kubernetes import serving_objects
from continuous_training.rollout.kubernetes.canary_watch import canary_replicas
from continuous_training.rollout.kubernetes.cluster_target import ClusterTarget
from continuous_training.rollout.kubernetes.deployments import Deployments
from continuous_training.rollout.kubernetes.ownership import check_ownership
from continuous_training.rollout.kubernetes.readiness import Deadline, restore_deadline
from continuous_training.rollout.kubernetes.serving_objects import (
    CANARY_ANNOTATION,
    CONFIRMED_ANNOTATION,
    SERVED_ANNOTATION,
    Manifest,
    annotations_of,
    pod_labels,
)
from continuous_training.rollout.trial import (
    DeployedVersion,
    IncompleteRestoreError,
    InterruptedTrial,
    ResponseTimeoutError,
    Trial,
    trial_name,
)

NODE_RECONNECT_SECONDS = 45.0
"""Nodes reconnect to an API server that was unavailable after up to half a minute."""

CONFIRM_DRAIN_TIMEOUT, REVERT_DRAIN_TIMEOUT = 30.0, 5.0
"""Seconds to wait until the pods of a version without traffic receive no more requests, before their removal.
Nodes may apply the switch late, and callers may keep a connection. The pods of a failed version get less
time."""


@dataclass(frozen=True)
class KubernetesTrial(Trial):
    """A trial, its deadline, and the previous Deployment of the version if it is served already."""

    deadline: Deadline
    previous_deployment: Manifest | None


class KubernetesTarget(ClusterTarget[KubernetesTrial]):
    """The model servers of one namespace."""

    @cached_property
    def deployments(self) -> Deployments:
        """The Deployments of the versions."""
        return Deployments(
            self.cluster, self.settings, self.runtime, self.client, self.progress, self.check_lease
        )

    @contextmanager
    def hold_lock(self, name: str, progress: Progress) -> Iterator[None]:
        """Hold the model's Lease. Raises UserError first if an object of the model has another owner."""
        check_ownership(self.cluster, name)
        with super().hold_lock(name, progress):
            yield

    def served_digest(self, name: str) -> str | None:
        """Return the digest in the annotation of the Service, or None if there is no Service."""
        return annotations_of(self.cluster.get(SERVICE, name)).get(SERVED_ANNOTATION) or None

    def address(self, name: str) -> str:
        """Return the address of a Service."""
        return f"http://{name}.{self.cluster.namespace}.svc"

    def prepare_trial(self, version: DeployedVersion) -> KubernetesTrial:
        """Read the served version, and its Deployment if it is the version itself."""
        previous, deadline = self.served_version(version.name), Deadline(self.settings.deadline)
        deployment = self.deployments.get(version) if previous == version else None
        return KubernetesTrial(version, previous, deadline, deployment)

    def start_trial(self, trial: KubernetesTrial) -> None:
        """Apply the Deployment and the trial's Service. A canary gets fewer pods, and no autoscaler."""
        version, previous = trial.version, self.canary_baseline(trial)
        if previous is not None:
            self.deployments.remove_all_except(version.name, version, previous)
            replicas = canary_replicas(self.settings.canary, self.deployments.replicas(previous))
            self.deployments.start(version, replicas, trial.deadline, autoscaled=False)
        else:
            self.deployments.start(version, self.settings.replicas, trial.deadline)
        self.wait_for_responses(trial_name(version.name), version)

    def start_canary(self, trial: KubernetesTrial, previous: DeployedVersion) -> None:
        """Let the endpoint's Service select the pods of both versions."""
        version, previous_replicas = trial.version, self.deployments.replicas(previous)
        replicas = canary_replicas(self.settings.canary, previous_replicas)
        self.apply(SERVICE, serving_objects.endpoint_service(previous, previous.digest, version.digest))
        total = replicas + previous_replicas
        self.progress(
            f"canary: {version.deployment_name} receives {100 * replicas / total:.0f} % of the traffic "
            f"({replicas} of {total} pods)"
        )

    def scale_up(self, trial: KubernetesTrial) -> None:
        """Start all pods of a promoted canary, and verify its golden requests again."""
        self.deployments.start(trial.version, self.settings.replicas, trial.deadline)
        self.wait_for_responses(trial_name(trial.version.name), trial.version)
        self.verify_trial(trial.version)

    def switch(self, trial: KubernetesTrial) -> None:
        """Let the endpoint's Service select only the pods of the version."""
        self._route(trial.version, trial.previous.digest if trial.previous else "")

    def confirm(self, name: str, digest: str) -> None:
        """Record the version as confirmed, then remove the other versions."""
        version = DeployedVersion(name, digest)
        self.apply(SERVICE, serving_objects.endpoint_service(version, confirmed=digest))
        self._wait_for_nodes()
        self.deployments.remove_all_except(name, version, drain_timeout=CONFIRM_DRAIN_TIMEOUT)
        self.cluster.delete(SERVICE, trial_name(name))

    def revert(self, name: str, digest: str) -> None:
        """Route the traffic to the confirmed version, wait until it answers, and remove this version."""
        service = self.cluster.get(SERVICE, name)
        self._route_to_confirmed(name, service)
        if digest != annotations_of(service).get(CONFIRMED_ANNOTATION, ""):
            deployment_name = DeployedVersion(name, digest).deployment_name
            self.deployments.remove(name, deployment_name, REVERT_DRAIN_TIMEOUT)
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

    def verify_complete(self, name: str, digest: str) -> None:
        """Wait until the Deployment of the version is complete, then verify each of its pods."""
        version = DeployedVersion(name, digest)
        self.deployments.wait_until_complete(version, restore_deadline(self.settings.deadline))
        self.verify_pods(version, pod_labels(version))

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
        try:
            self._route_to_confirmed(name, self.cluster.get(SERVICE, name))
        except ResponseTimeoutError as error:
            raise IncompleteRestoreError(
                f"{name} is routed to its previous version, which does not answer: {error}"
            ) from error

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
        self.apply(SERVICE, serving_objects.endpoint_service(version, confirmed))
        self.wait_for_responses(version.name, version)

    def _wait_for_nodes(self) -> None:
        """Wait until the nodes have applied the last change, if the API server was recently unavailable."""
        remaining = NODE_RECONNECT_SECONDS - self.cluster.transport.seconds_since_lost
        if remaining > 0:
            self.progress(
                f"the API server was unavailable: waiting {remaining:.0f} s for the nodes before "
                "the previous version is removed"
            )
            time.sleep(remaining)
