"""Make the recurring runs of a server match the schedule file: plan the changes first, then execute them.

The server cannot change a recurring run, accepts several with one name, and kills the active runs of a
recurring run that is deleted. Therefore a changed schedule is replaced: a new recurring run is created
disabled, the old one is disabled, the new one is enabled, and the old one is deleted when all its runs have
ended, at once or by a later apply. If the server rejects one of these requests, the old one continues.
Repeated applies have the same result, also after a crash.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.api_objects import DISABLED, ENABLED, RecurringRun, RecurringRunSpec
from continuous_training.kubeflow.schedules.active_runs import active_runs
from continuous_training.kubeflow.schedules.schedule_file import Schedule
from continuous_training.kubeflow.upload import UploadedPipeline

MANAGED_BY = "kept by pipelines.schedule"
"""Start of the description of each recurring run that was created from a file. Others are not changed.

The text is stored on the servers, so it must not change."""

Action = Literal["create", "replace", "pause", "resume", "clean up", "nothing to do"]


@dataclass(frozen=True)
class Change:
    """The planned change of one schedule.

    `differences` are the reasons for a replacement. `current` is the recurring run that matches the file.
    `outdated` recurring runs are removed. `unmanaged` ones have the same name but do not come from a file.
    """

    action: Action
    spec: RecurringRunSpec
    differences: tuple[str, ...] = ()
    current: RecurringRun | None = None
    outdated: tuple[RecurringRun, ...] = ()
    unmanaged: tuple[RecurringRun, ...] = ()

    @property
    def name(self) -> str:
        """The name of the schedule."""
        return self.spec.display_name


def is_managed(recurring_run: RecurringRun) -> bool:
    """Return whether the recurring run was created from a schedule file."""
    return recurring_run.spec.description.startswith(MANAGED_BY)


def spec_of(
    schedule: Schedule, uploaded: UploadedPipeline, experiment_id: str, now: datetime
) -> RecurringRunSpec:
    """Return the recurring run that the schedule describes."""
    cron = schedule.cron
    return RecurringRunSpec(
        display_name=schedule.name,
        description=f"{MANAGED_BY}: {schedule.workload}, {cron.text} {cron.zone}",
        version=uploaded.version,
        experiment_id=experiment_id,
        cron=cron.in_utc(now).text,
        parameters=schedule.parameters,
        max_concurrency=schedule.max_concurrency,
        mode=DISABLED if schedule.paused else ENABLED,
        no_catchup=not schedule.catchup,
        service_account=schedule.service_account,
    )


def plan_change(spec: RecurringRunSpec, recurring_runs: Iterable[RecurringRun]) -> Change:
    """Return the change after which the recurring run exists exactly once and matches the file."""
    same_name = [row for row in recurring_runs if row.spec.display_name == spec.display_name]
    unmanaged = tuple(row for row in same_name if not is_managed(row))
    managed = sorted(filter(is_managed, same_name), key=lambda row: row.created_at, reverse=True)
    current = next((row for row in managed if not list_differences(spec, row.spec)), None)
    outdated = tuple(row for row in managed if row is not current)
    if current is None:
        differences = tuple(list_differences(spec, managed[0].spec)) if managed else ()
        return Change("replace" if managed else "create", spec, differences, None, outdated, unmanaged)
    action: Action = "clean up" if outdated else "nothing to do"
    if current.spec.mode != spec.mode:
        action = "pause" if spec.mode == DISABLED else "resume"
    return Change(action, spec, (), current, outdated, unmanaged)


def list_differences(spec: RecurringRunSpec, existing: RecurringRunSpec) -> list[str]:
    """Return one line for each difference that requires a replacement. The mode can be changed in place."""
    account = spec.service_account or existing.service_account
    values = (
        ("pipeline version", spec.version.version_id, existing.version.version_id),
        ("cron", spec.cron, existing.cron),
        ("parameters", spec.parameters, existing.parameters),
        ("max_concurrency", spec.max_concurrency, existing.max_concurrency),
        ("catchup", not spec.no_catchup, not existing.no_catchup),
        ("experiment", spec.experiment_id, existing.experiment_id),
        ("service account", account, existing.service_account),
    )
    return [f"{label}: {before} -> {after}" for label, after, before in values if after != before]


def execute(client: KubeflowClient, change: Change, kubeconfig: str = "") -> list[str]:
    """Execute the change. Returns one line for each operation that was done or postponed.

    Raises the error of a request that fails. The outdated recurring runs that were enabled are then enabled.
    """
    lines = []
    current = change.current
    if current is None:
        # Two enabled recurring runs of one schedule would both start a run.
        first_mode = DISABLED if change.outdated else change.spec.mode
        current = client.create_recurring_run(replace(change.spec, mode=first_mode))
        lines.append(f"created {current.recurring_run_id}")
    enabled = [row for row in change.outdated if row.spec.mode != DISABLED]
    try:
        for row in enabled:
            client.disable(row.recurring_run_id)
            lines.append(f"disabled the previous recurring run ({row.recurring_run_id})")
        if current.spec.mode != change.spec.mode:
            lines.append(_set_mode(client, current, change))
    except PipelineError as error:
        _enable_again(client, enabled, error)
        raise
    return lines + [_delete_when_idle(client, row, kubeconfig) for row in change.outdated]


def _enable_again(client: KubeflowClient, rows: list[RecurringRun], cause: PipelineError) -> None:
    """Enable the recurring runs. Raises TransientError with both reasons if that fails."""
    for row in rows:
        try:
            client.enable(row.recurring_run_id)
        except PipelineError as error:
            raise TransientError(
                f"{cause}; the previous recurring run {row.recurring_run_id} cannot be enabled again "
                f"({error}): the schedule starts no runs until an apply succeeds"
            ) from error


def _set_mode(client: KubeflowClient, current: RecurringRun, change: Change) -> str:
    """Set the mode of the recurring run that matches the file. Returns a line with the result."""
    if change.spec.mode == DISABLED:
        client.disable(current.recurring_run_id)
        return "paused"
    client.enable(current.recurring_run_id)
    return "resumed" if change.action == "resume" else f"enabled {current.recurring_run_id}"


def _delete_when_idle(client: KubeflowClient, recurring_run: RecurringRun, kubeconfig: str) -> str:
    """Delete a disabled recurring run if none of its runs is active. Returns a line with the result."""
    identifier = recurring_run.recurring_run_id
    if active := active_runs(client, recurring_run, kubeconfig):
        names = ", ".join(run.display_name for run in active)
        return (
            f"kept the previous recurring run disabled ({identifier}): a deletion would kill its active runs "
            f"({names}). A later apply deletes it. Until these runs end, a run of the new one may execute at "
            "the same time; the result is that of one run after the other"
        )
    client.delete_recurring_run(identifier)
    return f"deleted the previous recurring run ({identifier})"
