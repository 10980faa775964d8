"""A target whose runs end when a test says so."""

from __future__ import annotations

from continuous_training.core.errors import PipelineError
from continuous_training.serving.errors import RequestError
from continuous_training.trigger.queued_run import QueuedRun, RunStatus, StartedRun


class MemoryTarget:
    """Remembers the runs that it started. `failure` is raised by the next start."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.repeated: list[str] = []
        self.cancelled: list[str] = []
        self.verdicts: dict[str, str] = {}
        self.failure: PipelineError | None = None

    def check_version(self, workload: str, version: str) -> None:
        if version not in ("", "v1"):
            raise RequestError(f"{workload} has no version {version}")

    def start(self, run: QueuedRun, repeated: bool) -> StartedRun:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        (self.repeated if repeated else self.started).append(run.id)
        return StartedRun(f"run-of-{run.id}", page="http://pipelines.example/run")

    def status(self, run: QueuedRun, started: StartedRun) -> RunStatus:
        assert started.run == f"run-of-{run.id}"
        return RunStatus(self.verdicts.get(run.id, ""), steps={"prep-data": "RUNNING"})

    def cancel(self, run: QueuedRun, started: StartedRun) -> None:
        self.cancelled.append(run.id)
        self.verdicts[run.id] = "interrupted"
