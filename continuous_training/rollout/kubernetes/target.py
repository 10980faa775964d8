"""The target on Kubernetes: a Deployment for each version, and a Service whose selector is the switch.

The former version's pods serve until the new one is confirmed, so that going back is one selector, too.
What the Service's annotations say is enough for the next rollout to put right what a lost one has left.
docs/rollout.md tells the whole way.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from continuous_training.adapters import model_store
from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    SERVICE,
)
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts import archive as archives
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.core.progress import Progress
from continuous_training.core.settings import ServingSettings
from continuous_training.rollout import canary_watch
from continuous_training.rollout.kubernetes import lease, manifests
from continuous_training.rollout.kubernetes.draining import wait_until_quiet
from continuous_training.rollout.kubernetes.lease import LeaseLock
from continuous_training.rollout.kubernetes.manifests import (
    CANARY_ANNOTATION,
    CONFIRMED_ANNOTATION,
    SERVED_ANNOTATION,
    DeployedVersion,
)
from continuous_training.rollout.kubernetes.readiness import (
    Deadline,
    label_selector,
    pods_of,
    wait_until_ready,
)
from continuous_training.rollout.kubernetes.service_client import ServiceClient, open_service_client
from continuous_training.rollout.kubernetes.serving_runtimes import ServingRuntime
from continuous_training.serving.errors import VersionMismatchError

SETTLED, SETTLE_SECONDS = 5, 60.0
"""So many answers in a row must come from a version before the traffic counts as moved, within seconds."""


NODES_HEAR_SECONDS = 45.0

DRAIN_SECONDS, WITHDRAW_SECONDS = 30.0, 5.0
"""How long servers whose traffic has moved may be asked still, by nodes that have not heard and by callers
that keep their connection; those of a version that has failed for less long."""


class KubernetesTarget:
    """The model servers of one namespace; `server` is the program that serves the archives there."""

    lease_seconds = lease.SECONDS

    def __init__(
        self,
        cluster: Cluster,
        settings: ServingSettings,
        store: ObjectStore,
        progress: Progress,
        server: ServingRuntime,
        ask: ServiceClient | None = None,
    ) -> None:
        self.cluster, self.settings, self.store, self.progress = cluster, settings, store, progress
        self.server, self.ask = server, ask or open_service_client(cluster)
        self._lock: LeaseLock | None = None
        self._archives: dict[str, Path] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="archives-")

    @contextmanager
    def rollout_lock(self, name: str, progress: Progress) -> Iterator[None]:
        """Hold the Lease of the model, and put right first what a rollout that was cut off has left."""
        self._lock = LeaseLock(self.cluster, DeployedVersion(name, "").name, self.lease_seconds)
        try:
            with self._lock.held(progress):
                self._settle(name)
                yield
        finally:
            self._lock = None

    def served_digest(self, name: str) -> str | None:
        """Return the digest that the Service gives the traffic to, or None when there is none."""
        return _annotations(self.cluster.get(SERVICE, name)).get(SERVED_ANNOTATION) or None

    def served_golden_requests(self, name: str) -> GoldenSet:
        """Return the golden requests of the version that the Service gives the traffic to."""
        return self._golden(DeployedVersion(name, self.served_digest(name) or ""))

    def begin_trial(self, name: str, archive: Path, digest: str) -> None:
        """Bring the version up beside the former one, have it prove itself, and give it the traffic.

        Whatever fails, the former version has the traffic when this raises, and the new one is gone.
        """
        version, former, deadline = (
            DeployedVersion(name, digest),
            self.served_digest(name),
            Deadline(self.settings.deadline),
        )
        self._archives[digest] = archive
        before = self.cluster.get(DEPLOYMENT, version.deployment_name) if former == digest else None
        try:
            if self.settings.canary and former not in (None, digest):
                self._try_on_some(version, DeployedVersion(name, str(former)), deadline)
            self._bring_up(version, self.settings.replicas, deadline)
            self._prove(version)
            self._switch(version, former or "")
        except PipelineError as error:
            self._undo(version, before, error)
            raise

    def predict(self, name: str, request: Any, digest: str) -> Any:
        """Ask the Service the way its callers do; VersionMismatchError when another version answers."""
        return self._predict(name, DeployedVersion(name, digest), request)

    def confirm(self, name: str, digest: str) -> None:
        """Remember that the version has proven itself, and remove the others."""
        version = DeployedVersion(name, digest)
        self._mine()
        self.cluster.apply(SERVICE, manifests.endpoint_service(version, confirmed=digest))
        self._let_nodes_hear()
        self._remove_all_but(name, version, quiet_within=DRAIN_SECONDS)
        self.cluster.delete(SERVICE, manifests.trial_name(name))

    def revert(self, name: str, digest: str) -> None:
        """Give the traffic to the version that was confirmed last, see it answer, and remove this one."""
        service = self.cluster.get(SERVICE, name)
        confirmed = _annotations(service).get(CONFIRMED_ANNOTATION, "")
        self._go_back(name, service)
        if digest != confirmed:
            self._remove(DeployedVersion(name, digest).deployment_name, name, quiet_within=WITHDRAW_SECONDS)
        self.cluster.delete(SERVICE, manifests.trial_name(name))

    def url(self, name: str) -> str:
        """Return the address of the Service inside the cluster."""
        return f"http://{name}.{self.cluster.namespace}.svc{self.server.predict_path(name)}"

    def _settle(self, name: str) -> None:
        """Put the confirmed version back where a rollout was cut off before it had proven itself."""
        service = self.cluster.get(SERVICE, name)
        found = _annotations(service)
        if service is None or (
            found.get(SERVED_ANNOTATION) == found.get(CONFIRMED_ANNOTATION)
            and not found.get(CANARY_ANNOTATION)
        ):
            return
        cut_off = found.get(CANARY_ANNOTATION) or found.get(SERVED_ANNOTATION, "")
        back = found.get(CONFIRMED_ANNOTATION, "")
        self.progress(
            f"a rollout of {name} was cut off with {cut_off[:12]} on trial: {back[:12] or 'nothing'} is put "
            "back"
        )
        self._go_back(name, service)

    def _go_back(self, name: str, service: Object | None) -> None:
        found = _annotations(service)
        back = found.get(CONFIRMED_ANNOTATION, "")
        self._mine()
        if not back:
            self.cluster.delete(SERVICE, name)
        elif found.get(SERVED_ANNOTATION) != back or found.get(CANARY_ANNOTATION):
            self._switch(DeployedVersion(name, back), back)

    def _try_on_some(self, version: DeployedVersion, former: DeployedVersion, deadline: Deadline) -> None:
        """Give the version a share of the traffic first; raises when the canary is withdrawn."""
        self._remove_all_but(version.name, version, former)
        running = self.cluster.get(DEPLOYMENT, former.deployment_name) or {}
        others = int(running.get("spec", {}).get("replicas") or self.settings.replicas)
        replicas = canary_watch.replicas_of_canary(self.settings.canary, others)
        self._bring_up(version, replicas, deadline, scaled=False)
        self._prove(version)
        self._mine()
        self.cluster.apply(SERVICE, manifests.endpoint_service(former, former.digest, canary=version.digest))
        share = 100 * replicas / (replicas + others)
        self.progress(f"canary: {version.deployment_name} has {share:.0f} % of the traffic, by {replicas} of "
                      f"{replicas + others} servers")  # fmt: skip
        canary_watch.watch_canary(self, version, former)

    def _bring_up(
        self, version: DeployedVersion, replicas: int, deadline: Deadline, scaled: bool = True
    ) -> None:
        """Have so many servers of the version ready; with an autoscaler unless it is a canary."""
        self._mine()
        found = self.cluster.get(DEPLOYMENT, version.deployment_name)
        if found is not None and scaled:
            # The autoscaler's number of servers, where there are more.
            replicas = max(replicas, int(found["spec"].get("replicas") or 0))
        made = self.cluster.apply(
            DEPLOYMENT, manifests.deployment(version, replicas, self.server.pod(version))
        )
        self.cluster.apply(SERVICE, manifests.trial_service(version))
        self.cluster.apply(DISRUPTION_BUDGET, manifests.disruption_budget(version.name))
        if scaled:
            self.cluster.apply(AUTOSCALER, manifests.autoscaler(version, self.settings, made))
        wait_until_ready(self.cluster, version, replicas, deadline, self.progress, self._mine)

    def _prove(self, version: DeployedVersion) -> None:
        """Ask the golden requests through the Service of the version on trial; raises at a wrong answer."""
        service = manifests.trial_name(version.name)
        self._settled(service, version)
        if wrong := self.wrong_answers(version):
            raise PipelineError("its golden requests are answered wrongly: " + "; ".join(wrong[:3]))
        self.progress(
            f"{version.deployment_name} answers its golden requests right, before it has any traffic"
        )

    def wrong_answers(self, version: DeployedVersion) -> list[str]:
        """Say in words which golden requests the version on trial answers wrongly."""
        service = manifests.trial_name(version.name)
        return self._golden(version).check(lambda request: self._predict(service, version, request))

    def count_golden(self, version: DeployedVersion) -> int:
        """Return how many requests `wrong_answers` asks."""
        return len(self._golden(version))

    def _switch(self, version: DeployedVersion, confirmed: str) -> None:
        """Give the version all the traffic, and wait until it is seen to answer."""
        self._mine()
        self.cluster.apply(SERVICE, manifests.endpoint_service(version, confirmed))
        self._settled(version.name, version)

    def _settled(self, service: str, version: DeployedVersion) -> None:
        """Wait until the version answers at a Service: nodes hear of a change a moment later."""
        first, good, end = self._golden(version).requests[0], 0, time.monotonic() + SETTLE_SECONDS
        while good < SETTLED:
            try:
                self._predict(service, version, first.request)
                good += 1
            except (TransientError, VersionMismatchError) as error:
                good = 0
                if time.monotonic() > end:
                    raise PipelineError(
                        f"{version.deployment_name} does not answer at Service {service} after "
                        f"{SETTLE_SECONDS:g} s: {error}"
                    ) from None
                time.sleep(0.2)

    def _predict(self, service: str, version: DeployedVersion, request: Any) -> Any:
        path = self.server.version_path(version.name, self._archive(version))
        answer = self.ask.post(service, path, request)
        found = answer.json()
        digest = self.server.response_digest(answer, version.digest)
        if digest != version.digest:
            raise VersionMismatchError(
                f"{version.name}: version {digest[:12] or 'unknown'} answered, and {version.digest[:12]} was "
                "asked for"
            )
        return found

    def _undo(self, version: DeployedVersion, before: Object | None, error: PipelineError) -> None:
        """Put back what was there before a trial that failed; what cannot be is left to the next rollout."""
        try:
            if before is None:
                self.revert(version.name, version.digest)
            else:
                kept = {key: before["metadata"].get(key, {}) for key in ("name", "labels", "annotations")}
                self.cluster.apply(DEPLOYMENT, {"metadata": kept, "spec": before["spec"]})
                self.cluster.delete(SERVICE, manifests.trial_name(version.name))
        except PipelineError as another:
            raise type(error)(f"{error}; and what it left could not be removed: {another}") from error

    def _let_nodes_hear(self) -> None:
        """Wait where the API server was away a moment ago: nodes try again after up to half a minute."""
        left = NODES_HEAR_SECONDS - self.cluster.transport.seconds_since_lost
        if left > 0:
            self.progress(f"the API server was away: former servers stay for {left:.0f} s, for nodes to hear")
            time.sleep(left)

    def _remove_all_but(self, name: str, *kept: DeployedVersion, quiet_within: float = 0) -> None:
        names = {version.deployment_name for version in kept}
        for found in self.cluster.find(DEPLOYMENT, label_selector(manifests.model_labels(name))):
            if found["metadata"]["name"] not in names:
                self._remove(found["metadata"]["name"], name, quiet_within)

    def _remove(self, deployment: str, name: str, quiet_within: float) -> None:
        """Remove a Deployment once its servers are asked no more, or after so many seconds."""
        found = self.cluster.get(DEPLOYMENT, deployment)
        if found is None:
            return
        labels = found["spec"]["selector"]["matchLabels"]
        wait_until_quiet(lambda: pods_of(self.cluster, labels), name, self.ask.metrics, quiet_within)
        self.cluster.delete(DEPLOYMENT, deployment)

    def _golden(self, version: DeployedVersion) -> GoldenSet:
        return archives.read_manifest(self._archive(version)).golden

    def _archive(self, version: DeployedVersion) -> Path:
        """Return a version's archive as a local file, from the store where it was not given."""
        if version.digest not in self._archives:
            found = model_store.find(self.store, f"{version.name}@{version.digest}")
            self._archives[version.digest] = self.store.fetch(found.key, Path(self._folder.name))
        return self._archives[version.digest]

    def _mine(self) -> None:
        """Raise when another rollout may have begun, before anything is changed."""
        if self._lock is not None:
            self._lock.check()


def _annotations(thing: Object | None) -> dict[str, str]:
    return dict((thing or {}).get("metadata", {}).get("annotations") or {})
