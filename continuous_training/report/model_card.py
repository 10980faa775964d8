"""Render the model card of a run in Markdown: the purpose of the model, its quality, and its data.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). All numbers are measured in the run. The
text is in `templates/card.md`.
"""

from __future__ import annotations

import json

from markupsafe import Markup

from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.artifacts.golden_requests import GoldenRequest
from continuous_training.artifacts.measurements import interval_label
from continuous_training.evaluation.metrics import Interval
from continuous_training.report.data_sections import MAX_COLUMNS
from continuous_training.report.formatting import (
    change_text,
    interval_text,
    label,
    metric_value,
    number,
)
from continuous_training.report.report_data import ReportData
from continuous_training.report.templating import markdown_environment, markdown_table

MAX_EXAMPLE_LENGTH = 600


def render_card(data: ReportData, intended_use: str, limits: str, example: GoldenRequest) -> str:
    """Return the model card.

    `intended_use` and `limits` are the workload's texts, and `example` is a golden request with its response.
    The output depends on the arguments only. All values are escaped.
    """
    evaluation = data.evaluation
    text = (
        markdown_environment()
        .get_template("card.md")
        .render(
            data=data,
            evaluation=evaluation,
            summary=data.summary[:1].upper() + data.summary[1:],
            intended_use=intended_use,
            limits=limits,
            improvement=_improvement(data),
            metrics=_metrics(data),
            slices=_slices(data) if evaluation.slices else None,
            row_counts=_row_counts(data),
            columns=_columns(data),
            drift=_drift(evaluation) if evaluation.drift else None,
            parameters=_parameters(data),
            example=_example(example),
        )
    )
    return text.rstrip() + "\n"


def _metrics(data: ReportData) -> Markup:
    head = ["metric", "value", interval_label()]
    if data.evaluation.champion:
        head += [data.champion_name, interval_label()]
    rows = []
    for name, interval in data.evaluation.metrics.items():
        row = [label(name), metric_value(name, interval.value), interval_text(name, interval)]
        if data.evaluation.champion:
            champion = data.champion_metrics.get(name)
            row += [metric_value(name, champion and champion.value), interval_text(name, champion)]
        rows.append(row)
    return markdown_table(head, rows)


def _improvement(data: ReportData) -> str:
    metric, difference = data.primary, data.evaluation.difference
    if difference is None:
        return ""
    value, low, high = (
        change_text(metric, end) for end in (difference.value, difference.low, difference.high)
    )
    return f"{value} {label(metric)} ({low} to {high})"


def _slices(data: ReportData) -> Markup:
    metric, has_champion = data.primary, data.evaluation.champion is not None
    head = ["slice", "rows", label(metric), interval_label(), *(["champion"] if has_champion else [])]
    rows = []
    for name, part in data.evaluation.slices.items():
        interval = Interval(part.value, part.low, part.high)
        row = [name, number(part.rows), metric_value(metric, part.value), interval_text(metric, interval)]
        rows.append([*row, metric_value(metric, part.champion)] if has_champion else row)
    return markdown_table(head, rows)


def _row_counts(data: ReportData) -> str:
    return ", ".join(f"{number(split.rows)} {name}" for name, split in data.dataset.splits.items())


def _columns(data: ReportData) -> Markup | None:
    statistics = data.dataset.train.statistics
    rows = []
    for column in [column for column in data.dataset.schema if column.name in statistics][:MAX_COLUMNS]:
        values = statistics[column.name]
        moments = [number(value) for value in (values.mean, values.std, values.minimum, values.maximum)]
        rows.append([column.name, column.help, *moments])
    head = ["column", "meaning", "mean", "deviation", "minimum", "maximum"]
    return markdown_table(head, rows) if rows else None


def _drift(evaluation: Evaluation) -> Markup:
    rows = [
        [
            drift.column,
            f"{drift.psi:.3f}",
            drift.level,
            f"{drift.test} {number(drift.statistic)}",
            f"{drift.p:.3g}",
        ]
        for drift in evaluation.drift[:MAX_COLUMNS]
    ]
    return markdown_table(["column", "stability index", "", "test", "p"], rows)


def _parameters(data: ReportData) -> list[tuple[str, str]]:
    """Return the run parameters and the training notes, with their values as JSON."""
    notes = {f"{name} (training)": value for name, value in data.notes.items()}
    values = {**data.evaluation.parameters, **notes}
    return [(name, json.dumps(value, ensure_ascii=False)) for name, value in values.items() if value != ""]


def _example(example: GoldenRequest) -> Markup:
    """Return request and response as lines of a JSON code block."""
    lines = (_shorten(json.dumps(value, ensure_ascii=False)) for value in (example.request, example.response))
    return Markup("\n".join(lines))


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_EXAMPLE_LENGTH else f"{text[:MAX_EXAMPLE_LENGTH]} …"
