"""The data of the report's sections on the results: metrics, difference, predictions, learning curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from continuous_training.artifacts.measurements import SliceMetric, interval_label
from continuous_training.core.stored_array import parts_of
from continuous_training.report import classification_plots, metric_plots, regression_plots
from continuous_training.report.formatting import (
    LOWER_IS_BETTER,
    change_text,
    finite,
    improvement,
    interval_text,
    label,
    metric_value,
)
from continuous_training.report.report_data import ReportData
from continuous_training.report.row_sample import drawn_rows
from continuous_training.report.templating import Variables


@dataclass(frozen=True)
class MetricRow:
    """One row of the table of metrics, formatted."""

    label: str
    primary: bool
    lower_is_better: bool
    value: str
    interval: str
    champion_value: str
    champion_interval: str
    improvement: str


def context(data: ReportData) -> Variables:
    """Return the template variables of these sections."""
    curve = data.curve
    return {
        "interval_label": interval_label(),
        "metric_rows": [_metric_row(data, name) for name in data.evaluation.metrics],
        "metrics_plot": metric_plots.metrics_plot(data) if data.evaluation.metrics else None,
        "curve_plot": metric_plots.curve_plot(curve) if metric_plots.curve_quantities(curve) else None,
        **_difference(data),
        **_predictions(data),
    }


def _metric_row(data: ReportData, name: str) -> MetricRow:
    challenger, champion = data.evaluation.metrics[name], data.champion_metrics.get(name)
    change = improvement(name, challenger, champion)
    primary = name == data.primary
    if primary and data.evaluation.difference is not None:
        change = data.evaluation.difference.value
    return MetricRow(
        label=label(name),
        primary=primary,
        lower_is_better=name in LOWER_IS_BETTER,
        value=metric_value(name, challenger.value),
        interval=interval_text(name, challenger),
        champion_value=metric_value(name, champion and champion.value),
        champion_interval=interval_text(name, champion),
        improvement=change_text(name, change),
    )


def _difference(data: ReportData) -> Variables:
    difference, metric = data.evaluation.difference, data.primary
    if data.evaluation.champion is None or difference is None or not finite(difference.value):
        return {"difference_plot": None}
    low, high = change_text(metric, difference.low), change_text(metric, difference.high)
    interval = interval_label(data.evaluation.bootstrap.confidence)
    return {
        "difference_plot": metric_plots.difference_plot(data, difference),
        "difference_interval": f"{interval} {low} to {high}",
    }


def _predictions(data: ReportData) -> Variables:
    variables: Variables = dict.fromkeys(
        ("confusion_plot", "errors_plot", "fit_plot", "residuals_plot", "slices_plot", "slices_caption")
    )
    if not _has_predictions(data):
        return variables
    if data.task == "regression":
        sample = drawn_rows(data)
        slices = _slices(data, data.evaluation.slices, data.primary, "slice", metric_plots.FULL_WIDTH)
        return {
            **variables,
            **slices,
            "errors_plot": regression_plots.errors_plot(sample),
            "fit_plot": regression_plots.fit_plot(sample),
            "residuals_plot": regression_plots.residuals_plot(sample),
        }
    if data.evaluation.slices:
        slices = _slices(data, data.evaluation.slices, data.primary, "slice", metric_plots.HALF_WIDTH)
    else:
        slices = _slices(
            data, classification_plots.class_slices(data), "accuracy", "class", metric_plots.HALF_WIDTH
        )
    return {**variables, **slices, "confusion_plot": classification_plots.confusion_plot(data)}


def _slices(
    data: ReportData, slices: Mapping[str, SliceMetric], metric: str, kind: str, width: int
) -> dict[str, Markup | str]:
    """Return the plot of the slices, which are groups of the given kind, with its caption."""
    if not slices:
        return {}
    omitted = len(slices) - metric_plots.MAX_SLICES
    caption = f"By {kind}, with the number of rows"
    caption += f" and the {interval_label()}" if any(finite(part.low) for part in slices.values()) else ""
    caption += "." if data.evaluation.champion is None else "; the open marker is the champion."
    caption += f" The {omitted} best are left out." if omitted > 0 else ""
    return {
        "slices_plot": metric_plots.slices_plot(data, slices, metric, width),
        "slices_caption": caption,
    }


def _has_predictions(data: ReportData) -> bool:
    """Return whether there are rows to draw; a regression needs two rows with finite values."""
    predictions = data.predictions
    if data.task == "regression":
        parts = parts_of(predictions.actual, predictions.challenger)
        return sum(len(regression_plots.finite_rows(*part)[0]) for part in parts) > 1
    return len(predictions.actual) > 0
