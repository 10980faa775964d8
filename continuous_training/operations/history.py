"""The champions of a workload over time: the list of events, and a figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.errors import UserError
from continuous_training.core.files import write_text
from continuous_training.core.json_object import Json
from continuous_training.core.settings import Settings
from continuous_training.operations.champion_history import read_champion_history
from continuous_training.operations.history_events import Event, list_events
from continuous_training.operations.workspace import existing_registry


@dataclass(frozen=True)
class History:
    """The events of a workload, the oldest first. `figure` is the path of the figure, if it was drawn."""

    workload: str
    metric: str
    events: tuple[Event, ...]
    figure: Path | None = None

    def to_json(self) -> Json:
        """Return the object that --json prints."""
        return {
            "workload": self.workload,
            "metric": self.metric,
            "events": [event.to_json() for event in self.events],
            "figure": str(self.figure) if self.figure else None,
        }


def read_history(
    name: str, settings: Settings, primary_metric: str | None, check_name: Callable[[str, bool], None]
) -> History:
    """Return the events of a workload.

    `primary_metric` is None for a workload that is no longer registered: then its runs name the metric.
    `check_name(name, has_data)` raises UserError for an unknown workload.
    """
    records = RunHistory(open_store(settings.store, settings.store_access), name).runs()
    with existing_registry(settings) as registry:
        trail = registry.alias_history(name) if registry else []
        champion = registry.aliases(name).get(CHAMPION) if registry else None
    check_name(name, bool(records or trail))
    metric = _first_metric(records) if primary_metric is None else primary_metric
    return History(name, metric, tuple(list_events(records, read_champion_history(trail, champion), metric)))


def _first_metric(records: list[RunRecord]) -> str:
    return next((name for record in records for name in record.metrics), "")


def write_figure(history: History, path: Path) -> bool:
    """Write the figure to an SVG file. Return False, and write nothing, if no run was evaluated."""
    if not any(event.measured for event in history.events):
        return False
    # Import here for a shorter start-up time: matplotlib takes longer than the rest of the command.
    from continuous_training.operations.history_plot import draw

    write_text(path, draw(history.workload, history.metric, list(history.events)))
    return True


def check_figure_path(path: Path) -> None:
    """Raise UserError unless the path is that of an SVG file."""
    if path.suffix != ".svg":
        raise UserError(f"--output {path}: the figure is an SVG file; pass a file name that ends with .svg")
