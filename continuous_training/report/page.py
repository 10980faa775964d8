"""Render the HTML report.

The text of each section is in `templates/`, and the modules of this package provide its data.
"""

from __future__ import annotations

from typing import NamedTuple

from continuous_training.report import data_sections, error_section, result_sections, rule_section
from continuous_training.report.formatting import (
    NOTHING,
    PERCENT_METRICS,
    change_text,
    finite,
    interval_text,
    label,
    metric_value,
    number,
    parameter_text,
)
from continuous_training.report.report_data import ReportData
from continuous_training.report.svg import plot_style
from continuous_training.report.templating import Variables, html_environment


class Tile(NamedTuple):
    """One of the large numbers at the top of the report."""

    value: str
    caption: str


def render_report(data: ReportData) -> str:
    """Return the report as one HTML file without scripts and external resources.

    The output depends on `data` only. All values are escaped, and missing values are shown as a dash.
    """
    with plot_style():
        context = {
            "data": data,
            "evaluation": data.evaluation,
            **_header(data),
            **result_sections.context(data),
            **error_section.context(data),
            **data_sections.context(data),
            **rule_section.context(data),
            "parameters": {n: parameter_text(v) for n, v in data.evaluation.parameters.items()},
            "notes": {n: parameter_text(v, digits=4) for n, v in data.notes.items()},
        }
    return html_environment().get_template("report.html").render(context)


def _header(data: ReportData) -> Variables:
    rows = data.dataset.train.rows + data.dataset.holdout.rows
    return {"sample_rows": rows if data.dataset.sample else None, "tiles": _tiles(data)}


def _tiles(data: ReportData) -> list[Tile]:
    metric, evaluation = data.primary, data.evaluation
    interval, difference = evaluation.metrics.get(metric), evaluation.difference
    if evaluation.champion is None:
        comparison = Tile(
            _limit_text(metric, evaluation.rule.get("floor")), "floor; there is no champion yet"
        )
    else:
        comparison = Tile(change_text(metric, difference and difference.value), "against the champion")
    return [
        Tile(
            metric_value(metric, interval and interval.value),
            f"{label(metric)}, {interval_text(metric, interval)}",
        ),
        comparison,
        Tile(number(data.dataset.train.rows), "training rows"),
        Tile(number(data.dataset.holdout.rows), "holdout rows"),
    ]


def _limit_text(metric: str, value: object) -> str:
    """Return a limit of the rule without rounding."""
    if not finite(value):
        return NOTHING
    return f"{100 * value:.6g} %" if metric in PERCENT_METRICS else f"{value:.6g}"
