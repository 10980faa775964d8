"""Keeps the schedules of a Kubeflow Pipelines server as a file has them.

apply     make the server match the file: create, replace, pause, resume; what is right stays
diff      what apply would do
list      what is on the server, with its next times
pause, resume, delete NAME    by hand; apply goes by the file again
backfill NAME --from DAY --to DAY    one run for each time of the schedule in the past, one by one
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from components.step_cli import interpreter
from continuous_training.core.command import run_command
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.core.messages import report
from continuous_training.core.parameters import Values
from continuous_training.kubeflow.api import Kubeflow
from continuous_training.kubeflow.schedules.backfill import backfill, moments
from continuous_training.kubeflow.schedules.cron import Cron
from continuous_training.kubeflow.schedules.reconcile import (
    Change,
    body_of,
    carry_out,
    change_of,
    ours,
    remove,
)
from continuous_training.kubeflow.schedules.schedule_file import DEFAULT_FILE, Schedule, read_schedules
from continuous_training.kubeflow.upload import look_up, upload
from pipelines import run_output
from workloads import discovery

from .compile import compile_workload
from .images import Images, add_image_arguments, images_of
from .preflight import Submission, add_skip_argument, submission_of
from .steps import DEFAULTS, Steps, add_steps_argument, steps_of
from .upload import CODES, add_server_arguments, connect

SHOWN = 5
"""Times that are shown of each schedule."""

UNSEEN = Submission(looked_at=False)


def changes(
    kubeflow: Kubeflow,
    schedules: list[Schedule],
    images: Images,
    now: datetime,
    *,
    dry_run: bool,
    steps: Steps = DEFAULTS,
    submission: Submission = UNSEEN,
) -> list[Change]:
    """Return what differs; unless this is a dry run, what a schedule names is brought first."""
    names = sorted({schedule.workload for schedule in schedules})
    compiled = {name: compile_workload(name, images, steps) for name in names}
    for schedule in schedules:
        schedule.cron.in_utc(now)
    for account in sorted({schedule.service_account for schedule in schedules}):
        texts = [compiled[s.workload].text for s in schedules if s.service_account == account]
        replace(submission, account=account).look(texts, kubeflow, report)
    uploaded = {
        name: look_up(kubeflow, pipeline)
        if dry_run
        else upload(kubeflow, pipeline, discovery.get(name).summary)
        for name, pipeline in compiled.items()
    }
    experiments = {name: kubeflow.experiment(name, make=not dry_run) for name in compiled}
    rows = list(kubeflow.schedules())
    return [
        change_of(body_of(s, uploaded[s.workload], experiments[s.workload], now), rows) for s in schedules
    ]


def apply(arguments: argparse.Namespace, *, dry_run: bool) -> None:
    """Say what differs, and make it as the file has it unless this is a dry run."""
    schedules, now = read_schedules(arguments.file, _parse_parameters), datetime.now(UTC)
    kubeflow = connect(arguments)
    found = changes(
        kubeflow,
        schedules,
        images_of(arguments),
        now,
        dry_run=dry_run,
        steps=steps_of(arguments),
        submission=UNSEEN if dry_run else submission_of(arguments, os.environ),
    )
    for schedule, change in zip(schedules, found, strict=True):
        print(f"{change.name}: {change.verb}")
        for line in change.why:
            print(f"  {line}")
        for row in change.strangers:
            report(
                f"  warning: {row['recurring_run_id']} has this name, too, and was not made from a file: "
                "it is left alone, and runs as well"
            )
        if not dry_run:
            for line in carry_out(kubeflow, change):
                print(f"  {line}")
        _show_times(schedule.cron, change.body["trigger"]["cron_schedule"]["cron"], now, schedule.paused)
    known = {schedule.name for schedule in schedules}
    for row in kubeflow.schedules():
        if ours(row) and row["display_name"] not in known:
            name = row["display_name"]
            remedy = f"{interpreter()} -m pipelines.schedule delete {name}"
            print(f"{name}: not in {arguments.file}; left alone")
            report(f"to delete it: {remedy}")


def _parse_parameters(workload: str, given: Mapping[str, Any]) -> Values:
    return discovery.get(workload).parse(given)


def _show_times(cron: Cron, turned: str, now: datetime, paused: bool) -> None:
    shown = ", ".join(f"{when:%Y-%m-%d %H:%M:%S}" for when in islice(cron.times(now), SHOWN))
    print(f"  {'paused; ' if paused else ''}next (UTC): {shown}")
    if turned != cron.text or cron.zone != "UTC":
        print(f"  {cron.text} in {cron.zone} is {turned} in UTC, which the server goes by")
    change = cron.clock_change(now)
    if change:
        report(f"  until {change}, when {cron.zone} changes its clock: apply again then")


def show(arguments: argparse.Namespace) -> None:
    """Print what is on the server."""
    rows = sorted(connect(arguments).schedules(), key=lambda row: str(row.get("display_name")))
    if not rows:
        print("no schedules")
        report(f"to make those of a file: {interpreter()} -m pipelines.schedule apply")
    names = [row["display_name"] for row in rows]
    now = datetime.now(UTC)
    for row in rows:
        cron = ((row.get("trigger") or {}).get("cron_schedule") or {}).get("cron", "")
        twice = "; there is another one of this name" if names.count(row["display_name"]) > 1 else ""
        whose = "" if ours(row) else "; not made from a file"
        print(f"{row['display_name']}: {row.get('status', '')}{whose}{twice}  {row['recurring_run_id']}")
        if cron:
            print(f"  cron {cron} (UTC, seconds first)")
        if len(cron.split()) == 6 and row.get("mode") == "ENABLE":
            shown = ", ".join(f"{when:%Y-%m-%d %H:%M:%S}" for when in islice(Cron(cron).times(now), SHOWN))
            print(f"  next (UTC): {shown}")
        elif len(cron.split()) == 5:
            report("  warning: five fields; the server reads the first as seconds, and not as minutes")


def by_hand(arguments: argparse.Namespace) -> None:
    """Pause, resume or delete the schedules of a name that were made from a file."""
    kubeflow = connect(arguments)
    rows = [row for row in kubeflow.schedules() if row.get("display_name") == arguments.name and ours(row)]
    if not rows:
        raise UserError(
            f"there is no schedule {arguments.name} made from a file: python -m pipelines.schedule list"
        )
    if arguments.verb == "resume":
        newest = max(rows, key=lambda row: str(row.get("created_at")))
        kubeflow.enable(newest["recurring_run_id"])
        print(f"{arguments.name}: resumed")
        return
    for row in rows:
        kubeflow.disable(row["recurring_run_id"])
    print(f"{arguments.name}: paused; what runs now runs on")
    if arguments.verb == "delete":
        for row in rows:
            print(f"  {remove(kubeflow, row)}")


def run_backfill(arguments: argparse.Namespace) -> None:
    """Run a schedule's pipeline for each of its times in the past."""
    schedules = {schedule.name: schedule for schedule in read_schedules(arguments.file, _parse_parameters)}
    if arguments.name not in schedules:
        raise UserError(f"{arguments.file} has no schedule {arguments.name}; it has {', '.join(schedules)}")
    schedule = schedules[arguments.name]
    times = moments(schedule, arguments.start, arguments.end)
    if arguments.dry_run:
        print("\n".join(f"{when:%Y-%m-%dT%H:%M:%SZ}" for when in times))
        return
    kubeflow = connect(arguments)
    steps = steps_of(arguments)
    compiled = compile_workload(schedule.workload, images_of(arguments), steps)
    submission = replace(submission_of(arguments, os.environ), account=schedule.service_account)
    submission.look([compiled.text], kubeflow, report)
    workload = discovery.get(schedule.workload)
    uploaded = upload(kubeflow, compiled, workload.summary)
    with run_output.progress(f"{schedule.name}: {len(times)} runs, one by one") as listener:
        backfill(kubeflow, schedule, uploaded, times, steps.longest(workload), listener)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="python -m pipelines.schedule",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=CODES,
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in ("apply", "diff", "list", "pause", "resume", "delete", "backfill"):
        sub = verbs.add_parser(verb)
        if verb in ("pause", "resume", "delete", "backfill"):
            sub.add_argument("name", metavar="NAME")
        if verb in ("apply", "diff", "backfill"):
            sub.add_argument("--file", type=Path, default=DEFAULT_FILE, help="default: %(default)s")
            add_image_arguments(sub)
            add_steps_argument(sub)
        if verb in ("apply", "backfill"):
            add_skip_argument(sub)
            sub.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
        if verb == "backfill":
            sub.add_argument(
                "--from", dest="start", required=True, metavar="DAY", help="2026-11-01, included"
            )
            sub.add_argument("--to", dest="end", required=True, metavar="DAY", help="2026-11-08, included")
        add_server_arguments(sub)
    return made


def main(argv: list[str] | None = None) -> int:
    """Run the subcommand. Return the exit code."""
    arguments = parser().parse_args(argv)
    return run_command(
        lambda: _run_subcommand(arguments),
        "interrupted: runs on the server continue, and the changes listed above were made; run the same "
        "command again to make the rest",
    )


def _run_subcommand(arguments: argparse.Namespace) -> int:
    if arguments.verb in ("apply", "diff"):
        apply(arguments, dry_run=arguments.verb == "diff" or arguments.dry_run)
    elif arguments.verb == "list":
        show(arguments)
    elif arguments.verb == "backfill":
        run_backfill(arguments)
    else:
        by_hand(arguments)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
