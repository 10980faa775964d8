"""Runs that the trigger service starts on Kubeflow Pipelines, with uploaded versions of the pipelines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.errors import TransientError
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.api_objects import PipelineVersion, Run, RunRequest
from continuous_training.kubeflow.follow_run import steps_of
from continuous_training.kubeflow.object_names import STEPS_ACCOUNT
from continuous_training.serving.errors import RequestError
from continuous_training.trigger.queued_run import QueuedRun, RunStatus, StartedRun

SEARCHED_RUNS = 100
"""The number of the latest runs among which a run of an interrupted start is searched."""

TERMINATION_LIMIT = 300
"""Seconds after which a terminated run counts as ended. Kubeflow Pipelines reports the end within a minute,
but never if the run's Workflow was deleted."""


class KubeflowTarget:
    """Starts the version of a pipeline that was uploaded last, or the pinned version.

    `store` is the store of the steps: they read the caller from it and write the run records to it.
    """

    def __init__(
        self, client: KubeflowClient, store: ObjectStore, service_account: str = STEPS_ACCOUNT
    ) -> None:
        self.client = client
        self.store = store
        self.service_account = service_account
        self._terminating: dict[str, float] = {}

    def check_version(self, workload: str, version: str) -> None:
        """Raise RequestError if the pipeline or its version is not uploaded."""
        self._version(workload, version)

    def start(self, run: QueuedRun, repeated: bool) -> StartedRun:
        """Start a run whose display name is the id in the queue."""
        version = self._version(run.workload, run.version)
        experiment_id = self.client.experiment(run.workload)
        run_id = self._find(experiment_id, run.id) if repeated else None
        if run_id is None:
            request = RunRequest(
                experiment_id=experiment_id,
                display_name=run.id,
                version=version,
                parameters=run.parameters,
                service_account=self.service_account,
            )
            run_id = self.client.start_run(request).run_id
        # The first step takes longer to start than this write.
        RunHistory(self.store, run.workload).write_trigger(run_id, run.trigger)
        return StartedRun(run_id, page=self.client.connection.run_url(run_id))

    def status(self, run: QueuedRun, started: StartedRun) -> RunStatus:
        """Read the state from Kubeflow, and the result from the run record."""
        current = self.client.find_run(started.run)
        if current is None:
            return RunStatus("failed", ("the run was deleted from Kubeflow Pipelines",))
        steps = {name: step.state for name, step in steps_of(current).items()}
        if not current.has_ended:
            return self._terminated(current, steps) if current.terminated else RunStatus(steps=steps)
        self._terminating.pop(started.run, None)
        record = RunHistory(self.store, run.workload).run(started.run)
        if record is not None:
            reasons = (*record.reasons, *((record.disagreement,) if record.disagreement else ()))
            return RunStatus(record.verdict, reasons, steps, endpoint=record.endpoint or "")
        verdict = _verdict(current, steps)
        return RunStatus(verdict, (f"the run ended with state {current.state} and no record",), steps)

    def cancel(self, run: QueuedRun, started: StartedRun) -> None:
        """Terminate the run."""
        if not self._can_be_terminated(started):
            return
        try:
            self.client.terminate(started.run)
        except TransientError:
            # The server has terminated a run whose Workflow was deleted, although its response is an error.
            if self._can_be_terminated(started):
                raise

    def _can_be_terminated(self, started: StartedRun) -> bool:
        current = self.client.find_run(started.run)
        return current is not None and not current.has_ended and not current.terminated

    def _terminated(self, current: Run, steps: Mapping[str, str]) -> RunStatus:
        """Return the state of a terminated run whose end the server has not reported."""
        since = self._terminating.setdefault(current.run_id, time.monotonic())
        if time.monotonic() - since < TERMINATION_LIMIT:
            return RunStatus(steps=steps)
        del self._terminating[current.run_id]
        reason = "the run was terminated, and Kubeflow Pipelines reports no end: its Workflow was deleted"
        return RunStatus("interrupted", (reason,), steps)

    def _version(self, workload: str, name: str) -> PipelineVersion:
        pipeline_id = self.client.find_pipeline(workload)
        if pipeline_id is None:
            raise RequestError(
                f"the pipeline {workload} is not uploaded: python -m pipelines.upload --workload {workload}"
            )
        if name:
            version = self.client.find_version(pipeline_id, name)
        else:
            version = self.client.latest_version(pipeline_id)
        if version is None:
            raise RequestError(f"the pipeline {workload} has no version {name or 'yet'}; upload it first")
        return version

    def _find(self, experiment_id: str, display_name: str) -> str | None:
        runs = islice(self.client.runs(experiment_id), SEARCHED_RUNS)
        return next((run.run_id for run in runs if run.display_name == display_name), None)


def _verdict(run: Run, steps: Mapping[str, str]) -> str:
    """Return the verdict of a run without a record, as far as the states of its steps show it."""
    if run.terminated:
        return "interrupted"
    if run.state != "SUCCEEDED":
        return "failed"
    if steps.get("deploy-serving") == "SUCCEEDED":
        return "promoted"
    return "rejected" if steps.get("evaluate") == "SUCCEEDED" else "unchanged"
