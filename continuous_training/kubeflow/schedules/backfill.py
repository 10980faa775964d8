"""Backfill: one run for each past time of a schedule, in order, one run at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from continuous_training.core.errors import PipelineError, RunInterrupted, UserError
from continuous_training.core.progress import StepListener
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.api_objects import Run, RunRequest
from continuous_training.kubeflow.follow_run import follow
from continuous_training.kubeflow.schedules.schedule_file import Schedule
from continuous_training.kubeflow.upload import UploadedPipeline

MAX_RUNS = 1000
"""Runs of one backfill. A larger number indicates a mistake in the cron expression or the days."""


def past_times(schedule: Schedule, first: str, last: str) -> list[datetime]:
    """Return the times of the schedule from the first day to the last day (UTC), both included.

    Raises UserError for an invalid day, and when the range contains no past time or too many.
    """
    start, end = _parse_day(first), _parse_day(last) + timedelta(days=1)
    end = min(end, datetime.now(UTC))
    times = []
    for time in schedule.cron.times(start - timedelta(seconds=1), end):
        times.append(time)
        if len(times) > MAX_RUNS:
            raise UserError(
                f"{schedule.name} has more than {MAX_RUNS} times from {first} to {last}: choose fewer days"
            )
    if not times:
        raise UserError(f"{schedule.name} has no past time from {first} to {last}")
    return times


def _parse_day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UserError(f"{text!r} is not a valid day: use the form 2026-11-01") from None


def backfill(
    client: KubeflowClient,
    schedule: Schedule,
    uploaded: UploadedPipeline,
    times: list[datetime],
    deadline: float,
    listener: StepListener,
) -> None:
    """Start a run for each time and wait for its end. A time whose run succeeded before is skipped.

    `deadline` is in seconds per run. Raises PipelineError when a run fails; later runs are not started.
    """
    experiment_id = client.experiment(schedule.workload)
    runs = {run.display_name: run for run in reversed(list(client.runs(experiment_id)))}
    for time in times:
        as_of = f"{time:%Y-%m-%dT%H:%M:%SZ}"
        name = f"{schedule.name} as of {as_of}"
        run = runs.get(name)
        if run is None or run.state in ("FAILED", "CANCELED"):
            run = client.start_run(_run_request(schedule, uploaded, experiment_id, name, as_of))
        _wait(client, run, as_of, deadline, listener)


def _run_request(
    schedule: Schedule, uploaded: UploadedPipeline, experiment_id: str, name: str, as_of: str
) -> RunRequest:
    return RunRequest(
        experiment_id=experiment_id,
        display_name=name,
        version=uploaded.version,
        parameters={**schedule.parameters, "as_of": as_of},
        service_account=schedule.service_account,
    )


def _wait(client: KubeflowClient, run: Run, as_of: str, deadline: float, listener: StepListener) -> None:
    """Follow the run until it ends. Raises PipelineError if it does not succeed."""
    url = client.connection.run_url(run.run_id)
    listener(as_of, "starts", url)
    ended = run if run.has_ended else follow(client, run.run_id, listener, deadline)
    if ended.state != "SUCCEEDED":
        listener(as_of, "failed", url)
        if ended.terminated:
            raise RunInterrupted(f"the run as of {as_of} was terminated; see {url}")
        raise PipelineError(f"the run as of {as_of} ended with state {ended.state}; see {url}")
    listener(as_of, "done", "")
