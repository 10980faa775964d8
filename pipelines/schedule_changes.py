"""Apply a schedule file to a server: upload the pipelines, then plan, execute and print the changes."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from components.step_cli import interpreter
from continuous_training.core.errors import UserError
from continuous_training.core.messages import report
from continuous_training.core.run_parameters import Values
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.schedules.apply import (
    Change,
    execute,
    is_managed,
    plan_change,
    spec_of,
)
from continuous_training.kubeflow.schedules.cron import Cron
from continuous_training.kubeflow.schedules.schedule_file import Schedule, read_schedules
from continuous_training.kubeflow.submission import Submission
from continuous_training.kubeflow.upload import CompiledPipeline, plan_upload, upload
from workloads import discovery

from .compile import compile_workload
from .fixed_parameters import Fixed, fixed_from_arguments, without_fixed
from .images import Images, images_from_arguments
from .preflight import submission_from_arguments
from .steps.arguments import steps_from_arguments
from .steps.settings_file import Steps
from .upload import connect

NEXT_TIMES = 5
"""Number of times that are printed for each schedule."""


@dataclass(frozen=True)
class PipelineOptions:
    """How the pipelines of the schedules are compiled and submitted."""

    images: Images
    steps: Steps
    submission: Submission
    fixed: Fixed

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace, *, dry_run: bool = False) -> PipelineOptions:
        """Return the options that the arguments describe. A dry run makes no preflight."""
        submission = (
            Submission(preflight=False) if dry_run else submission_from_arguments(arguments, os.environ)
        )
        images, steps = images_from_arguments(arguments), steps_from_arguments(arguments)
        return cls(images, steps, submission, fixed_from_arguments(arguments))

    def fixed_of(self, workload: str) -> Fixed:
        """Return the fixed parameters that the workload has."""
        names = {parameter.name for parameter in discovery.get(workload).parameters()}
        return {name: value for name, value in self.fixed.items() if name in names}

    def check_fixed(self, workloads: list[str]) -> None:
        """Raise UserError if a fixed parameter belongs to none of the workloads."""
        known = {name for workload in workloads for name in self.fixed_of(workload)}
        for name in self.fixed:
            if name not in known:
                raise UserError(f"--fix {name}: no such run parameter in {', '.join(workloads)}")

    def compile(self, workload: str) -> CompiledPipeline:
        """Return the pipeline of the workload."""
        return compile_workload(workload, self.images, self.steps, self.fixed_of(workload))

    def without_fixed(self, schedule: Schedule) -> Schedule:
        """Return the schedule with the parameters that its runs pass to the pipeline.

        Raises UserError if they do not agree with the fixed parameters.
        """
        workload, fixed = discovery.get(schedule.workload), self.fixed_of(schedule.workload)
        return schedule.model_copy(update={"parameters": without_fixed(workload, fixed, schedule.parameters)})


def plan_changes(
    client: KubeflowClient,
    schedules: list[Schedule],
    options: PipelineOptions,
    now: datetime,
    *,
    dry_run: bool,
) -> list[Change]:
    """Return the change of each schedule. Unless this is a dry run, its pipelines are uploaded first."""
    schedules = [options.without_fixed(schedule) for schedule in schedules]
    names = sorted({schedule.workload for schedule in schedules})
    options.check_fixed(names)
    compiled = {name: options.compile(name) for name in names}
    # A cron expression that cannot be converted is rejected before anything is uploaded.
    for schedule in schedules:
        schedule.cron.in_utc(now)
    for account in sorted({schedule.service_account for schedule in schedules}):
        texts = [compiled[s.workload].text for s in schedules if s.service_account == account]
        submission = replace(options.submission, service_account=account)
        submission.check_requirements(texts, client.connection.namespace, report)
    uploaded = {
        name: plan_upload(client, pipeline)
        if dry_run
        else upload(client, pipeline, discovery.get(name).summary)
        for name, pipeline in compiled.items()
    }
    experiments = {name: client.experiment(name, create=not dry_run) for name in compiled}
    existing = list(client.recurring_runs())
    return [
        plan_change(spec_of(s, uploaded[s.workload], experiments[s.workload], now), existing)
        for s in schedules
    ]


def apply(arguments: argparse.Namespace, *, dry_run: bool) -> None:
    """Print the changes and, unless this is a dry run, execute them."""
    schedules, now = read_schedules(arguments.file, parse_parameters), datetime.now(UTC)
    options = PipelineOptions.from_arguments(arguments, dry_run=dry_run)
    client = connect(arguments)
    changes = plan_changes(client, schedules, options, now, dry_run=dry_run)
    for schedule, change in zip(schedules, changes, strict=True):
        _print_change(change)
        if not dry_run:
            for line in execute(client, change, os.environ.get("KUBECONFIG", "")):
                print(f"  {line}")
        _print_times(schedule, change.spec.cron, now)
    _print_schedules_not_in_file(client, {schedule.name for schedule in schedules}, arguments)


def _print_change(change: Change) -> None:
    print(f"{change.name}: {change.action}")
    for line in change.differences:
        print(f"  {line}")
    for recurring_run in change.unmanaged:
        report(
            f"  warning: {recurring_run.recurring_run_id} has the same name and was not created from a file: "
            "it is not changed, and it also starts runs"
        )


def _print_schedules_not_in_file(
    client: KubeflowClient, names: set[str], arguments: argparse.Namespace
) -> None:
    for recurring_run in client.recurring_runs():
        name = recurring_run.spec.display_name
        if is_managed(recurring_run) and name not in names:
            print(f"{name}: not in {arguments.file}; not changed")
            report(f"to delete it: {interpreter()} {schedule_command(arguments, 'delete', name)}")


def schedule_command(arguments: argparse.Namespace, verb: str, *names: str) -> str:
    """Return the arguments of Python for a command about the schedules of the same server."""
    options = [("--host", arguments.host), ("--namespace", arguments.namespace)]
    option_arguments = [text for option, value in options if value for text in (option, value)]
    return shlex.join(["-m", "pipelines.schedule", verb, *names, *option_arguments])


def parse_parameters(workload: str, assigned: Mapping[str, object]) -> Values:
    """Return all run parameters of a workload. Raises UserError for an unknown workload or parameter."""
    return discovery.get(workload).parse(assigned)


def _print_times(schedule: Schedule, utc_cron: str, now: datetime) -> None:
    cron = schedule.cron
    print(f"  {'paused; ' if schedule.paused else ''}next (UTC): {format_next_times(cron, now)}")
    if utc_cron != cron.text or cron.zone != "UTC":
        print(f"  {cron.text} in {cron.zone} is {utc_cron} in UTC, which the server uses")
    elif cron.text.split()[-5:] != schedule.expression.split()[-5:]:
        print(f"  {schedule.expression} is {cron.text} for the server")
    change = cron.clock_change(now)
    if change:
        report(f"  valid until {change}, when the clock of {cron.zone} changes: run apply again after that")


def format_next_times(cron: Cron, now: datetime) -> str:
    """Return the next times of a schedule, in UTC."""
    return ", ".join(f"{time:%Y-%m-%d %H:%M:%S}" for time in islice(cron.times(now), NEXT_TIMES))
