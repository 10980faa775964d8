"""Show the champions of a workload over time: promotions, rejections and rollbacks, as a table and a figure.

The figure shows the primary metric with its interval. Two runs may have been evaluated on different
holdout rows, so their values cannot be compared exactly. The report of each run contains the comparison that
decided.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from continuous_training.core.errors import UserError
from continuous_training.core.messages import report
from continuous_training.operations.formatting import format_time
from continuous_training.operations.history import (
    History,
    check_figure_path,
    read_history,
    write_figure,
)
from continuous_training.operations.history_events import Event
from continuous_training.report.formatting import label, metric_value
from pipelines import command_line
from workloads import discovery

INTERRUPTION = "interrupted: the figure was written completely or not at all"


def _show(history: History) -> None:
    for event in history.events:
        print(_row(event, history.metric))
        if event.reason:
            print(f"    {event.reason}")
        if event.trigger:
            print(f"    {event.trigger}")
        if event.user:
            print(f"    by {event.user}")
    if not history.events:
        print(f"no run of {history.workload} was evaluated yet")
    if history.figure:
        print(f"figure: {history.figure}")


def _row(event: Event, metric: str) -> str:
    value, interval = "–", ""
    if event.measured:
        low, high = metric_value(metric, event.measured.low), metric_value(metric, event.measured.high)
        value, interval = f"{label(metric)} {metric_value(metric, event.measured.value)}", f"{low} to {high}"
    time = format_time(event.when) if event.when else "time unknown"
    champion = f"version {event.champion}" if event.champion else "none"
    return f"{time:<24} {event.kind:<9} {value:<12} {interval:<20} champion: {champion}"


def main(argv: list[str] | None = None) -> int:
    """Print the table and write the figure. Return the exit code."""
    parser = command_line.create_parser("history", __doc__, workload=True)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE.svg",
        help="the file of the figure; default: history/NAME.svg in the state directory",
    )
    arguments = parser.parse_args(argv)
    return command_line.print_result(arguments, lambda: _run(arguments), _show, INTERRUPTION)


def _run(arguments: argparse.Namespace) -> History:
    name, output = arguments.workload, arguments.output
    if output is not None:
        check_figure_path(output)
    metric = discovery.get(name).rule.metric if name in discovery.names() else None
    with command_line.open_settings(arguments) as settings:
        history = read_history(name, settings, metric, command_line.check_workload)
    path = output or settings.state / "history" / f"{name}.svg"
    try:
        if write_figure(history, path):
            return replace(history, figure=path)
    except OSError as error:
        if output is not None:
            raise
        report(f"warning: the figure was not written: {error}")
    if output is not None:
        raise UserError(f"no run of {name} was evaluated yet, so there is no figure to draw; omit --output")
    return history


if __name__ == "__main__":
    sys.exit(main())
