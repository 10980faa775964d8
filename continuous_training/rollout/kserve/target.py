"""The deployment target `kserve`: one InferenceService per model, and a second one for the version on trial.

An InferenceService has no second version to switch to: it is changed in place. A version is therefore
verified in a separate InferenceService, NAME-trial, which also stores the previous manifest of NAME. It is
deleted at the end of the rollout. If it exists at the beginning, an earlier rollout was interrupted.
docs/kserve.md describes the whole procedure.
"""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.rollout.kserve.deployment_mode import find_mode, is_standard
from continuous_training.rollout.kserve.inference_service import (
    INFERENCE_SERVICE,
    inference_service,
    previous_manifest,
    restorable_manifest,
    served_digest,
    trial_manifest,
    with_canary,
)
from continuous_training.rollout.kserve.preconditions import check_preconditions
from continuous_training.rollout.kserve.predictor import CONSECUTIVE_RESPONSES, Predictor
from continuous_training.rollout.kubernetes.cluster_target import ClusterTarget
from continuous_training.rollout.kubernetes.readiness import Deadline
from continuous_training.rollout.kubernetes.serving_objects import Manifest
from continuous_training.rollout.trial import (
    DeployedVersion,
    IncompleteRestoreError,
    InterruptedTrial,
    Trial,
    trial_name,
)


@dataclass(frozen=True)
class KServeTrial(Trial):
    """A trial, its deadline, and the manifests of the endpoint before it (None: no endpoint) and after it."""

    deadline: Deadline
    previous_manifest: Manifest | None
    manifest: Manifest


class KServeTarget(ClusterTarget[KServeTrial]):
    """The InferenceServices of one namespace."""

    def served_digest(self, name: str) -> str | None:
        """Return the digest in the annotation of the InferenceService, or None if it does not exist."""
        service = self._get(name)
        return served_digest(service) if service else None

    def address(self, name: str) -> str:
        """Return the address that KServe assigned to an InferenceService."""
        return Predictor(self.cluster, name).address()

    def check_preconditions(self, name: str) -> None:
        """Raise UserError if KServe cannot serve the model with these settings."""
        check_preconditions(self.cluster, self.settings, name)

    def prepare_trial(self, version: DeployedVersion) -> KServeTrial:
        """Read the current InferenceService, and build the new one."""
        deadline, service = Deadline(self.settings.deadline), self._get(version.name)
        digest = served_digest(service) if service else None
        mode, pod_spec = find_mode(self.cluster, service), self.runtime.pod(version)
        return KServeTrial(
            version,
            DeployedVersion(version.name, digest) if digest else None,
            deadline,
            restorable_manifest(service) if service else None,
            inference_service(version.name, version, pod_spec, self.settings, mode),
        )

    def start_trial(self, trial: KServeTrial) -> None:
        """Apply the trial's InferenceService and wait until it serves the version."""
        name = trial_name(trial.version.name)
        manifest = trial_manifest(trial.manifest, name, trial.previous_manifest)
        service = self.apply(INFERENCE_SERVICE, manifest)
        self._wait_until_served(service, trial.version, trial.deadline)

    def start_canary(self, trial: KServeTrial, previous: DeployedVersion) -> None:
        """Apply the new InferenceService with a canary share, and wait for a response of the version."""
        version, percent = trial.version, self.settings.canary
        self.apply(INFERENCE_SERVICE, with_canary(trial.manifest, percent))
        self._wait_for_responses(version.name, version, trial.deadline, count=1)
        self.progress(f"canary: {version.name} {version.digest[:12]} receives {percent} % of the traffic")

    def switch(self, trial: KServeTrial) -> None:
        """Apply the new InferenceService and wait until it serves the version."""
        self._wait_until_served(self.apply(INFERENCE_SERVICE, trial.manifest), trial.version, trial.deadline)

    def confirm(self, name: str, digest: str) -> None:
        """Delete the trial's InferenceService; NAME already serves the version."""
        self.check_lease()
        self.cluster.delete(INFERENCE_SERVICE, trial_name(name))

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
        """Look for the InferenceService NAME-trial."""
        trial = self._get(trial_name(name))
        if trial is None:
            return None
        previous = previous_manifest(trial)
        return InterruptedTrial(
            served_digest(trial) or "", (served_digest(previous) or "") if previous else ""
        )

    def restore(self, name: str) -> None:
        """Restore NAME from the manifest in the trial, and delete the trial's InferenceService."""
        trial = self._get(trial_name(name))
        if trial is not None:
            self._restore_manifest(name, previous_manifest(trial))
            self.cluster.delete(INFERENCE_SERVICE, trial_name(name))

    def _restore_manifest(self, name: str, previous: Manifest | None) -> None:
        """Apply the previous manifest, or delete NAME if there is none.

        Raises IncompleteRestoreError if the previous version does not become complete.
        """
        self.check_lease()
        service = self._get(name)
        if previous is None:
            if service is not None:
                self.cluster.delete(INFERENCE_SERVICE, name)
            return
        if service is None or restorable_manifest(service) != previous:
            service = self.cluster.apply(INFERENCE_SERVICE, previous)
        try:
            self._verify_complete(service, DeployedVersion(name, served_digest(previous) or ""))
        except TransientError:
            raise
        except PipelineError as error:
            raise IncompleteRestoreError(
                f"the previous manifest of {name} is applied, but not complete: {error}"
            ) from error

    def _verify_complete(self, service: Manifest, version: DeployedVersion) -> None:
        self._wait_until_served(service, version, Deadline(self.settings.deadline))
        if is_standard(find_mode(self.cluster, service)):
            self.verify_pods(version, Predictor(self.cluster, version.name).pod_labels(version.digest))

    def _wait_until_served(self, service: Manifest, version: DeployedVersion, deadline: Deadline) -> None:
        """Return when an InferenceService, as the API server returned it, serves only this version."""
        name = service["metadata"]["name"]
        if is_standard(find_mode(self.cluster, service)):
            predictor = Predictor(self.cluster, name)
            predictor.wait_for_deployment(service, version.digest, deadline, self.progress)
        self._wait_for_responses(name, version, deadline)

    def _wait_for_responses(
        self, name: str, version: DeployedVersion, deadline: Deadline, count: int = CONSECUTIVE_RESPONSES
    ) -> None:
        request = self.archives.golden_requests(version).requests[0].request
        Predictor(self.cluster, name).wait_for_responses(
            lambda address: self.predict_at(address, version, request),
            version.digest,
            deadline,
            self.progress,
            count,
        )

    def _get(self, name: str) -> Manifest | None:
        return self.cluster.get(INFERENCE_SERVICE, name)
