"""Settings for submitting runs: the service account, and the preflight before the submission."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.progress import Progress
from continuous_training.kubeflow.object_names import KUBEFLOW_NAMESPACE, STEPS_ACCOUNT
from continuous_training.kubeflow.preflight.cluster_preflight import check_cluster
from continuous_training.kubeflow.preflight.finding import State, missing


@dataclass(frozen=True)
class Submission:
    """The service account of the steps ("": the default of the server), and whether a preflight is made."""

    service_account: str = STEPS_ACCOUNT
    preflight: bool = True
    kubeconfig: str = ""

    def check_requirements(self, texts: Iterable[str], namespace: str, progress: Progress) -> None:
        """Return if the cluster has everything that the compiled pipelines need.

        `namespace` is the profile's namespace, or empty. Warnings and invisible objects are reported to
        `progress`. The preflight is skipped, with a message, when no cluster is reachable or the kubeconfig
        selects another cluster than that of the pipelines. Raises UserError that lists the missing objects.
        """
        if not self.preflight:
            return
        checked_namespace = namespace or KUBEFLOW_NAMESPACE
        try:
            findings = list(check_cluster(texts, checked_namespace, self.service_account, self.kubeconfig))
        except PipelineError as error:
            progress(f"preflight: skipped: {error}")
            return
        if not namespace and findings[0].state == State.MISSING:
            progress(
                f"preflight: skipped: the cluster of the kubeconfig has no namespace {KUBEFLOW_NAMESPACE}"
            )
            return
        for finding in findings:
            if finding.state not in (State.OK, State.MISSING):
                progress(f"preflight: {finding}")
        if failures := missing(findings):
            lines = "\n  ".join(f"{finding.requirement}: {finding.advice}" for finding in failures)
            raise UserError(
                f"the cluster lacks objects that a run needs (--no-preflight submits anyway):\n  {lines}"
            )
