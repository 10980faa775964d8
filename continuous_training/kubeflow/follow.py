"""Follows a run on a cluster: the state of each step, told as it changes, until the run has ended."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from continuous_training.core.errors import TransientError
from continuous_training.core.progress import StepEvent, StepListener
from continuous_training.kubeflow.api import FINAL, Kubeflow, Object
from continuous_training.kubeflow.in_pod_client import is_attempt, latest, name_of
from continuous_training.kubeflow.object_names import STEP_NAMES

AWAY = 600
"""Seconds for which the server may be away before nobody waits for it any more."""

_NEVER = "1970-"
_RANK = ("FAILED", "CANCELED", "RUNNING", "PENDING", "SUCCEEDED", "SKIPPED")
"""A task is listed several times (driver, executor, tries): the first of these that is there counts."""

_TOLD: dict[str, StepEvent] = {
    "RUNNING": "starts",
    "SUCCEEDED": "done",
    "FAILED": "failed",
    "CANCELED": "failed",
}


@dataclass(frozen=True)
class Step:
    """One step of a run: its state, its seconds once it ended, and of a failed one what is known of it."""

    state: str
    seconds: float | None = None
    error: str = ""
    pods: tuple[str, ...] = ()


def steps_of(run: Object) -> dict[str, Step]:
    """Return the steps that were begun or skipped, in the order of the pipeline."""
    details = latest((run.get("run_details") or {}).get("task_details") or [])
    found = {}
    for name in STEP_NAMES:
        entries = [entry for entry in details if name_of(entry) == name]
        # A try that failed is not the step's end as long as there may be another one.
        whole = [entry for entry in entries if not is_attempt(entry)]
        counting = whole if whole and run.get("state") not in FINAL else entries
        states = {entry.get("state") for entry in counting}
        state = next((state for state in _RANK if state in states), None)
        if state:
            found[name] = _step(state, entries)
    return found


def follow(
    kubeflow: Kubeflow,
    run_id: str,
    listener: StepListener,
    deadline: float,
    interval: float = 5.0,
) -> Object:
    """Return the run when it has ended, telling the listener of each step that begins or ends.

    TransientError when the server is away for too long or the run does not end before the deadline (seconds);
    the run goes on in both cases.
    """
    before: dict[str, str] = {}
    waited = away = 0.0
    while True:
        try:
            run = kubeflow.run(run_id)
        except TransientError:
            away += interval
            if away > AWAY:
                raise
        else:
            away = 0.0
            for name, step in steps_of(run).items():
                if step.state != before.get(name):
                    _tell(listener, name, step, before.get(name))
                    before[name] = step.state
            if run.get("state") in FINAL:
                return run
        if waited > deadline:
            raise TransientError(
                f"the run has not ended after {deadline:.0f} s and is followed no more; a run whose work was "
                f"deleted says RUNNING for ever. See {kubeflow.access.run_page(run_id)}"
            )
        time.sleep(interval)
        waited += interval


def _tell(listener: StepListener, name: str, step: Step, before: str | None) -> None:
    event = _TOLD.get(step.state)
    if event in ("done", "failed") and before != "RUNNING":
        listener(name, "starts", "")
    if event:
        listener(name, event, "")


def _step(state: str, entries: Iterable[Object]) -> Step:
    entries = list(entries)
    times = [(_time(entry.get("start_time")), _time(entry.get("end_time"))) for entry in entries]
    spans = [(start, end) for start, end in times if start and end]
    seconds = None
    if spans and state in ("SUCCEEDED", "FAILED"):
        seconds = (max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds()
    errors = (str((entry.get("error") or {}).get("message") or "") for entry in entries)
    children = (e.get("child_tasks") or [] for e in entries if e.get("state") == "FAILED")
    pods = (str(child["pod_name"]) for pair in children for child in pair if "pod_name" in child)
    told = "; ".join(dict.fromkeys(filter(None, errors)))
    return Step(state, seconds, told, tuple(dict.fromkeys(pods)))


def _time(when: Any) -> datetime | None:
    # What has no time yet has the first second of one era or another.
    if not when or str(when).startswith((_NEVER, "0001-")):
        return None
    return datetime.fromisoformat(str(when).replace("Z", "+00:00"))
