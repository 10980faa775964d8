"""Manage the schedules of a Kubeflow Pipelines server with a file.

apply     make the server match the file: create, replace, pause or resume schedules that differ
diff      print what apply would change
list      print the schedules on the server and their next times
pause, resume, delete NAME    change one schedule; the next apply restores the state of the file
backfill NAME --from DAY --to DAY    start one run for each past time of the schedule, one at a time
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from components.step_cli import interpreter
from continuous_training.core.command import run_command
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.core.messages import report
from continuous_training.core.run_parameters import Values
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.api_objects import ENABLED, RecurringRun
from continuous_training.kubeflow.schedules.backfill import backfill, past_times
from continuous_training.kubeflow.schedules.cron import Cron
from continuous_training.kubeflow.schedules.reconcile import (
    Change,
    delete_when_idle,
    execute,
    is_managed,
    plan_change,
    spec_of,
)
from continuous_training.kubeflow.schedules.schedule_file import DEFAULT_FILE, Schedule, read_schedules
from continuous_training.kubeflow.submission import Submission
from continuous_training.kubeflow.upload import plan_upload, upload
from pipelines import run_output
from workloads import discovery

from .compile import compile_workload
from .images import Images, add_image_arguments, images_from_arguments
from .preflight import add_no_preflight_argument, submission_from_arguments
from .steps import Steps, add_steps_argument, steps_from_arguments
from .upload import EXIT_CODES, add_server_arguments, connect

NEXT_TIMES = 5
"""Number of times that are printed for each schedule."""

INTERRUPTION = (
    "interrupted: runs on the server continue, and the changes listed above were made; run the same "
    "command again to make the rest"
)


@dataclass(frozen=True)
class PipelineOptions:
    """How the pipelines of the schedules are compiled and submitted."""

    images: Images
    steps: Steps
    submission: Submission

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace, *, dry_run: bool = False) -> PipelineOptions:
        """Return the options that the arguments describe. A dry run makes no preflight."""
        submission = (
            Submission(preflight=False) if dry_run else submission_from_arguments(arguments, os.environ)
        )
        return cls(images_from_arguments(arguments), steps_from_arguments(arguments), submission)


def plan_changes(
    client: KubeflowClient,
    schedules: list[Schedule],
    options: PipelineOptions,
    now: datetime,
    *,
    dry_run: bool,
) -> list[Change]:
    """Return the change of each schedule. Unless this is a dry run, its pipelines are uploaded first."""
    names = sorted({schedule.workload for schedule in schedules})
    compiled = {name: compile_workload(name, options.images, options.steps) for name in names}
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
    schedules, now = read_schedules(arguments.file, _parse_parameters), datetime.now(UTC)
    options = PipelineOptions.from_arguments(arguments, dry_run=dry_run)
    client = connect(arguments)
    changes = plan_changes(client, schedules, options, now, dry_run=dry_run)
    for schedule, change in zip(schedules, changes, strict=True):
        _print_change(change)
        if not dry_run:
            for line in execute(client, change):
                print(f"  {line}")
        _print_times(schedule, change.spec.cron, now)
    _print_schedules_not_in_file(client, {schedule.name for schedule in schedules}, arguments.file)


def _print_change(change: Change) -> None:
    print(f"{change.name}: {change.action}")
    for line in change.differences:
        print(f"  {line}")
    for recurring_run in change.unmanaged:
        report(
            f"  warning: {recurring_run.recurring_run_id} has the same name and was not created from a file: "
            "it is not changed, and it also starts runs"
        )


def _print_schedules_not_in_file(client: KubeflowClient, names: set[str], file: Path) -> None:
    for recurring_run in client.recurring_runs():
        name = recurring_run.spec.display_name
        if is_managed(recurring_run) and name not in names:
            print(f"{name}: not in {file}; not changed")
            report(f"to delete it: {interpreter()} -m pipelines.schedule delete {name}")


def _parse_parameters(workload: str, assigned: Mapping[str, Any]) -> Values:
    return discovery.get(workload).parse(assigned)


def _print_times(schedule: Schedule, utc_cron: str, now: datetime) -> None:
    cron = schedule.cron
    print(f"  {'paused; ' if schedule.paused else ''}next (UTC): {_format_next_times(cron, now)}")
    if utc_cron != cron.text or cron.zone != "UTC":
        print(f"  {cron.text} in {cron.zone} is {utc_cron} in UTC, which the server uses")
    change = cron.clock_change(now)
    if change:
        report(f"  valid until {change}, when the clock of {cron.zone} changes: run apply again after that")


def _format_next_times(cron: Cron, now: datetime) -> str:
    return ", ".join(f"{time:%Y-%m-%d %H:%M:%S}" for time in islice(cron.times(now), NEXT_TIMES))


def list_schedules(arguments: argparse.Namespace) -> None:
    """Print the recurring runs of the server."""
    recurring_runs = sorted(connect(arguments).recurring_runs(), key=lambda row: row.spec.display_name)
    if not recurring_runs:
        print("no schedules")
        report(f"to create those of a file: {interpreter()} -m pipelines.schedule apply")
    names = [row.spec.display_name for row in recurring_runs]
    now = datetime.now(UTC)
    for recurring_run in recurring_runs:
        spec = recurring_run.spec
        origin = "" if is_managed(recurring_run) else "; not created from a file"
        duplicate = "; another one has the same name" if names.count(spec.display_name) > 1 else ""
        print(
            f"{spec.display_name}: {recurring_run.status}{origin}{duplicate}  "
            f"{recurring_run.recurring_run_id}"
        )
        if spec.cron:
            print(f"  cron {spec.cron} (UTC, seconds first)")
        if len(spec.cron.split()) == 6 and spec.mode == ENABLED:
            print(f"  next (UTC): {_format_next_times(Cron(spec.cron), now)}")
        elif len(spec.cron.split()) == 5:
            report("  warning: five fields; the server reads the first field as seconds, not as minutes")


def change_schedule(arguments: argparse.Namespace) -> None:
    """Pause, resume or delete the recurring runs of one name that were created from a file."""
    client = connect(arguments)
    name = arguments.name
    recurring_runs = [
        row for row in client.recurring_runs() if row.spec.display_name == name and is_managed(row)
    ]
    if not recurring_runs:
        raise UserError(
            f"no schedule {name} was created from a file. To list the schedules: "
            "python -m pipelines.schedule list"
        )
    if arguments.verb == "resume":
        client.enable(_newest(recurring_runs).recurring_run_id)
        print(f"{name}: resumed")
        return
    for recurring_run in recurring_runs:
        client.disable(recurring_run.recurring_run_id)
    print(f"{name}: paused; active runs continue")
    if arguments.verb == "delete":
        for recurring_run in recurring_runs:
            print(f"  {delete_when_idle(client, recurring_run)}")


def _newest(recurring_runs: list[RecurringRun]) -> RecurringRun:
    return max(recurring_runs, key=lambda row: row.created_at)


def run_backfill(arguments: argparse.Namespace) -> None:
    """Start a run of the schedule's pipeline for each of its past times."""
    schedules = {schedule.name: schedule for schedule in read_schedules(arguments.file, _parse_parameters)}
    if arguments.name not in schedules:
        names = ", ".join(schedules)
        raise UserError(f"{arguments.file} has no schedule {arguments.name}; its schedules are {names}")
    schedule = schedules[arguments.name]
    run_times = past_times(schedule, arguments.start, arguments.end)
    if arguments.dry_run:
        print("\n".join(f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in run_times))
        return
    client = connect(arguments)
    options = PipelineOptions.from_arguments(arguments)
    compiled = compile_workload(schedule.workload, options.images, options.steps)
    submission = replace(options.submission, service_account=schedule.service_account)
    submission.check_requirements([compiled.text], client.connection.namespace, report)
    workload = discovery.get(schedule.workload)
    uploaded = upload(client, compiled, workload.summary)
    with run_output.progress(f"{schedule.name}: {len(run_times)} runs, one at a time") as listener:
        backfill(client, schedule, uploaded, run_times, options.steps.max_duration(workload), listener)


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.schedule",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXIT_CODES,
    )
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for action in ("apply", "diff", "list", "pause", "resume", "delete", "backfill"):
        subparser = subparsers.add_parser(action)
        if action in ("pause", "resume", "delete", "backfill"):
            subparser.add_argument("name", metavar="NAME")
        if action in ("apply", "diff", "backfill"):
            subparser.add_argument("--file", type=Path, default=DEFAULT_FILE, help="default: %(default)s")
            add_image_arguments(subparser)
            add_steps_argument(subparser)
        if action in ("apply", "backfill"):
            add_no_preflight_argument(subparser)
            subparser.add_argument(
                "--dry-run", action="store_true", help="print the changes without making them"
            )
        if action == "backfill":
            for option, name, day in (("--from", "start", "2026-11-01"), ("--to", "end", "2026-11-08")):
                subparser.add_argument(
                    option, dest=name, required=True, metavar="DAY", help=f"{day}, included"
                )
        add_server_arguments(subparser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the subcommand. Return the exit code."""
    arguments = create_parser().parse_args(argv)
    return run_command(lambda: _run_subcommand(arguments), INTERRUPTION)


def _run_subcommand(arguments: argparse.Namespace) -> int:
    if arguments.verb in ("apply", "diff"):
        apply(arguments, dry_run=arguments.verb == "diff" or arguments.dry_run)
    elif arguments.verb == "list":
        list_schedules(arguments)
    elif arguments.verb == "backfill":
        run_backfill(arguments)
    else:
        change_schedule(arguments)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
