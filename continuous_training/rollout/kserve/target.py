"""The deployment target `kserve`: one InferenceService per model, and a second one for the version on trial.

An InferenceService has no second version to switch to: it is changed in place. A version is therefore
verified in a separate InferenceService, which also stores the previous manifest of NAME. It is deleted at
the end of the rollout. If there is one at the beginning, an earlier rollout was interrupted. An
InferenceService that only waits for its finalizers counts as deleted. docs/kserve.md describes the whole
procedure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from continuous_training.adapters.kubernetes.resources import DEPLOYMENT
from continuous_training.adapters.kubernetes.retry import until
from continuous_training.core.errors import PipelineError, TransientError, UnsettledError
from continuous_training.rollout.kserve.deployment_mode import find_mode, is_standard
from continuous_training.rollout.kserve.inference_service import (
    INFERENCE_SERVICE,
    inference_service,
    is_being_deleted,
    previous_manifest,
    restorable_manifest,
    served_digest,
    trial_manifest,
    with_canary,
    without_additional_pods,
)
from continuous_training.rollout.kserve.preconditions import check_preconditions
from continuous_training.rollout.kserve.predictor import CONSECUTIVE_RESPONSES, Predictor, deployment_name
from continuous_training.rollout.kserve.standard_canary import StandardCanary
from continuous_training.rollout.kserve.trials import DELETION_TIMEOUT, Trials
from continuous_training.rollout.kubernetes.cluster_target import ClusterTarget
from continuous_training.rollout.kubernetes.pod_problems import creation_failure
from continuous_training.rollout.kubernetes.readiness import Deadline, NotReadyError, restore_deadline
from continuous_training.rollout.kubernetes.serving_objects import Manifest
from continuous_training.rollout.trial import (
    DeployedVersion,
    IncompleteRestoreError,
    InterruptedTrial,
    Trial,
)

CANARY_POLL_SECONDS = 1.0
"""The interval in which pods of a canary that are not ready lose their traffic, in Standard mode."""


@dataclass(frozen=True)
class KServeTrial(Trial):
    """A trial, its deadline, and the manifests of the endpoint before it (None: no endpoint) and after it.

    `name` is the name of the trial's InferenceService.
    """

    name: str
    deadline: Deadline
    previous_manifest: Manifest | None
    manifest: Manifest


class KServeTarget(ClusterTarget[KServeTrial]):
    """The InferenceServices of one namespace."""

    @cached_property
    def trials(self) -> Trials:
        """The InferenceServices of the versions on trial."""
        return Trials(self.cluster)

    @cached_property
    def standard_canary(self) -> StandardCanary:
        """The canary in Standard mode."""
        return StandardCanary(self.cluster)

    def served_digest(self, name: str) -> str | None:
        """Return the digest in the annotation of the InferenceService, or None if it does not exist."""
        service = self._get(name)
        return served_digest(service) if service else None

    def address(self, name: str) -> str:
        """Return the address that KServe assigned to an InferenceService."""
        return Predictor(self.cluster, name).address()

    def trial_address(self, name: str) -> str:
        """Return the address of the model's current trial; TransientError if there is none."""
        trial = self.trials.current(name)
        if trial is None:
            raise TransientError(f"there is no trial of {name}")
        return self.address(trial["metadata"]["name"])

    def check_preconditions(self, name: str) -> None:
        """Raise UserError if KServe cannot serve the model with these settings."""
        check_preconditions(self.cluster, name)

    def prepare_trial(self, version: DeployedVersion) -> KServeTrial:
        """Read the current InferenceService, and build the new one."""
        deadline, service = Deadline(self.settings.deadline), self._get(version.name)
        digest = served_digest(service) if service else None
        mode, pod_spec = find_mode(self.cluster, service), self.runtime.pod(version)
        return KServeTrial(
            version,
            DeployedVersion(version.name, digest) if digest else None,
            self.trials.new_name(version.name),
            deadline,
            restorable_manifest(service) if service else None,
            inference_service(version.name, version, pod_spec, self.settings, mode),
        )

    def start_trial(self, trial: KServeTrial) -> None:
        """Apply the trial's InferenceService and wait until it serves the version."""
        previous, replicas = self.canary_baseline(trial), 1
        if previous is not None and self._is_standard(trial.manifest):
            replicas = self.standard_canary.replicas(previous.name, self.settings.canary)
        manifest = trial_manifest(trial.manifest, trial.name, trial.previous_manifest, replicas)
        service = self.apply(INFERENCE_SERVICE, manifest)
        self._wait_until_served(service, trial.version, trial.deadline)

    def start_canary(self, trial: KServeTrial, previous: DeployedVersion) -> None:
        """Add the trial's pods to the endpoint's Service, or set the share in Knative mode."""
        version = trial.version
        if self._is_standard(trial.manifest):
            self.check_lease()
            share = self.standard_canary.start(version)
        else:
            self._apply_endpoint(with_canary(trial.manifest, self.settings.canary))
            self._wait_for_responses(version.name, version, trial.deadline, count=1)
            share = f"{self.settings.canary} % of the traffic"
        self.progress(f"canary: {version.name} {version.digest[:12]} receives {share}")

    def wait_in_canary(self, version: DeployedVersion, seconds: float) -> None:
        """Wait between two checks of the canary, and keep pods that are not ready out of the endpoint."""
        for _ in until(seconds, CANARY_POLL_SECONDS):
            self.standard_canary.refresh()

    def scale_up(self, trial: KServeTrial) -> None:
        """End the canary in Standard mode; NAME itself has enough pods for all the traffic."""
        self.standard_canary.stop(trial.version.name)

    def switch(self, trial: KServeTrial) -> None:
        """Apply the new InferenceService and wait until it serves the version."""
        self._wait_until_served(self._apply_endpoint(trial.manifest), trial.version, trial.deadline)

    def confirm(self, name: str, digest: str) -> None:
        """Mark the trial as confirmed and delete it; NAME already serves the version."""
        self.check_lease()
        self.trials.confirm(name, digest, self.progress)

    def revert(self, name: str, digest: str) -> None:
        """Apply the previous manifest, wait until it is served, and delete the trial's InferenceService."""
        self.restore(name)

    def verify_complete(self, name: str, digest: str) -> None:
        """Wait until the version is complete, then verify each of its pods."""
        service = self._get(name)
        if service is None:
            raise PipelineError(f"there is no InferenceService {name}")
        self._verify_complete(service, DeployedVersion(name, digest))

    def find_interrupted_trial(self, name: str) -> InterruptedTrial | None:
        """Look for a trial that is neither confirmed nor being deleted."""
        trial = self.trials.current(name)
        if trial is None:
            return None
        previous = previous_manifest(trial)
        return InterruptedTrial(
            served_digest(trial) or "", (served_digest(previous) or "") if previous else ""
        )

    def restore(self, name: str) -> None:
        """Restore NAME from the manifest in the trial, and delete the trial's InferenceService.

        The servers of the trial end first, because NAME may need their room.
        """
        trial = self.trials.current(name)
        if trial is not None:
            self.check_lease()
            self.standard_canary.stop(name)
            self.trials.stop(name)
            self._restore_manifest(name, previous_manifest(trial))
            self.trials.delete(name, self.progress)

    def _restore_manifest(self, name: str, previous: Manifest | None) -> None:
        """Apply the previous manifest, or delete NAME if there is none.

        Raises IncompleteRestoreError if the previous version does not become complete.
        """
        self.check_lease()
        service = self._get(name)
        if previous is None:
            if service is not None:
                self.cluster.delete(INFERENCE_SERVICE, name)
            self._wait_until_deleted(name)
            return
        if service is None or restorable_manifest(service) != previous:
            service = self._apply_endpoint(previous)
        version = DeployedVersion(name, served_digest(previous) or "")
        try:
            try:
                self._verify_complete(service, version)
            except NotReadyError as error:
                self._restore_without_additional_pods(previous, version, error)
        except TransientError:
            raise
        except PipelineError as error:
            raise IncompleteRestoreError(
                f"the previous manifest of {name} is applied, but not complete: {error}"
            ) from error

    def _restore_without_additional_pods(
        self, previous: Manifest, version: DeployedVersion, error: NotReadyError
    ) -> None:
        """Replace the pods with one pod fewer than before, if the namespace has no room for one more.

        Raises `error` if that is not the reason, or not possible.
        """
        deployment = self.cluster.get(DEPLOYMENT, deployment_name(version.name))
        relaxed = without_additional_pods(previous)
        if creation_failure(deployment) is None or relaxed is None:
            raise error
        self.progress(f"there is no room for an additional server: restoring {version.name} with one fewer")
        try:
            self._verify_complete(self._apply_endpoint(relaxed), version)
        finally:
            service = self._apply_endpoint(previous)
        self._wait_until_served(service, version, restore_deadline(self.settings.deadline))

    def _verify_complete(self, service: Manifest, version: DeployedVersion) -> None:
        self._wait_until_served(service, version, restore_deadline(self.settings.deadline))
        if self._is_standard(service):
            self.verify_pods(version, Predictor(self.cluster, version.name).pod_labels(version.digest))

    def _wait_until_served(self, service: Manifest, version: DeployedVersion, deadline: Deadline) -> None:
        """Return when an InferenceService, as the API server returned it, serves only this version."""
        name = service["metadata"]["name"]
        if self._is_standard(service):
            predictor = self._predictor(name, version)
            predictor.wait_for_deployment(service, version.digest, deadline, self.progress)
        self._wait_for_responses(name, version, deadline)

    def _wait_for_responses(
        self, name: str, version: DeployedVersion, deadline: Deadline, count: int = CONSECUTIVE_RESPONSES
    ) -> None:
        request = self.archives.golden_requests(version).requests[0].request
        self._predictor(name, version).wait_for_responses(
            lambda address: self.predict_at(address, version, request),
            version.digest,
            deadline,
            self.progress,
            count,
        )

    def _is_standard(self, service: Manifest) -> bool:
        return is_standard(find_mode(self.cluster, service))

    def _predictor(self, name: str, version: DeployedVersion) -> Predictor:
        """Return a predictor that reports the events since the start of the current trial."""
        trial = self.trials.current(version.name)
        return Predictor(self.cluster, name, trial["metadata"].get("creationTimestamp", "") if trial else "")

    def _apply_endpoint(self, manifest: Manifest) -> Manifest:
        """Apply an endpoint's InferenceService. A deleted one of that name must not exist any more."""
        self._wait_until_deleted(manifest["metadata"]["name"])
        return self.apply(INFERENCE_SERVICE, manifest)

    def _wait_until_deleted(self, name: str) -> None:
        """Wait while an InferenceService is being deleted. Raises UnsettledError after DELETION_TIMEOUT."""
        for _ in until(DELETION_TIMEOUT):
            service = self.cluster.get(INFERENCE_SERVICE, name)
            if service is None or not is_being_deleted(service):
                return
        raise UnsettledError(
            f"InferenceService {name} has been deleted, but its finalizers prevent its removal: check that "
            f"KServe's controller runs, and see kubectl -n {self.cluster.namespace} get isvc {name} -o yaml"
        )

    def _get(self, name: str) -> Manifest | None:
        service = self.cluster.get(INFERENCE_SERVICE, name)
        return None if service is None or is_being_deleted(service) else service
