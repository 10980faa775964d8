"""The champions over time as a figure: each evaluated run with its interval, and the champion's metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.operations.history_events import Event
from continuous_training.report.formatting import (
    LOWER_IS_BETTER,
    PERCENT_METRICS,
    finite,
    label,
    metric_value,
    short,
)
from continuous_training.report.metric_plots import FULL_WIDTH
from continuous_training.report.svg import (
    CHALLENGER,
    CHAMPION,
    INK,
    LARGE,
    MODERATE,
    MUTED,
    add_axes,
    inline_svg,
    new_figure,
    plot_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKS = {
    "promoted": ("o", CHALLENGER, CHALLENGER),
    "rejected": ("X", LARGE, "white"),
    "waiting": ("D", MODERATE, "white"),
    "rollback": ("v", MODERATE, INK),
    "by hand": ("s", MUTED, "white"),
}
"""Marker, fill colour and edge colour of each kind. The shapes differ, so that they can be read in grey."""

MAX_LABELS = 12
"""The greatest number of labels on the time axis."""
_INLINE_HEAD = '<svg class="figure" '
_FILE_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'style="background: white" font-family="system-ui, sans-serif" '
)


def draw(workload: str, metric: str, events: list[Event]) -> str:
    """Return the figure as the text of an SVG file. The same events give the same bytes.

    Failed runs have no metric, so the figure leaves them out.
    """
    events = [event for event in events if event.kind in MARKS]
    with plot_style():
        figure = new_figure(FULL_WIDTH, 390)
        axes = add_axes(figure, 72, 40, FULL_WIDTH - 100, 230)
        _draw_champion(axes, events)
        for position, event in enumerate(events):
            _draw_event(axes, position, event)
        _set_scales(axes, metric, events)
        direction = "lower is better" if metric in LOWER_IS_BETTER else "higher is better"
        axes.set_title(f"{short(workload, 30)}: {label(metric)} on the holdout, {direction}")
        _add_legend(axes, events)
        svg = inline_svg(
            figure, "history", f"{label(metric)} of the runs of {workload}: {_description(metric, events)}"
        )
    return _FILE_HEAD + str(svg).removeprefix(_INLINE_HEAD) + "\n"


def _draw_champion(axes: Axes, events: list[Event]) -> None:
    """Draw the champion's metric in the run that promoted it, from that run to the next promotion."""
    metrics = [event.champion_metric for event in events]
    values = [metric.value if metric else float("nan") for metric in metrics]
    ends = [*range(len(events)), len(events) - 0.5]
    axes.step(ends, [*values, values[-1]], where="post", color=CHAMPION, lw=1.8, alpha=0.75, zorder=1)


def _draw_event(axes: Axes, position: int, event: Event) -> None:
    """Draw one event; a rollback or a manual move at the metric of the champion."""
    is_move = event.kind in ("rollback", "by hand")
    interval = event.measured or (event.champion_metric if is_move else None)
    if interval is None or not finite(interval.value):
        return
    marker, fill, edge = MARKS[event.kind]
    if event.measured and finite(interval.low) and finite(interval.high):
        axes.plot(
            [position, position],
            [interval.low, interval.high],
            color=fill,
            lw=2.0,
            alpha=0.6,
            solid_capstyle="round",
            zorder=2,
        )
    axes.plot([position], [interval.value], marker, color=fill, mec=edge, mew=1.0, ms=9, zorder=3)


def _set_scales(axes: Axes, metric: str, events: list[Event]) -> None:
    step = -(-len(events) // MAX_LABELS)
    positions = range(0, len(events), step)
    labels = [_time_label(events[i], events[i - step] if i else None) for i in positions]
    axes.set_xticks(list(positions), labels)
    axes.set_xlim(-0.5, len(events) - 0.5)
    axes.margins(y=0.12)
    axes.grid(axis="y")
    axes.locator_params(axis="y", nbins=5)
    if metric in PERCENT_METRICS:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    else:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "−"))
    axes.set_xlabel("evaluated runs and rollbacks in order; the version is the champion after each")


def _time_label(event: Event, labelled_before: Event | None) -> str:
    """Return version, day and time, and the year if it differs from that of the label before."""
    champion = f"v{event.champion}" if event.champion else "none"
    same_year = labelled_before is not None and labelled_before.when[:4] == event.when[:4]
    year = "" if same_year else event.when[:4]
    return "\n".join([champion, event.when[5:10], event.when[11:16], year])


def _add_legend(axes: Axes, events: list[Event]) -> None:
    """Add a legend of the kinds of events in the figure, below it."""
    for kind in dict.fromkeys(event.kind for event in events):
        marker, fill, edge = MARKS[kind]
        axes.plot([], [], marker, color=fill, mec=edge, ms=8, label=kind)
    axes.plot([], [], color=CHAMPION, lw=1.8, label="champion")
    axes.legend(loc="center", bbox_to_anchor=(0.5, -0.46), ncols=5, handletextpad=0.4, columnspacing=1.4)


def _description(metric: str, events: list[Event]) -> str:
    return "; ".join(
        f"{event.kind} {metric_value(metric, event.measured.value) if event.measured else ''}".strip()
        + f", champion version {event.champion or 'none'}"
        for event in events
    )
