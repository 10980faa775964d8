"""The data of the report's sections on the dataset: splits, columns and drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from markupsafe import Markup

from continuous_training.artifacts.column_statistics import ColumnStatistics
from continuous_training.artifacts.data_checks import DataChecks
from continuous_training.artifacts.dataset_manifest import ColumnDescription
from continuous_training.evaluation.column_histogram import column_histogram
from continuous_training.report import metric_plots
from continuous_training.report.data_check_text import check_lines, population_lines
from continuous_training.report.formatting import clean, number, real, share
from continuous_training.report.report_data import ReportData
from continuous_training.report.sparkline import sparkline
from continuous_training.report.svg import CHAMPION
from continuous_training.report.templating import Variables

MAX_COLUMNS = 60
"""Rows of a table. A longer table is of no use to a reader."""
_MEANINGS = {
    "text": "length in characters",
    "bytes": "length in bytes",
    "characters": "kinds of characters, where each text has the same weight: ",
}


def context(data: ReportData) -> Variables:
    """Return the template variables of these sections."""
    return {
        **_checks(data),
        "total_rows": data.dataset.train.rows + data.dataset.holdout.rows,
        **_columns(data),
        **_drift(data),
    }


def _checks(data: ReportData) -> Variables:
    population = data.evaluation.population
    checks = DataChecks.of(data.dataset, data.label_column)
    return {
        "check_lines": [*check_lines(checks), *(population_lines(population) if population else ())],
        "classes": [_class_row(*item, checks.rows) for item in list(checks.classes.items())[:MAX_COLUMNS]],
        "bad_rows": [
            [clean(value) for value in (row.file, row.row, row.column, row.type, row.message)]
            for row in data.bad_rows
        ],
        "omitted_classes": max(len(checks.classes) - MAX_COLUMNS, 0),
    }


def _class_row(value: str, counts: Mapping[str, int], rows: Mapping[str, int]) -> list[str]:
    cells = ((number(count), share(count, rows[split])) for split, count in counts.items())
    return [clean(value), *(text for pair in cells for text in pair)]


def _columns(data: ReportData) -> Variables:
    train, holdout = data.dataset.train.statistics, data.dataset.holdout.statistics
    schema = {column.name: column for column in data.dataset.schema}
    others = (name for name in train if name not in schema and train[name].kind != "words")
    names = [name for name in schema if name in train] + sorted(others)
    return {
        "columns": [
            _column_row(schema.get(name, ColumnDescription(name, "")), train[name], holdout.get(name))
            for name in names[:MAX_COLUMNS]
        ],
        "omitted_columns": max(len(names) - MAX_COLUMNS, 0),
    }


def _column_row(
    column: ColumnDescription, train: ColumnStatistics, holdout: ColumnStatistics | None
) -> list[str]:
    kind = train.kind or column.kind
    kind_text = _MEANINGS.get(kind, "")
    if kind == "characters":
        kind_text += _largest_shares(train.counts or {})
    meaning = "; ".join(filter(None, [column.help, kind_text]))
    histogram = column_histogram(train)
    moments = [real(value) for value in (train.mean, train.std, train.minimum, train.maximum)]
    return [
        column.name,
        meaning,
        sparkline(histogram.new if histogram else None),
        *moments,
        real(holdout.mean if holdout else None),
    ]


def _largest_shares(counts: Mapping[str, float]) -> str:
    """Return the largest shares as text: "hangul 71.0 %, spaces 17.0 %"."""
    total = sum(counts.values()) or 1.0
    largest = sorted(counts.items(), key=lambda item: -item[1])[:5]
    return ", ".join(f"{name} {100 * count / total:.1f} %" for name, count in largest)


def _drift(data: ReportData) -> Variables:
    drifts = data.evaluation.drift
    levels = Counter(drift.level for drift in drifts)
    uncompared = sorted(data.dataset.train.statistics.keys() - {drift.column for drift in drifts})
    return {
        "drifts": [(drift, *_histograms(data, drift.column)) for drift in drifts[:MAX_COLUMNS]],
        "drift_plot": metric_plots.drift_plot(drifts) if drifts else None,
        "drift_count": len(drifts),
        "drift_large": levels["large"],
        "drift_moderate": levels["moderate"],
        "uncompared_columns": [clean(name) for name in uncompared],
    }


def _histograms(data: ReportData, column: str) -> tuple[Markup, Markup]:
    """Return the histograms of the champion's training rows and of this run's, in the same scale."""
    new, old = data.dataset.train.statistics[column], (data.champion_statistics or {}).get(column)
    histogram = column_histogram(new, old) if old else None
    if histogram is None or histogram.old is None:
        return sparkline(None), sparkline(None)
    largest = max(*histogram.new, *histogram.old)
    return (
        sparkline(histogram.old, largest, CHAMPION, "champion:"),
        sparkline(histogram.new, largest, name="now:"),
    )
