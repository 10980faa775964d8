"""Manage the schedules of a Kubeflow Pipelines server with a file.

apply     make the server match the file: create, replace, pause or resume schedules that differ
diff      print what apply would change
list      print the schedules on the server and their next times
pause, resume, delete NAME    change one schedule; the next apply restores the state of the file.
          delete waits for the end of active runs: it disables the schedule and exits with 75; with --force
          it deletes the schedule and kills these runs
backfill NAME --from DAY --to DAY    start one run for each past time of the schedule, one at a time
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from components.step_cli import interpreter
from continuous_training.core.command import run_command
from continuous_training.core.errors import TransientError, UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.core.messages import report
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.api_objects import ENABLED, RecurringRun, Run
from continuous_training.kubeflow.config_file import json_schema
from continuous_training.kubeflow.schedules.active_runs import active_runs
from continuous_training.kubeflow.schedules.apply import is_managed
from continuous_training.kubeflow.schedules.backfill import backfill, past_times
from continuous_training.kubeflow.schedules.cron import Cron
from continuous_training.kubeflow.schedules.schedule_file import DEFAULT_FILE, SchedulesFile, read_schedules
from continuous_training.kubeflow.upload import upload
from pipelines import run_output
from workloads import discovery

from .fixed_parameters import add_fixed_argument
from .images import add_image_arguments
from .preflight import add_no_preflight_argument
from .schedule_changes import PipelineOptions, apply, format_next_times, parse_parameters, schedule_command
from .steps.arguments import add_steps_argument
from .upload import EXIT_CODES, add_server_arguments, connect

INTERRUPTION = (
    "interrupted: runs on the server continue, and the changes listed above were made; run the same "
    "command again to make the rest"
)


def list_schedules(arguments: argparse.Namespace) -> None:
    """Print the recurring runs of the server."""
    recurring_runs = sorted(connect(arguments).recurring_runs(), key=lambda row: row.spec.display_name)
    if not recurring_runs:
        print("no schedules")
        report(f"to create those of a file: {interpreter()} {schedule_command(arguments, 'apply')}")
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
            print(f"  next (UTC): {format_next_times(Cron(spec.cron), now)}")
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
            f"no schedule {name} was created from a file. To list the schedules:\n"
            f"python {schedule_command(arguments, 'list')}"
        )
    if arguments.verb == "resume":
        client.enable(_newest(recurring_runs).recurring_run_id)
        print(f"{name}: resumed")
        return
    for recurring_run in recurring_runs:
        client.disable(recurring_run.recurring_run_id)
    if arguments.verb == "delete":
        _delete(client, name, recurring_runs, force=arguments.force)
    else:
        print(f"{name}: paused; active runs continue")


def _delete(client: KubeflowClient, name: str, recurring_runs: list[RecurringRun], *, force: bool) -> None:
    """Delete disabled recurring runs. TransientError if active runs prevent it, except with `force`."""
    active: list[Run] = []
    for recurring_run in recurring_runs:
        runs = [] if force else active_runs(client, recurring_run, os.environ.get("KUBECONFIG", ""))
        active += runs
        if not runs:
            client.delete_recurring_run(recurring_run.recurring_run_id)
            print(f"{name}: deleted {recurring_run.recurring_run_id}")
    if active:
        names = ", ".join(run.display_name for run in active)
        raise TransientError(
            f"{name} is disabled and not deleted: a deletion would kill its active runs ({names}). Run the "
            "same command when they have ended. --force deletes it now, also if a run never ends because "
            "its Workflow was deleted"
        )


def _newest(recurring_runs: list[RecurringRun]) -> RecurringRun:
    return max(recurring_runs, key=lambda row: row.created_at)


def run_backfill(arguments: argparse.Namespace) -> None:
    """Start a run of the schedule's pipeline for each of its past times."""
    schedules = {schedule.name: schedule for schedule in read_schedules(arguments.file, parse_parameters)}
    options = PipelineOptions.from_arguments(arguments)
    if arguments.name not in schedules:
        names = ", ".join(schedules)
        raise UserError(f"{arguments.file} has no schedule {arguments.name}; its schedules are {names}")
    options.check_fixed([schedules[arguments.name].workload])
    schedule = options.without_fixed(schedules[arguments.name])
    run_times = past_times(schedule, arguments.start, arguments.end)
    if arguments.dry_run:
        print("\n".join(f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in run_times))
        return
    client = connect(arguments)
    compiled = options.compile(schedule.workload)
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
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of the file")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB")
    for action in ("apply", "diff", "list", "pause", "resume", "delete", "backfill"):
        subparser = subparsers.add_parser(action)
        if action in ("pause", "resume", "delete", "backfill"):
            subparser.add_argument("name", metavar="NAME")
        if action == "delete":
            subparser.add_argument(
                "--force", action="store_true", help="delete it also if that kills its active runs"
            )
        if action in ("apply", "diff", "backfill"):
            subparser.add_argument("--file", type=Path, default=DEFAULT_FILE, help="default: %(default)s")
            add_image_arguments(subparser)
            add_steps_argument(subparser)
            add_fixed_argument(subparser)
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
    parser = create_parser()
    arguments = parser.parse_args(argv)
    if not (arguments.verb or arguments.schema):
        parser.error("the following arguments are required: VERB")
    return run_command(lambda: _run_subcommand(arguments), INTERRUPTION)


def _run_subcommand(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        print(json_schema(SchedulesFile))
    elif arguments.verb in ("apply", "diff"):
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
