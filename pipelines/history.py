"""The champion line over time: every judged run, promotion, rejection and rollback, as table and figure.

The figure shows the primary metric with its 95 % interval. Runs may have been judged on other holdout
rows than their neighbours; what decided is each run's own comparison, in its report.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from adapters.errors import UserError
from adapters.object_store import open_store
from adapters.records import Records
from adapters.registry import CHAMPION
from components.files import write_text
from components.report.text import label, measure
from components.settings import Settings
from workloads import register

from . import verbs
from .happenings import Event, events_of
from .line import read_line
from .status_table import moment


def history(name: str, settings: Settings) -> tuple[str, list[Event]]:
    """Return the primary metric's name and the events of a workload, the oldest first."""
    records = Records(open_store(settings.store), name).runs()
    with verbs.existing_registry(settings) as registry:
        trail = registry.trail(name) if registry else []
        champion = registry.aliases(name).get(CHAMPION) if registry else None
    verbs.check_name(name, bool(records or trail))
    metric = register.get(name).rule.metric if name in register.names() else _first_metric(records)
    return metric, events_of(records, read_line(trail, champion), metric)


def _first_metric(records: list[dict[str, Any]]) -> str:
    """Return a metric of the runs, for a workload whose folder is gone."""
    return next((next(iter(record["metrics"])) for record in records if record.get("metrics")), "")


def show(name: str, metric: str, events: list[Event]) -> None:
    """Print the table, the newest last."""
    if not events:
        print(f"no run of {name} was judged yet")
        return
    for event in events:
        found = event.measured
        number = f"{label(metric)} {measure(metric, found.value)}" if found else "–"
        ends = f"{measure(metric, found.low)} to {measure(metric, found.high)}" if found else ""
        when = moment(event.when) if event.when else "since then"
        champion = f"version {event.champion}" if event.champion else "none"
        print(f"{when:<24} {event.kind:<9} {number:<12} {ends:<20} champion: {champion}".rstrip())
        if event.why:
            print(f"    {event.why}")


def _checked(output: Path | None) -> Path | None:
    if output is not None and output.suffix != ".svg":
        raise UserError(f"--output {output}: the figure is an SVG file; give a name that ends with .svg")
    return output


def _work(arguments: argparse.Namespace) -> dict[str, Any]:
    name, output = arguments.workload, _checked(arguments.output)
    metric, events = history(name, verbs.settings_of(arguments))
    if output and not any(event.measured for event in events):
        raise UserError(f"no run of {name} was judged yet, so there is nothing to draw")
    if output:
        # Late: the table needs no matplotlib.
        from .history_figure import draw

        write_text(output, draw(name, metric, events))
    return {"name": name, "metric": metric, "events": events, "output": output}


def _show(result: dict[str, Any]) -> None:
    show(result["name"], result["metric"], result["events"])
    if result["output"]:
        print(f"figure: {result['output']}")


def main(argv: list[str] | None = None) -> int:
    """Print the table and draw the figure; returns the exit code."""
    parser = verbs.command("history", __doc__, workload=True)
    parser.add_argument("--output", type=Path, metavar="FILE.svg", help="draw the figure, too")
    arguments = parser.parse_args(argv)
    return verbs.finish(arguments, lambda: _work(arguments), _show)


if __name__ == "__main__":
    sys.exit(main())
