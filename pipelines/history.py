"""The champion line over time: every judged run, promotion, rejection and rollback, as table and figure.

The figure shows the primary metric with its 95 % interval. Runs may have been judged on other holdout
rows than their neighbours; what decided is each run's own comparison, in its report.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.errors import UserError
from continuous_training.core.files import plain, write_text
from continuous_training.core.settings import Settings
from continuous_training.operations.champion_history import read_line
from continuous_training.operations.formatting import moment
from continuous_training.operations.history_events import Event, events_of
from continuous_training.operations.workspace import existing_registry
from continuous_training.report.formatting import label, metric_value
from pipelines import command_line
from workloads import discovery


def history(name: str, settings: Settings) -> tuple[str, list[Event]]:
    """Return the primary metric's name and the events of a workload, the oldest first."""
    records = RunHistory(open_store(settings.store), name).runs()
    with existing_registry(settings) as registry:
        trail = registry.trail(name) if registry else []
        champion = registry.aliases(name).get(CHAMPION) if registry else None
    command_line.check_workload(name, bool(records or trail))
    metric = discovery.get(name).rule.metric if name in discovery.names() else _first_metric(records)
    return metric, events_of(records, read_line(trail, champion), metric)


def _first_metric(records: list[dict[str, Any]]) -> str:
    """Return a metric of the runs, for a workload whose folder is gone."""
    return next((next(iter(record["metrics"])) for record in records if record.get("metrics")), "")


def draw_line(name: str, output: Path | None, settings: Settings) -> dict[str, Any]:
    """Draw the figure into `output` or the state folder; returns the result as `--json` prints it."""
    if output is not None and output.suffix != ".svg":
        raise UserError(f"--output {output}: the figure is an SVG file; give a name that ends with .svg")
    metric, events = history(name, settings)
    figure = None
    if any(event.measured for event in events):
        # Late: importing matplotlib takes longer than all else here.
        from continuous_training.operations.history_plot import draw

        figure = output or settings.state / "history" / f"{name}.svg"
        write_text(figure, draw(name, metric, events))
    elif output:
        raise UserError(f"no run of {name} was judged yet, so there is nothing to draw")
    told = [plain(asdict(event)) for event in events]
    return {"workload": name, "metric": metric, "events": told, "figure": figure and str(figure)}


def _show(result: dict[str, Any]) -> None:
    metric = result["metric"]
    for event in result["events"]:
        found = event["measured"]
        value = f"{label(metric)} {metric_value(metric, found['value'])}" if found else "–"
        ends = (
            f"{metric_value(metric, found['low'])} to {metric_value(metric, found['high'])}" if found else ""
        )
        when = moment(event["when"]) if event["when"] else "since then"
        champion = f"version {event['champion']}" if event["champion"] else "none"
        print(f"{when:<24} {event['kind']:<9} {value:<12} {ends:<20} champion: {champion}".rstrip())
        if event["why"]:
            print(f"    {event['why']}")
    if not result["events"]:
        print(f"no run of {result['workload']} was judged yet")
    if result["figure"]:
        print(f"figure: {result['figure']}")


def main(argv: list[str] | None = None) -> int:
    """Print the table and draw the figure; returns the exit code."""
    parser = command_line.create_parser("history", __doc__, workload=True)
    where = "where the figure goes; default: history/NAME.svg in the state folder"
    parser.add_argument("--output", type=Path, metavar="FILE.svg", help=where)
    arguments = parser.parse_args(argv)

    def work() -> dict[str, Any]:
        return draw_line(arguments.workload, arguments.output, command_line.read_settings(arguments))

    return command_line.print_result(arguments, work, _show)


if __name__ == "__main__":
    sys.exit(main())
