"""The champion line as a figure: every judged run with its interval, and the champion through them."""

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
from continuous_training.report.plots import FULL_WIDTH
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
    "rollback": ("v", MODERATE, INK),
    "by hand": ("s", MUTED, "white"),
}
"""Shape, fill and edge: told apart in grey, too."""

MOST_LABELS = 12
_HEAD = '<svg class="figure" '
_ALONE = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'style="background: white" font-family="system-ui, sans-serif" '
)


def draw(workload: str, metric: str, events: list[Event]) -> str:
    """Return the figure as the text of an SVG file; the same events give the same bytes.

    Runs that failed have nothing to show; the table has them.
    """
    events = [event for event in events if event.kind in MARKS]
    with plot_style():
        figure = new_figure(FULL_WIDTH, 390)
        axes = add_axes(figure, 72, 40, FULL_WIDTH - 100, 230)
        _line(axes, events)
        for at, event in enumerate(events):
            _mark(axes, at, event)
        _scale(axes, metric, events)
        better = "lower is better" if metric in LOWER_IS_BETTER else "higher is better"
        axes.set_title(f"{short(workload, 30)}: {label(metric)} on the holdout, {better}")
        _legend(axes, events)
        text = inline_svg(
            figure, "history", f"{label(metric)} of the runs of {workload}: {_told(metric, events)}"
        )
    return _ALONE + str(text).removeprefix(_HEAD) + "\n"


def _line(axes: Axes, events: list[Event]) -> None:
    """Draw the champion's own value from the run that promoted it until another one takes its place."""
    values = [e.standing.value if e.standing else float("nan") for e in events]
    ends = [*range(len(events)), len(events) - 0.5]
    axes.step(ends, [*values, values[-1]], where="post", color=CHAMPION, lw=1.8, alpha=0.75, zorder=1)


def _mark(axes: Axes, at: int, event: Event) -> None:
    """Draw one event, at the champion's own value where it measured nothing."""
    shown = event.measured or (event.standing if event.kind in ("rollback", "by hand") else None)
    if shown is None or not finite(shown.value):
        return
    shape, fill, edge = MARKS[event.kind]
    if event.measured and finite(shown.low) and finite(shown.high):
        axes.plot(
            [at, at], [shown.low, shown.high], color=fill, lw=2.0, alpha=0.6, solid_capstyle="round", zorder=2
        )
    axes.plot([at], [shown.value], shape, color=fill, mec=edge, mew=1.0, ms=9, zorder=3)


def _scale(axes: Axes, metric: str, events: list[Event]) -> None:
    step = -(-len(events) // MOST_LABELS)
    places = range(0, len(events), step)
    axes.set_xticks(list(places), [_day(events[at], events[at - step] if at else None) for at in places])
    axes.set_xlim(-0.5, len(events) - 0.5)
    axes.margins(y=0.12)
    axes.grid(axis="y")
    axes.locator_params(axis="y", nbins=5)
    if metric in PERCENT_METRICS:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    else:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "−"))
    axes.set_xlabel("judged runs and rollbacks in their order; the version is the champion after each")


def _day(event: Event, before: Event | None) -> str:
    """Return version, day and time, with the year where it is another one than before."""
    champion = f"v{event.champion}" if event.champion else "none"
    year = "" if before and before.when[:4] == event.when[:4] else event.when[:4]
    return "\n".join([champion, event.when[5:10], event.when[11:16], year])


def _legend(axes: Axes, events: list[Event]) -> None:
    """Name the marks that are there, below the figure."""
    for kind in dict.fromkeys(event.kind for event in events):
        shape, fill, edge = MARKS[kind]
        axes.plot([], [], shape, color=fill, mec=edge, ms=8, label=kind)
    axes.plot([], [], color=CHAMPION, lw=1.8, label="champion")
    axes.legend(loc="center", bbox_to_anchor=(0.5, -0.46), ncols=5, handletextpad=0.4, columnspacing=1.4)


def _told(metric: str, events: list[Event]) -> str:
    return "; ".join(
        f"{event.kind} {metric_value(metric, event.measured.value) if event.measured else ''}".strip()
        + f", champion version {event.champion or 'none'}"
        for event in events
    )
