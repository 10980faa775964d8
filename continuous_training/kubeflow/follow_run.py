"""Follow a run on a cluster until it ends, and report each change of a step's state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from continuous_training.core.errors import TransientError
from continuous_training.core.progress import StepEvent, StepListener
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.api_objects import Run
from continuous_training.kubeflow.object_names import STEP_NAMES
from continuous_training.kubeflow.run_tasks import Task, without_superseded_attempts

OUTAGE_LIMIT = 600
"""Seconds for which the server may be unavailable before following ends."""

QUIET_SECONDS = 60
"""Seconds without a change of any step after which the reasons for the delay are reported."""

_STATE_PRECEDENCE = ("FAILED", "CANCELED", "RUNNING", "PENDING", "SUCCEEDED", "SKIPPED")
"""The state of a step is the first of these that one of its entries (executor, attempts) has."""

_EVENTS: dict[str, StepEvent] = {
    "RUNNING": "starts",
    "SUCCEEDED": "done",
    "FAILED": "failed",
    "CANCELED": "failed",
}


@dataclass(frozen=True)
class Step:
    """The state of one step. `seconds` is None until it ends; `error` and `pods` describe a failure."""

    state: str
    seconds: float | None = None
    error: str = ""
    pods: tuple[str, ...] = ()


def steps_of(run: Run) -> dict[str, Step]:
    """Return the steps that were started or skipped, in the order of the pipeline."""
    tasks = without_superseded_attempts(run.tasks)
    steps = {}
    for name in STEP_NAMES:
        entries = [task for task in tasks if task.name == name]
        # While the run is active, a failed attempt can be followed by another attempt: it does not count.
        single_attempt = [task for task in entries if task.attempt is None]
        relevant = single_attempt if single_attempt and not run.has_ended else entries
        states = {task.state for task in relevant}
        state = next((state for state in _STATE_PRECEDENCE if state in states), None)
        if state:
            steps[name] = _create_step(state, entries)
    return steps


def follow(
    client: KubeflowClient,
    run_id: str,
    listener: StepListener,
    deadline: float,
    interval: float = 5.0,
    delays: Callable[[], Mapping[str, str]] = dict,
) -> Run:
    """Return the run after it ends. Calls the listener for each step that starts or ends.

    `deadline` and `interval` are in seconds. `delays` returns the reasons why steps do not start; it is
    called after each QUIET_SECONDS without a change, and a new reason is reported.

    Raises TransientError when the server is unavailable for OUTAGE_LIMIT or the run does not end before the
    deadline. The run continues in both cases.
    """
    states: dict[str, str] = {}
    reported: set[tuple[str, str]] = set()
    waited = outage = quiet = 0.0
    while True:
        try:
            run = client.run(run_id)
        except TransientError:
            outage += interval
            if outage > OUTAGE_LIMIT:
                raise
        else:
            outage = 0.0
            for name, step in steps_of(run).items():
                if step.state != states.get(name):
                    _report_change(listener, name, step, states.get(name))
                    states[name] = step.state
                    quiet = 0.0
            if run.has_ended:
                return run
        if waited > deadline:
            raise TransientError(
                f"the run did not end within {deadline:.0f} s and is no longer followed. A run whose pods "
                f"were deleted stays RUNNING. See {client.connection.run_url(run_id)}"
            )
        if quiet >= QUIET_SECONDS:
            quiet = 0.0
            for name, reason in delays().items():
                if (name, reason) not in reported:
                    reported.add((name, reason))
                    listener(name, "says", reason)
        time.sleep(interval)
        waited += interval
        quiet += interval


def _report_change(listener: StepListener, name: str, step: Step, previous_state: str | None) -> None:
    event = _EVENTS.get(step.state)
    if event in ("done", "failed") and previous_state != "RUNNING":
        listener(name, "starts", "")
    if event:
        listener(name, event, "")


def _create_step(state: str, tasks: Iterable[Task]) -> Step:
    tasks = list(tasks)
    spans = [(task.start, task.end) for task in tasks if task.start and task.end]
    seconds = None
    if spans and state in ("SUCCEEDED", "FAILED"):
        seconds = (max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds()
    error = "; ".join(dict.fromkeys(task.error for task in tasks if task.error))
    pods = dict.fromkeys(pod for task in tasks if task.state == "FAILED" for pod in task.pods)
    return Step(state, seconds, error, tuple(pods))
