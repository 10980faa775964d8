"""Plots of a regression: the errors, the fit over its only feature, and the residuals."""

from __future__ import annotations

import math
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from continuous_training.report.formatting import real, short
from continuous_training.report.metric_plots import FULL_WIDTH
from continuous_training.report.report_data import ReportData
from continuous_training.report.row_sample import sample_note, sampling_step
from continuous_training.report.svg import (
    CHALLENGER,
    CHAMPION,
    GRID,
    INK,
    MUTED,
    add_axes,
    inline_svg,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 250
"""Points of each scatter plot: each point is an element in the page."""
MAX_LINE_POINTS = 1000
MAX_ERROR_POINTS = 800
"""Points of the plot of predicted over actual values."""


def errors_plot(data: ReportData) -> Markup:
    """Draw predicted over actual values, and the distribution of both models' errors."""
    actual, predicted = finite_rows(data.predictions.actual, data.predictions.challenger)
    errors = [predicted - actual]
    if data.predictions.champion is not None:
        champion_actual, champion = finite_rows(data.predictions.actual, data.predictions.champion)
        errors.append(champion - champion_actual)
    figure = new_figure(FULL_WIDTH, 324)
    _draw_scatter(add_axes(figure, 62, 28, 306, 250), actual, predicted, data)
    axes = add_axes(figure, 444, 28, 300, 250)
    bins = min(30, max(8, 2 * math.isqrt(len(actual))))
    edges = np.histogram_bin_edges(np.concatenate(errors), bins).tolist()
    # Counted here: matplotlib takes ten times as long for millions of rows.
    counts = [np.histogram(values, edges)[0] for values in errors]
    draw = partial(axes.hist, edges[:-1], edges)
    draw(weights=counts[0], color=CHALLENGER, alpha=0.8, label="challenger", edgecolor="white", linewidth=0.6)
    if len(errors) > 1:
        draw(weights=counts[1], histtype="step", color=INK, linewidth=1.4, label="champion")
        axes.legend(loc="upper right", borderaxespad=0)
    axes.axvline(0, color=MUTED, lw=1)
    axes.margins(y=0.2)
    axes.grid(axis="y")
    title = "Errors" + sample_note(data.row_step)
    axes.set(xlabel="predicted minus actual", ylabel="rows of the holdout", title=title)
    median, half = real(np.median(errors[0])), real(np.median(abs(errors[0])))
    summary = f"the median error is {median}, and half of the errors are within {half} of zero"
    return inline_svg(figure, "errors", f"Predicted over actual for {len(actual)} rows; {summary}")


def _draw_scatter(axes: Axes, actual: np.ndarray, predicted: np.ndarray, data: ReportData) -> None:
    step, unit = sampling_step(len(actual), MAX_ERROR_POINTS), short(data.label_column)
    low, high = float(min(actual.min(), predicted.min())), float(max(actual.max(), predicted.max()))
    margin = 0.05 * (high - low or 1.0)
    axes.plot([low, high], [low, high], color=MUTED, lw=1)
    axes.text(high, high, "exact ", color=MUTED, fontsize=10, ha="right", va="bottom")
    axes.plot(actual[::step], predicted[::step], "o", color=CHALLENGER, alpha=0.55, ms=5, mew=0)
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    axes.set(xlabel=f"actual {unit}".strip(), ylabel=f"predicted {unit}".strip())
    axes.set_title("Predicted over actual" + sample_note(step * data.row_step))
    axes.grid(color=GRID)


def fit_plot(data: ReportData) -> Markup | None:
    """Draw the label column and the fitted line over the model's only feature; None for several features."""
    if data.feature is None:
        return None
    name, values = data.feature
    predictions = data.predictions
    x, actual, predicted = finite_rows(values, predictions.actual, predictions.challenger)
    if len(x) < 2:
        return None
    line = _line(x, predicted)
    step = sampling_step(len(x), MAX_POINTS)
    figure = new_figure(FULL_WIDTH, 344)
    axes = add_axes(figure, 62, 14, FULL_WIDTH - 90, 276)
    axes.plot(
        x[::step],
        actual[::step],
        "o",
        color=INK,
        alpha=0.55,
        ms=5,
        mew=0,
        label="holdout" + sample_note(step * data.row_step),
    )
    axes.plot(*line, color=CHALLENGER, lw=3, label="challenger")
    champion_line = _champion_line(predictions.champion, values)
    if champion_line is not None:
        axes.plot(*champion_line, color=CHAMPION, lw=1.6, ls=(0, (4, 3)), label="champion")
    axes.legend(loc="upper left")
    axes.grid(color=GRID)
    axes.set(xlabel=short(name), ylabel=short(data.label_column or "target"))
    predicted_range = f"{real(line[1][0])} to {real(line[1][-1])}"
    feature_range = f"{real(x.min())} to {real(x.max())}"
    alternative = (
        f"Predicted {short(data.label_column)} over {short(name)}: from {predicted_range}, for {short(name)} "
        f"from {feature_range}"
    )
    return inline_svg(figure, "fit", alternative)


def residuals_plot(data: ReportData) -> Markup | None:
    """Draw the residuals over the predictions and a normal quantile plot; None with fewer than 3 rows."""
    actual, predicted = finite_rows(data.predictions.actual, data.predictions.challenger)
    if len(actual) < 3:
        return None
    residuals = actual - predicted
    mean, deviation = float(residuals.mean()), float(residuals.std())
    step = sampling_step(len(residuals), MAX_POINTS)
    figure = new_figure(FULL_WIDTH, 306)
    axes = add_axes(figure, 62, 28, 306, 226)
    axes.axhline(0, color=MUTED, lw=1)
    axes.plot(predicted[::step], residuals[::step], "o", color=CHALLENGER, alpha=0.55, ms=5, mew=0)
    sample = slice(None, None, sampling_step(len(residuals)))
    axes.plot(*_group_means(predicted[sample], residuals[sample]), color=INK, lw=1.6)
    axes.grid(color=GRID)
    note = sample_note(step * data.row_step)
    title = "Residuals over predicted" + note
    axes.set(xlabel="predicted", ylabel="actual minus predicted", title=title)
    axes = add_axes(figure, 444, 28, 300, 226)
    ordered = np.sort(residuals[sample])
    sample = slice(None, None, sampling_step(len(ordered), MAX_POINTS))
    probabilities = (np.arange(1, len(ordered) + 1) - 0.5) / len(ordered)
    normal = np.array([NormalDist().inv_cdf(p) for p in probabilities[sample].tolist()])
    axes.plot(normal, mean + deviation * normal, color=MUTED, lw=1)
    axes.plot(normal, ordered[sample], "o", color=CHALLENGER, alpha=0.55, ms=5, mew=0)
    axes.grid(color=GRID)
    axes.set(xlabel="of a normal distribution", ylabel="residuals", title="Quantiles" + note)
    moments = f"mean {real(mean)}, standard deviation {real(deviation)}"
    return inline_svg(figure, "residuals", f"Residuals of {len(residuals)} rows: {moments}")


def _group_means(x: np.ndarray, y: np.ndarray, groups: int = 8) -> tuple[list[float], list[float]]:
    """Return the means of x and y in groups of equal size, ordered by x."""
    order = np.argsort(x, kind="stable")
    parts = [part for part in np.array_split(order, min(groups, max(len(x) // 5, 1))) if len(part)]
    return [float(x[part].mean()) for part in parts], [float(y[part].mean()) for part in parts]


def _champion_line(champion: np.ndarray | None, values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the champion's predictions over the feature, if it uses only the same feature; else None.

    Such a champion predicts the same for equal values of the feature. Without equal values this is unknown.
    """
    if champion is None:
        return None
    x, predicted = finite_rows(values, champion)
    step = sampling_step(len(x))
    x, predicted = x[::step], predicted[::step]
    order = np.lexsort((predicted, x))
    x, predicted = x[order], predicted[order]
    repeated = np.diff(x) == 0
    if not repeated.any():
        return None
    tolerance = 1e-9 * np.abs(predicted).max()
    if (np.abs(np.diff(predicted)[repeated]) > tolerance).any():
        return None
    return _line(x, predicted)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points of the line of y over x, in ascending order, from the smallest to the largest x."""
    order = np.argsort(x, kind="stable")
    sample = np.unique(np.linspace(0, len(x) - 1, min(len(x), MAX_LINE_POINTS)).astype(np.intp))
    return x[order[sample]], y[order[sample]]


def finite_rows(*columns: np.ndarray) -> list[np.ndarray]:
    """Return the columns as float64, without the rows in which a value is not finite."""
    arrays = [np.asarray(column, np.float64).ravel() for column in columns]
    finite = np.logical_and.reduce([np.isfinite(array) for array in arrays])
    return [array[finite] for array in arrays]
