"""Where the service starts runs: this machine, or Kubeflow Pipelines."""

from __future__ import annotations

from typing import Protocol

from continuous_training.trigger.queued_run import QueuedRun, RunStatus, StartedRun


class RunTarget(Protocol):
    """Starts, reads and cancels runs. Each method may take seconds, and raise PipelineError."""

    def check_version(self, workload: str, version: str) -> None:
        """Raise RequestError if the pipeline has no such version. An empty version is the current one."""

    def start(self, run: QueuedRun, repeated: bool) -> StartedRun:
        """Start the run. If the start is `repeated`, return the run that an earlier start has created."""

    def status(self, run: QueuedRun, started: StartedRun) -> RunStatus:
        """Return the state of a run that was started."""

    def cancel(self, run: QueuedRun, started: StartedRun) -> None:
        """End a run that was started. Has no effect if it has ended."""
