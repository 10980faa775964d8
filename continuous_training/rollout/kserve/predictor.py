"""Whether KServe's predictor serves a version: judged by its Deployment and by answers, never by `Ready`.

During a rollout the conditions of an InferenceService stay true over pods that never come up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT
from continuous_training.adapters.kubernetes.retry import until
from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.core.progress import Progress
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE
from continuous_training.rollout.kubernetes import pod_diagnostics
from continuous_training.rollout.kubernetes.manifests import DIGEST_LABEL
from continuous_training.rollout.kubernetes.pod_diagnostics import PodProblem
from continuous_training.rollout.kubernetes.readiness import Deadline, NotComingUpError, pods_of
from continuous_training.rollout.kubernetes.service_client import ServiceClient
from continuous_training.serving.errors import VersionMismatchError

PAUSE = 0.5
STEADY = 10
"""So many answers of one version, one after another and each over a connection of its own, are a state."""

_POD = "serving.kserve.io/inferenceservice"


def deployment_name(name: str) -> str:
    """Return the name of the Deployment of an InferenceService, in Standard mode."""
    return f"{name}-predictor"


def rollout_status(deployment: Object | None, service: Object) -> str:
    """Say what a Deployment lacks to be the InferenceService's predictor, rolled out; "" for nothing.

    `service` is the InferenceService as the API server has it.
    """
    if deployment is None or not _owned(deployment, service):
        return "KServe has made no Deployment of it yet"
    if _program(deployment["spec"]["template"]["spec"]) != _program(service["spec"]["predictor"]):
        return "KServe has not given its Deployment the new version yet"
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return "its Deployment has not begun yet"
    updated, pods = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    if updated < wanted or available < wanted:
        return f"{min(updated, available)} of {wanted} pods are of the new version and available"
    return f"{pods - updated} pods of an older version are there still" if pods > updated else ""


def _owned(deployment: Object, service: Object) -> bool:
    """Tell whether the Deployment is this InferenceService's, and not of one of its name that was deleted."""
    owners = deployment["metadata"].get("ownerReferences") or []
    return any(owner["uid"] == service["metadata"]["uid"] for owner in owners)


def _program(pod: Object) -> list[Any]:
    return [[one.get("image"), one.get("command"), one.get("args")] for one in pod["containers"]]


class Predictor:
    """The predictor of one InferenceService, and the model that it serves."""

    def __init__(self, cluster: Cluster, asker: ServiceClient, name: str, model: str, path: str) -> None:
        self.cluster, self.asker, self.name, self.model, self.path = cluster, asker, name, model, path
        self._address: str | None = None

    def address(self) -> str:
        """Return the address inside the cluster that KServe gave it; TransientError before that."""
        if self._address is None:
            found = self.cluster.get(INFERENCE_SERVICE, self.name) or {}
            self._address = ((found.get("status") or {}).get("address") or {}).get("url")
        if not self._address:
            raise TransientError(f"KServe has given InferenceService {self.name} no address")
        return self._address.rstrip("/")

    def predict(self, request: Any, digest: str) -> Any:
        """Ask at that address; returns the answer of that very version.

        VersionMismatchError when another one answers, TransientError when nothing does.
        """
        answer = self.asker.post_to(self.address(), self.path, request)
        said = answer.json()
        if (answered := answer.headers.get("x-model-digest", "")) != digest:
            raise VersionMismatchError(
                f"{self.model}: version {answered[:12]} answered, and {digest[:12]} was asked for"
            )
        return said

    def wait_for_pods(self, service: Object, digest: str, deadline: Deadline, progress: Progress) -> None:
        """Return when the Deployment has rolled out what the InferenceService `service` says.

        Raises NotComingUpError with what was seen, its events and its last log lines, at the deadline or
        when a trouble has lasted for too long.
        """
        watched, words = _Watch(self, digest, progress), ""
        for _ in until(deadline.left, PAUSE):
            deployment = self.cluster.get(DEPLOYMENT, deployment_name(self.name))
            words = rollout_status(deployment, service)
            if not words:
                return
            watched.look(deployment, words)
        raise watched.verdict(words, deadline)

    def wait_for_answers(
        self, request: Any, digest: str, deadline: Deadline, progress: Progress, steady: int = STEADY
    ) -> None:
        """Return when so many answers, one after another, are this version's; raises as `wait_for_pods`."""
        watched, words, right = _Watch(self, digest, progress), "", 0
        for _ in until(deadline.left, PAUSE):
            try:
                while right < steady:
                    self.predict(request, digest)
                    right += 1
                return
            except PipelineError as error:
                # An answer of the former version, an error of it, or none: it may all pass.
                right, words = 0, str(error)
            watched.look(None, words)
        raise watched.verdict(words, deadline)


class _Watch:
    """Looks for troubles of a version's pods, and tells each change once."""

    def __init__(self, predictor: Predictor, digest: str, progress: Progress) -> None:
        self.predictor, self.progress = predictor, progress
        self.labels = {_POD: predictor.name, DIGEST_LABEL: digest[:12]}
        self.trouble: PodProblem | None = None
        self.since, self.told = time.monotonic(), ""
        self.read: Callable[[], list[Object]] = lambda: pods_of(predictor.cluster, self.labels)

    def look(self, deployment: Object | None, words: str) -> None:
        """Tell what is waited for; NotComingUpError when a trouble has lasted for too long."""
        seen = pod_diagnostics.find(deployment, self.read())
        if (seen and seen.patience) != (self.trouble and self.trouble.patience):
            self.since = time.monotonic()
        self.trouble = seen
        said = f"waiting for {self.predictor.name}: {words}" + (f"; {seen.words}" if seen else "")
        if said != self.told:
            self.told = said
            self.progress(said)
        if seen and time.monotonic() - self.since > seen.patience:
            raise self.verdict(words, None)

    def verdict(self, words: str, deadline: Deadline | None) -> NotComingUpError:
        """Return the error that tells all that is known."""
        late = (
            ""
            if deadline is None or deadline.left
            else f" within {deadline.seconds:g} s (CT_ROLLOUT_DEADLINE)"
        )
        trouble = self.trouble
        if trouble is None:
            pod = next((one["metadata"]["name"] for one in self.read()), "")
            trouble = PodProblem(words, pod=pod)
        evidence = pod_diagnostics.evidence(
            self.predictor.cluster, deployment_name(self.predictor.name), trouble
        )
        why = words if trouble.words == words else f"{words}: {trouble.words}"
        told = f"; {evidence}" if evidence else ""
        return NotComingUpError(f"{self.predictor.name} did not come up{late}: {why}{told}")
