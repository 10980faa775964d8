"""Runs for the past: one for each time that a schedule had, in order and one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.progress import StepListener
from continuous_training.kubeflow.api import FINAL, Kubeflow
from continuous_training.kubeflow.follow import follow
from continuous_training.kubeflow.schedules.schedule_file import Schedule
from continuous_training.kubeflow.upload import Uploaded

MOST = 1000
"""Runs of one backfill: more are a mistake in the cron or the days."""


def moments(schedule: Schedule, first: str, last: str) -> list[datetime]:
    """Return the schedule's times from the start of one day (UTC) to the end of another, both included.

    UserError for a day that is none, an empty range, or a time that has not come yet.
    """
    start, end = _day(first), _day(last) + timedelta(days=1)
    end = min(end, datetime.now(UTC))
    found = []
    for when in schedule.cron.times(start - timedelta(seconds=1), end):
        found.append(when)
        if len(found) > MOST:
            raise UserError(
                f"{schedule.name} has more than {MOST} times from {first} to {last}; take less days"
            )
    if not found:
        raise UserError(f"{schedule.name} has no time from {first} to {last} that has passed")
    return found


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UserError(f"{text!r} is no day; one is, for instance, 2026-11-01") from None


def backfill(
    kubeflow: Kubeflow,
    schedule: Schedule,
    uploaded: Uploaded,
    times: list[datetime],
    deadline: float,
    listener: StepListener,
) -> None:
    """Start a run for each time and wait for its end; one that was done before is not done again.

    PipelineError when a run fails: those after it are not started.
    """
    experiment = kubeflow.experiment(schedule.workload)
    known = {str(run.get("display_name")): run for run in reversed(list(kubeflow.runs(experiment)))}
    for when in times:
        as_of = f"{when:%Y-%m-%dT%H:%M:%SZ}"
        name = f"{schedule.name} as of {as_of}"
        run = known.get(name)
        if run is None or run.get("state") in ("FAILED", "CANCELED"):
            run = kubeflow.start_run(
                {
                    "experiment_id": experiment,
                    "display_name": name,
                    "pipeline_version_reference": {
                        "pipeline_id": uploaded.pipeline_id,
                        "pipeline_version_id": uploaded.version_id,
                    },
                    "runtime_config": {"parameters": {**schedule.parameters, "as_of": as_of}},
                    **schedule.account(),
                }
            )
        page = kubeflow.access.run_page(run["run_id"])
        listener(as_of, "starts", page)
        ended = run if run.get("state") in FINAL else follow(kubeflow, run["run_id"], listener, deadline)
        if ended["state"] != "SUCCEEDED":
            listener(as_of, "failed", page)
            raise PipelineError(f"the run as of {as_of} ended as {ended['state']}; see {page}")
        listener(as_of, "done", "")
