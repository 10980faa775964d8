"""The predictor of an InferenceService: whether it serves a version.

The decision uses the Deployment and the responses, never the condition `Ready`: the conditions of an
InferenceService stay true during a rollout whose pods never become ready.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT
from continuous_training.adapters.kubernetes.retry import until
from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.core.progress import Progress
from continuous_training.rollout.kserve.controller_problems import find_controller_problem
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE, TEMPLATE_LABEL
from continuous_training.rollout.kubernetes.readiness import Deadline, ReadinessMonitor, pods_of
from continuous_training.rollout.kubernetes.serving_objects import DIGEST_LABEL, Manifest
from continuous_training.rollout.kubernetes.warning_events import EventFilter

POLL_SECONDS = 0.5
PROCESSING_SECONDS = 3.0
"""KServe usually applies an InferenceService to its Deployment within this time."""

CONSECUTIVE_RESPONSES = 10
"""The traffic counts as moved after this many consecutive responses, each over a new connection."""

_INFERENCE_SERVICE_LABEL = "serving.kserve.io/inferenceservice"


def deployment_name(name: str) -> str:
    """Return the name of the Deployment, and of the Service, of an InferenceService in Standard mode."""
    return f"{name}-predictor"


def rollout_status(deployment: Manifest | None, service: Manifest) -> str:
    """Describe why the rollout of an InferenceService's Deployment has not ended; empty if it has ended.

    `service` is the InferenceService as the API server returned it.
    """
    if deployment is None or not _is_owned_by(deployment, service):
        return "KServe has not created its Deployment yet"
    if not _has_template_of(deployment["spec"]["template"], service):
        return "KServe has not updated its Deployment to the new version yet"
    # KServe creates the Deployment with one pod; its autoscaler adds the others seconds later.
    required = service["spec"]["predictor"].get("minReplicas") or 1
    status, replicas = deployment.get("status", {}), max(deployment["spec"].get("replicas", 1), required)
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return "the rollout of its Deployment has not begun yet"
    updated, pods = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    if updated < replicas or available < replicas:
        return f"{min(updated, available)} of {replicas} pods have the new version and are available"
    return f"{pods - updated} pods of an older version still exist" if pods > updated else ""


def is_up_to_date(deployment: Manifest | None, service: Manifest) -> bool:
    """Return whether KServe has applied the InferenceService to its Deployment."""
    return (
        deployment is not None
        and _is_owned_by(deployment, service)
        and _has_template_of(deployment["spec"]["template"], service)
    )


def _is_owned_by(deployment: Manifest, service: Manifest) -> bool:
    """Return False for the Deployment of a deleted InferenceService with the same name."""
    owners = deployment["metadata"].get("ownerReferences") or []
    return any(owner["uid"] == service["metadata"]["uid"] for owner in owners)


def _has_template_of(template: Manifest, service: Manifest) -> bool:
    """Return whether a Deployment's pod template is that of an InferenceService.

    The label is a digest of the whole template. An InferenceService of an earlier release has no such label.
    The generation in the status of an InferenceService is that of the Deployment, so it proves nothing.
    """
    labels = (template.get("metadata", {}).get("labels") or {}, service["metadata"].get("labels") or {})
    return labels[0].get(TEMPLATE_LABEL) == labels[1].get(TEMPLATE_LABEL) and (
        _commands(template["spec"]) == _commands(service["spec"]["predictor"])
    )


def _unfulfilled_conditions(status: Manifest) -> str:
    """Describe the conditions that are not true, such as a route that the gateway does not accept."""
    descriptions = [
        " ".join(filter(None, (condition["type"], condition.get("reason"), condition.get("message"))))
        for condition in status.get("conditions") or []
        if condition["status"] != "True" and condition.get("reason")
    ]
    return f" ({'; '.join(descriptions)})" if descriptions else ""


def _commands(pod_spec: Manifest) -> list[Any]:
    return [
        [container.get("image"), container.get("command"), container.get("args")]
        for container in pod_spec["containers"]
    ]


class Predictor:
    """The predictor of one InferenceService. `since` is the time at which the current rollout began."""

    def __init__(self, cluster: Cluster, name: str, since: str = "") -> None:
        self.cluster, self.name, self.since = cluster, name, since
        self._address: str | None = None

    def address(self) -> str:
        """Return the address inside the cluster that KServe assigned; TransientError if there is none yet."""
        if self._address is None:
            status = (self.cluster.get(INFERENCE_SERVICE, self.name) or {}).get("status") or {}
            self._address = (status.get("address") or {}).get("url")
            if not self._address:
                raise TransientError(
                    f"KServe has not assigned an address to InferenceService {self.name} yet"
                    f"{_unfulfilled_conditions(status)}"
                )
        return self._address.rstrip("/")

    def wait_for_deployment(
        self, service: Manifest, digest: str, deadline: Deadline, progress: Progress
    ) -> None:
        """Return when the Deployment has rolled out the InferenceService `service`, in Standard mode.

        Raises NotReadyError at the deadline, or when a problem has lasted longer than its grace period.
        """
        monitor, status, start = self._monitor(digest, deadline, progress), "", deadline.elapsed
        for _ in until(deadline.remaining, POLL_SECONDS):
            deployment = self.cluster.get(DEPLOYMENT, deployment_name(self.name))
            status = rollout_status(deployment, service)
            if not status:
                return
            problem = None
            is_late = deadline.elapsed - start > PROCESSING_SECONDS
            if is_late and not is_up_to_date(deployment, service):
                problem = find_controller_problem(self.cluster, self.name, self.since)
            monitor.observe(deployment, status, problem)
        raise monitor.error(status, deadline)

    def wait_for_responses(
        self,
        send: Callable[[str], object],
        digest: str,
        deadline: Deadline,
        progress: Progress,
        count: int = CONSECUTIVE_RESPONSES,
    ) -> None:
        """Return after `count` consecutive responses of the version.

        `send` sends a request to an address; it raises PipelineError unless the version responds. Raises
        NotReadyError as `wait_for_deployment` does.
        """
        monitor, status, consecutive = self._monitor(digest, deadline, progress), "", 0
        start = deadline.elapsed
        for _ in until(deadline.remaining, POLL_SECONDS):
            try:
                while consecutive < count:
                    send(self.address())
                    consecutive += 1
                return
            except PipelineError as error:
                # A response of the previous version, an error, or no response: all of these may be temporary.
                consecutive, status = 0, str(error)
            problem, is_late = None, deadline.elapsed - start > PROCESSING_SECONDS
            if is_late and self._address is None and not pods_of(self.cluster, self.pod_labels(digest)):
                problem = find_controller_problem(self.cluster, self.name, self.since)
            monitor.observe(None, status, problem)
        raise monitor.error(status, deadline)

    def pod_labels(self, digest: str) -> dict[str, str]:
        """Return the labels of the pods of one version."""
        return {_INFERENCE_SERVICE_LABEL: self.name, DIGEST_LABEL: digest[:12]}

    def _monitor(self, digest: str, deadline: Deadline, progress: Progress) -> ReadinessMonitor:
        labels, grace_period = self.pod_labels(digest), deadline.min_grace_period
        events = EventFilter(deployment_name(self.name), self.name, self.since)
        return ReadinessMonitor(self.cluster, self.name, events, labels, progress, grace_period)
