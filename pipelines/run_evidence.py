"""The record of a run on a cluster, the failure of a step, and the logs of its steps.

| source | needs |
|---|---|
| the object store | CT_STORE and its key |
| the log of a pod, from the API of Kubeflow Pipelines | the address of the API |
| the log of a pod, from Kubernetes | a kubeconfig |

A source that this machine cannot reach is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.artifacts.step_failure import StepFailure
from continuous_training.core.errors import PipelineError
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.api_logs import read_api_log
from continuous_training.kubeflow.object_names import KUBEFLOW_NAMESPACE
from continuous_training.kubeflow.pending_pods import find_delays
from continuous_training.kubeflow.preflight.cluster_preflight import RETRY_BUDGET
from continuous_training.kubeflow.step_logs import (
    StepLog,
    failed_step_log,
    logged_record,
    read_logged_lines,
)


@dataclass(frozen=True)
class RunEvidence:
    """The sources of one run. `store` is read if it is a bucket; `kubeconfig` is empty if it is not set."""

    client: KubeflowClient
    workload: str
    run_id: str
    store: str
    kubeconfig: str

    @property
    def namespace(self) -> str:
        """The namespace of the steps' pods."""
        return self.client.connection.namespace or KUBEFLOW_NAMESPACE

    @property
    def history(self) -> RunHistory | None:
        """The records of the workload, or None if the store of the cluster is not known."""
        return RunHistory(open_store(self.store), self.workload) if self.store.startswith("s3://") else None

    def stored_record(self) -> RunRecord | None:
        """Return the record of the run in the store, or None."""
        try:
            return self.history.run(self.run_id) if self.history else None
        except PipelineError:
            return None

    def record(self) -> RunRecord | None:
        """Return the record of the run from the store or the log of notify, or None."""
        record = self.stored_record()
        if record is None:
            _, lines = read_api_log(self.client, self.run_id, "notify")
            record = logged_record(lines, self.run_id)
        if record is None:
            record = logged_record(self._logged_lines("notify"), self.run_id)
        return record

    def failure(self) -> StepFailure | None:
        """Return the recorded failure of a step, or None."""
        try:
            return self.history.failure(self.run_id) if self.history else None
        except PipelineError:
            return None

    def failed_log(self, step: str) -> StepLog | None:
        """Return the log of the last attempt of a failed step, or None."""
        try:
            log = failed_step_log(self._connect(), self.run_id, step)
        except PipelineError:
            log = None
        if log is None:
            pod, lines = read_api_log(self.client, self.run_id, step)
            log = StepLog.from_lines(step, pod, self.namespace, "Failed", lines) if lines else None
        return log

    def delays(self) -> dict[str, str]:
        """Return why the run makes no progress, by step; empty if this machine cannot read the cluster."""
        try:
            return find_delays(self._connect(), self.run_id)
        except PipelineError:
            return {}

    def _logged_lines(self, step: str) -> list[str]:
        try:
            return read_logged_lines(self._connect(), self.run_id, step)
        except PipelineError:
            return []

    def _connect(self) -> Cluster:
        # Start-up time: the import loads the Kubernetes client, which most runs do not need.
        from continuous_training.adapters.kubernetes.connection import connect

        return connect(self.namespace, self.kubeconfig).with_retry_budget(RETRY_BUDGET)
