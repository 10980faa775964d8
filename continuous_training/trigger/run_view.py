"""The description of a run in the responses of the service."""

from __future__ import annotations

from dataclasses import dataclass, replace

from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.json_object import Json
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.queued_run import QueuedRun, RunStatus, StartedRun
from continuous_training.trigger.run_queue import RunQueue
from continuous_training.trigger.run_target import RunTarget

WAITING, RUNNING, ENDED = "waiting", "running", "ended"


@dataclass(frozen=True)
class RunView:
    """A run with its start, its state and its cancellation."""

    run: QueuedRun
    started: StartedRun | None
    status: RunStatus | None
    cancellation: RunTrigger | None

    @property
    def state(self) -> str:
        """Whether the run waits, is active or has ended."""
        if self.status is not None and self.status.verdict:
            return ENDED
        return RUNNING if self.started else WAITING

    def ended_start(self) -> StartedRun:
        """Return the start of a run that has ended. Raises HttpError 409 if it has not."""
        if self.started is None or self.state != ENDED:
            raise HttpError(409, f"run {self.run.id} has not ended: no version of it waits for approval")
        return self.started

    def to_json(self) -> Json:
        """Return the JSON object of a response."""
        run, status = self.run, self.status or RunStatus()
        links = {
            "self": f"/runs/{run.id}",
            "cancel": f"/runs/{run.id}/cancel",
            "page": self.started.page if self.started else "",
            "report": status.report,
            "endpoint": status.endpoint,
        }
        return {
            "id": run.id,
            "workload": run.workload,
            "state": self.state,
            "verdict": status.verdict or None,
            "reasons": list(status.reasons),
            "steps": dict(status.steps),
            "run": self.started.run if self.started else None,
            "requested": run.requested,
            "started": self.started.time if self.started else None,
            "ended": status.time or None,
            "caller": run.trigger.caller,
            "reason": run.trigger.reason,
            "key": run.key,
            "version": run.version,
            "parameters": dict(run.parameters),
            "cancelled": self.cancellation.to_json() if self.cancellation else None,
            "links": {name: link for name, link in links.items() if link},
        }


def view_run(run: QueuedRun, queue: RunQueue, target: RunTarget) -> RunView:
    """Read the state of a run."""
    started = queue.started(run)
    status = queue.end(run)
    if status is None and started is not None:
        status = read_status(run, started, queue, target)
    if status is not None and started is not None and status.verdict == "waiting":
        status = _decided(run, started, status, queue)
    return RunView(run, started, status, queue.cancellation(run))


def _decided(run: QueuedRun, started: StartedRun, status: RunStatus, queue: RunQueue) -> RunStatus:
    """Return the state after the decision of a person, which the record of the run contains."""
    record = RunHistory(queue.store, run.workload).run(started.run)
    if record is None:
        return status
    endpoint = record.endpoint or status.endpoint
    return replace(status, verdict=record.verdict, reasons=record.reasons, endpoint=endpoint)


def read_status(run: QueuedRun, started: StartedRun, queue: RunQueue, target: RunTarget) -> RunStatus:
    """Read the state of a run that was started and whose end is not recorded."""
    status = target.status(run, started)
    if status.verdict in ("failed", "interrupted") and (cancelled := queue.cancellation(run)):
        # The signal ended a step, or the process before it could record the interruption.
        return replace(status, verdict="interrupted", reasons=(f"cancelled by {cancelled.caller}",))
    return status
