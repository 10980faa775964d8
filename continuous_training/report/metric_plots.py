"""Plots of the evaluation: metrics, difference, slices, learning curve and drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from continuous_training.artifacts.measurements import ColumnDrift, SliceMetric, interval_label
from continuous_training.evaluation import drift
from continuous_training.evaluation.metrics import Interval
from continuous_training.report.formatting import (
    LOWER_IS_BETTER,
    NOTHING,
    PERCENT_METRICS,
    change_text,
    finite,
    interval_text,
    label,
    metric_value,
    number,
    real,
    short,
)
from continuous_training.report.report_data import ReportData
from continuous_training.report.svg import (
    CHALLENGER,
    CHAMPION,
    GRID,
    INK,
    LARGE,
    MODERATE,
    MUTED,
    STABLE,
    WASH,
    add_axes,
    draw_heading,
    draw_interval,
    draw_limit,
    draw_value,
    inline_svg,
    new_figure,
    set_metric_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FULL_WIDTH, HALF_WIDTH = 760, 440
MAX_METRICS, MAX_SLICES, MAX_COLUMNS, MAX_CURVES = 6, 24, 16, 3
MAX_DRIFT = 0.5
"""The upper end of the drift axis. A column with extreme drift must not flatten the bars of the others."""
DRIFT_COLOURS = {"stable": STABLE, "moderate": MODERATE, "large": LARGE}


def metrics_plot(data: ReportData) -> Markup:
    """Draw each metric with its interval in a panel of its own, the challenger above the champion."""
    metrics = data.evaluation.metrics
    names = list(metrics)[:MAX_METRICS]
    columns = min(len(names), 3)
    models = {"challenger": metrics}
    if data.evaluation.champion is not None:
        models = {data.champion_name: data.champion_metrics, **models}
    panel_height = 34 * len(models) + 26
    panel_width = (FULL_WIDTH - 110 - 26 * columns) / columns
    figure = new_figure(FULL_WIDTH, (panel_height + 60) * -(-len(names) // columns))
    for index, name in enumerate(names):
        row, column = divmod(index, columns)
        left, top = 104 + column * (panel_width + 30), 30 + row * (panel_height + 60)
        axes = add_axes(figure, left, top, panel_width, panel_height)
        for height, (model, values) in enumerate(models.items()):
            draw_interval(axes, height, values.get(name), name, model == "challenger")
        axes.set_ylim(-0.7, len(models) - 0.35)
        axes.set_yticks(range(len(models)), ["" if column else model for model in models])
        note = " · lower is better" if name in LOWER_IS_BETTER else ""
        axes.set_title(short(label(name), 16 if note else 30) + note)
        if name == data.primary:
            draw_limit(axes, data.evaluation.rule.get("floor"), "floor")
        set_metric_scale(axes, name, 0.14)
    values_text = "; ".join(
        f"{model} {label(name)} {_value_text(name, values.get(name))}"
        for name in names
        for model, values in models.items()
    )
    return inline_svg(figure, "comparison", f"Metrics on the holdout with {interval_label()}s: {values_text}")


def _value_text(metric: str, interval: Interval | None) -> str:
    if interval is None:
        return NOTHING
    return f"{metric_value(metric, interval.value)} ({interval_text(metric, interval)})"


def difference_plot(data: ReportData, difference: Interval) -> Markup:
    """Draw the challenger's improvement with its interval, and the limit for a promotion."""
    metric, rule = data.primary, data.evaluation.rule
    limit = 0.0 if rule.get("superiority", True) else -float(rule.get("margin") or 0.0)
    figure = new_figure(FULL_WIDTH, 146)
    axes = add_axes(figure, 104, 26, FULL_WIDTH - 132, 74)
    numbers = [0.0, limit, *filter(finite, (difference.value, difference.low, difference.high))]
    margin = 0.18 * (max(numbers) - min(numbers) or 0.02)
    axes.set(xlim=(min(numbers) - margin, max(numbers) + margin), ylim=(-1.3, 1.2))
    axes.axvspan(limit, max(numbers) + margin, color=WASH, lw=0)
    axes.axvline(0, color=MUTED, lw=1)
    draw_heading(axes, 0.0, "no difference")
    if limit:
        draw_limit(axes, limit, "margin")
    draw_interval(axes, 0, difference, metric, value_text=change_text)
    axes.set_yticks([0], ["difference"])
    for x, text, alignment in ((0.012, "← worse", "left"), (0.988, "better →", "right")):
        axes.text(x, 0.06, text, color=MUTED, transform=axes.transAxes, ha=alignment, fontsize=10.5)
    factor = 100 if metric in PERCENT_METRICS else 1
    axes.xaxis.set_major_formatter(
        lambda value, _: f"{factor * value:+.3g}".replace("-", "−") if value else "0"
    )
    unit = ", percentage points" if metric in PERCENT_METRICS else ""
    axes.set_xlabel(f"challenger minus champion, {label(metric)}{unit}")
    value, low, high = (
        change_text(metric, end) for end in (difference.value, difference.low, difference.high)
    )
    interval = interval_label(data.evaluation.bootstrap.confidence)
    alternative = f"Challenger minus champion, {label(metric)}: {value}, {interval} {low} to {high}"
    return inline_svg(figure, "difference", alternative)


def slices_plot(
    data: ReportData, slices: Mapping[str, SliceMetric], metric: str, width: int = HALF_WIDTH
) -> Markup:
    """Draw the metric of each slice for both models. With too many slices, draw the worst."""
    direction = -1 if metric in LOWER_IS_BETTER else 1
    worst = sorted(slices, key=lambda name: _sort_key(direction * slices[name].value))[:MAX_SLICES]
    names = [name for name in slices if name in set(worst)][::-1]
    row_height = 34 if len(names) <= 12 else 24
    figure = new_figure(width, row_height * len(names) + 66)
    axes = add_axes(figure, 116, 22, width - 140, row_height * len(names))
    for height, name in enumerate(names):
        axes.axhline(height, color=GRID, lw=0.8)
        _draw_slice(axes, height, slices[name])
    axes.set_yticks(range(len(names)), [f"{short(n, 12)} · {number(slices[n].rows)}" for n in names])
    axes.set_ylim(-0.7, len(names) - 0.4)
    if metric == data.primary:
        draw_limit(axes, data.evaluation.rule.get("slice_floor"), "floor")
    set_metric_scale(axes, metric, 0.06)
    axes.set_xlabel(label(metric))
    values_text = "; ".join(
        f"{short(name)} {metric_value(metric, slices[name].value)}, "
        f"champion {metric_value(metric, slices[name].champion)}"
        for name in names[::-1]
    )
    return inline_svg(figure, "slices", f"{label(metric)} by slice: {values_text}")


def _draw_slice(axes: Axes, height: float, part: SliceMetric) -> None:
    if finite(part.value) and finite(part.champion):
        axes.plot([part.champion, part.value], [height, height], color=CHAMPION, lw=1.4, alpha=0.5)
    if finite(part.champion):
        axes.plot([part.champion], [height], "D", color="white", mec=CHAMPION, mew=1.5, ms=6)
    if finite(part.low) and finite(part.high):
        ends, heights = [part.low, part.high], [height, height]
        axes.plot(ends, heights, color=CHALLENGER, lw=2, alpha=0.35, solid_capstyle="round")
    if finite(part.value):
        axes.plot([part.value], [height], "o", color=CHALLENGER, ms=7.5)


def curve_quantities(curve: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the names of the first quantities of a learning curve, without the step."""
    names = dict.fromkeys(name for step in curve for name, value in step.items() if finite(value))
    return [name for name in names if name != "step"][:MAX_CURVES]


def curve_plot(curve: Sequence[Mapping[str, float]]) -> Markup:
    """Draw each quantity of the learning curve over the steps, in a panel of its own."""
    names = curve_quantities(curve)
    figure = new_figure(FULL_WIDTH, 210)
    width = (FULL_WIDTH - 84 * len(names)) / len(names)
    for column, name in enumerate(names):
        axes = add_axes(figure, 62 + column * (width + 84), 28, width, 132)
        points = []
        for index, entry in enumerate(curve):
            step, value = entry.get("step"), entry.get(name)
            if finite(value):
                points.append((step if finite(step) else index + 1, value))
        x, y = [x for x, _ in points], [y for _, y in points]
        axes.plot(x, y, color=CHALLENGER, lw=2, marker="o", ms=3.5)
        draw_value(axes, x[-1], y[-1], real(y[-1]))
        axes.grid(axis="y")
        axes.margins(x=0.04, y=0.18)
        axes.yaxis.set_major_formatter(lambda value, _: real(value))
        axes.locator_params(axis="y", nbins=4)
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel("step")
        axes.set_title(short(label(name), 28))
    ends = "; ".join(
        f"{label(name)} from {number(curve[0].get(name))} to {number(curve[-1].get(name))}" for name in names
    )
    return inline_svg(figure, "curve", f"Learning curve over {len(curve)} steps: {ends}")


def drift_plot(drifts: Sequence[ColumnDrift]) -> Markup:
    """Draw the stability index of the columns with the largest drift, which come first in `drifts`."""
    selected = drifts[:MAX_COLUMNS][::-1]
    end = max(0.32, min(1.15 * selected[-1].psi, MAX_DRIFT))
    figure = new_figure(FULL_WIDTH, 24 * len(selected) + 76)
    axes = add_axes(figure, 112, 28, FULL_WIDTH - 190, 24 * len(selected))
    for height, column in enumerate(selected):
        bar, chance = min(column.psi, end), min(column.chance, end)
        axes.barh(height, bar, height=0.6, color=DRIFT_COLOURS[column.level])
        axes.plot([chance, chance], [height - 0.36, height + 0.36], color=INK, lw=1.4)
        text = f"{column.psi:.3f}" + (" ›" if column.psi > end else "")
        axes.text(max(bar, chance) + end * 0.012, height, text, va="center", fontsize=10.5)
    for level, start in (("moderate", drift.MODERATE), ("large", drift.LARGE)):
        draw_limit(axes, start, "", DRIFT_COLOURS[level])
        draw_heading(axes, start, f"{level} from {start}")
    axes.set_yticks(range(len(selected)), [short(column.column, 15) for column in selected])
    axes.set_ylim(-0.6, len(selected) - 0.4)
    axes.set_xlim(0, end)
    axes.set_xlabel("population stability index; the dark tick is the index expected by chance")
    columns = "; ".join(f"{short(c.column)} {c.psi:.3f}, {c.level}" for c in selected[::-1])
    return inline_svg(figure, "drift", f"Population stability index by column: {columns}")


def _sort_key(value: float) -> float:
    return value if finite(value) else float("-inf")
