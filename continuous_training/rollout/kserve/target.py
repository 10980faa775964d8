"""The target on KServe: one InferenceService a model, and one beside it for the version on trial.

KServe has no second version to switch to: an InferenceService is changed in place. So a version proves
itself in an InferenceService of its own, NAME-trial, which also remembers what NAME was before. It goes
when the rollout has ended; one that is there at the beginning is of a rollout that was cut off.
docs/kserve.md tells the whole way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.partial_metadata import is_known
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.progress import Progress
from continuous_training.core.settings import ServingSettings
from continuous_training.rollout.archive_cache import ArchiveCache
from continuous_training.rollout.canary_watch import watch_canary
from continuous_training.rollout.kserve.deployment_mode import find_mode, is_standard
from continuous_training.rollout.kserve.inference_service import (
    INFERENCE_SERVICE,
    MANAGED_BY_LABELS,
    former_manifest,
    inference_service,
    restorable_manifest,
    served_digest,
    trial_of,
    with_canary,
)
from continuous_training.rollout.kserve.predictor import Predictor
from continuous_training.rollout.kubernetes.lease import LeaseLock
from continuous_training.rollout.kubernetes.manifests import DeployedVersion, trial_name
from continuous_training.rollout.kubernetes.readiness import Deadline
from continuous_training.rollout.kubernetes.service_client import ServiceClient, open_service_client
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer

LONGEST = 40
"""NAME-trial-predictor-00001 names a Service in serverless mode, in at most 63 letters."""


class KServeTarget:
    """The InferenceServices of one namespace."""

    def __init__(
        self,
        cluster: Cluster,
        settings: ServingSettings,
        store: ObjectStore,
        progress: Progress,
        ask: ServiceClient | None = None,
    ) -> None:
        self.cluster, self.settings, self.progress = cluster, settings, progress
        self.server, self.ask = ModelServer(settings), ask or open_service_client(cluster)
        self.archives = ArchiveCache(store)
        self._lock: LeaseLock | None = None

    @contextmanager
    def rollout_lock(self, name: str, progress: Progress) -> Iterator[None]:
        """Hold the Lease of the model, and put right first what a rollout that was cut off has left.

        UserError, before anything is changed, for what cannot be on this cluster.
        """
        self._lock = LeaseLock(self.cluster, DeployedVersion(name, "").name)
        try:
            with self._lock.held(progress):
                self._check(name)
                self._settle(name)
                yield
        finally:
            self._lock = None

    def served_digest(self, name: str) -> str | None:
        """Return the digest that the InferenceService asks for, or None when there is none."""
        found = self._get(name)
        return served_digest(found) if found else None

    def served_golden_requests(self, name: str) -> GoldenSet:
        """Return the golden requests of that version."""
        return self.archives.golden(DeployedVersion(name, self.served_digest(name) or ""))

    def begin_trial(self, name: str, archive: Path, digest: str) -> None:
        """Have the version prove itself in an InferenceService of its own, then change NAME to it.

        Whatever fails, NAME is as it was when this raises, and answers, and the trial is gone.
        """
        version, deadline = DeployedVersion(name, digest), Deadline(self.settings.deadline)
        self.archives.give(version, archive)
        live = self._get(name)
        former = restorable_manifest(live) if live else None
        mode = find_mode(self.cluster, live)
        wanted = inference_service(name, version, self.server.pod(version), self.settings, mode)
        try:
            self._prove(self._apply(trial_of(wanted, trial_name(name), former)), version, deadline)
            if self.settings.canary and former and served_digest(former) != digest:
                self._try_on_some(
                    wanted, version, DeployedVersion(name, served_digest(former) or ""), deadline
                )
            self._wait(self._apply(wanted), version, deadline)
        except PipelineError as error:
            self._undo(name, digest, error)
            raise

    def predict(self, name: str, request: Any, digest: str) -> Any:
        """Ask at the address that callers use; VersionMismatchError when another version answers."""
        return self._predictor(name, name).predict(request, digest)

    def confirm(self, name: str, digest: str) -> None:
        """End the rollout: the version on trial is the one that NAME serves."""
        self._mine()
        self.cluster.delete(INFERENCE_SERVICE, trial_name(name))

    def revert(self, name: str, digest: str) -> None:
        """Put back what NAME was before the trial, see it answer, and remove the trial."""
        left = self._get(trial_name(name))
        if left is not None:
            self._put_back(name, former_manifest(left))
            self.cluster.delete(INFERENCE_SERVICE, trial_name(name))

    def url(self, name: str) -> str:
        """Return the address inside the cluster."""
        return f"{self._predictor(name, name).address()}{self.server.predict_path(name)}"

    def _check(self, name: str) -> None:
        if not is_known(self.cluster, INFERENCE_SERVICE):
            raise UserError(
                f"this cluster has no {INFERENCE_SERVICE.kind} ({INFERENCE_SERVICE.api_version}): install "
                "KServe, or set CT_TARGET=kubernetes"
            )
        if len(name) > LONGEST:
            raise UserError(
                f"the model {name!r} cannot be served by KServe, which makes longer names of it: at most "
                f"{LONGEST} letters"
            )
        live = self._get(name)
        labels = live["metadata"].get("labels", {}) if live else MANAGED_BY_LABELS
        if not labels.items() >= MANAGED_BY_LABELS.items():
            raise UserError(
                f"InferenceService {name} in namespace {self.cluster.namespace} was not made by this "
                "pipeline, and is left alone: delete it, or give CT_SERVING_NAMESPACE another namespace"
            )
        if self.settings.canary and is_standard(find_mode(self.cluster, live)):
            raise UserError(
                f"CT_CANARY is {self.settings.canary}, and KServe runs {name} in its Standard mode, which "
                "ignores canaryTrafficPercent without a word: all traffic would go to the new version. Set "
                "CT_CANARY=0, or CT_TARGET=kubernetes, which has canaries"
            )

    def _settle(self, name: str) -> None:
        """Put NAME back as it was before a rollout that was cut off."""
        left = self._get(trial_name(name))
        if left is None:
            return
        former = former_manifest(left)
        back = served_digest(former) if former else None
        self.progress(
            f"a rollout of {name} was cut off with {str(served_digest(left))[:12]} on trial: "
            f"{back[:12] if back else 'nothing'} is put back"
        )
        self.revert(name, "")

    def _undo(self, name: str, digest: str, error: PipelineError) -> None:
        """Put back what was there before a trial that failed; what cannot be is left to the next rollout."""
        try:
            self.revert(name, digest)
        except PipelineError as another:
            raise type(error)(f"{error}; and {name} could not be put back as it was: {another}") from error

    def _prove(self, tried: Object, version: DeployedVersion, deadline: Deadline) -> None:
        """Wait for the trial and ask its golden requests; raises when one is answered wrong."""
        self._wait(tried, version, deadline)
        if wrong := self.wrong_answers(version):
            raise PipelineError("its golden requests are answered wrongly: " + "; ".join(wrong[:3]))
        self.progress(
            f"{trial_name(version.name)} answers its golden requests right, before it has any traffic"
        )

    def wrong_answers(self, version: DeployedVersion) -> list[str]:
        """Say in words which golden requests the version on trial answers wrongly."""
        predictor = self._predictor(trial_name(version.name), version.name)
        return self.archives.golden(version).check(lambda request: predictor.predict(request, version.digest))

    def count_golden(self, version: DeployedVersion) -> int:
        """Return how many golden requests a version has."""
        return len(self.archives.golden(version))

    def _try_on_some(
        self, wanted: Object, version: DeployedVersion, former: DeployedVersion, deadline: Deadline
    ) -> None:
        """Give the version a share of the traffic first; raises when the canary is withdrawn."""
        percent = self.settings.canary
        self._apply(with_canary(wanted, percent))
        request = self.archives.golden(version).requests[0].request
        predictor = self._predictor(version.name, version.name)
        predictor.wait_for_answers(request, version.digest, deadline, self.progress, steady=1)
        self.progress(f"canary: {version.name} {version.digest[:12]} has {percent} % of the traffic")
        watch_canary(self, version, former)

    def _put_back(self, name: str, former: Object | None) -> None:
        """Make NAME what it was, and wait until it answers again; what does not come back is told."""
        self._mine()
        live = self._get(name)
        if former is None:
            if live is not None:
                self.cluster.delete(INFERENCE_SERVICE, name)
            return
        if live is None or restorable_manifest(live) != former:
            live = self.cluster.apply(INFERENCE_SERVICE, former)
        try:
            self._wait(
                live, DeployedVersion(name, served_digest(former) or ""), Deadline(self.settings.deadline)
            )
        except PipelineError as error:
            self.progress(f"{name} was put back as it was, and is not seen to answer: {error}")

    def _wait(self, service: Object, version: DeployedVersion, deadline: Deadline) -> None:
        """Return when an InferenceService, as the API server has it, serves that version and no other."""
        predictor = self._predictor(service["metadata"]["name"], version.name)
        if is_standard(find_mode(self.cluster, service)):
            predictor.wait_for_pods(service, version.digest, deadline, self.progress)
        request = self.archives.golden(version).requests[0].request
        predictor.wait_for_answers(request, version.digest, deadline, self.progress)

    def _predictor(self, name: str, model: str) -> Predictor:
        return Predictor(self.cluster, self.ask, name, model, self.server.predict_path(model))

    def _get(self, name: str) -> Object | None:
        return self.cluster.get(INFERENCE_SERVICE, name)

    def _apply(self, manifest: Object) -> Object:
        self._mine()
        return self.cluster.apply(INFERENCE_SERVICE, manifest)

    def _mine(self) -> None:
        """Raise when another rollout may have begun, before anything is changed."""
        if self._lock is not None:
            self._lock.check()
