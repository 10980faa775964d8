"""The data of the report's sections on the dataset: splits, columns and drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from continuous_training.artifacts.dataset_manifest import ColumnDescription
from continuous_training.report import evaluation_plots
from continuous_training.report.formatting import NOTHING, clean, finite, parameter_text, real
from continuous_training.report.report_data import ReportData
from continuous_training.report.svg import CHALLENGER

MAX_COLUMNS = 60
"""Rows of a table. A longer table is of no use to a reader."""
MAX_BARS = 24
"""Bars of a small histogram in a table cell."""
_SPARKLINE_WIDTH = 110
_MEANINGS = {
    "text": "length in characters",
    "bytes": "length in bytes",
    "characters": "kinds of characters, where each text has the same weight: ",
}


def context(data: ReportData) -> dict[str, Any]:
    """Return the template variables of these sections."""
    return {
        "total_rows": data.dataset.train.rows + data.dataset.holdout.rows,
        **_columns(data),
        **_drift(data),
    }


def _columns(data: ReportData) -> dict[str, Any]:
    train, holdout = data.dataset.train.statistics, data.dataset.holdout.statistics
    schema = {column.name: column for column in data.dataset.schema}
    others = (name for name in train if name not in schema and train[name].get("kind") != "words")
    names = [name for name in schema if name in train] + sorted(others)
    return {
        "columns": [
            _column_row(schema.get(name, ColumnDescription(name, "")), train[name], holdout.get(name) or {})
            for name in names[:MAX_COLUMNS]
        ],
        "omitted_columns": max(len(names) - MAX_COLUMNS, 0),
    }


def _column_row(column: ColumnDescription, train: Mapping[str, Any], holdout: Mapping[str, Any]) -> list[str]:
    kind = str(train.get("kind") or column.kind)
    kind_text = _MEANINGS.get(kind, "")
    if kind == "characters":
        kind_text += _largest_shares(train.get("counts") or {})
    meaning = "; ".join(filter(None, [column.help, kind_text]))
    moments = [real(train.get(key)) for key in ("mean", "std", "minimum", "maximum")]
    return [column.name, meaning, sparkline(train), *moments, real(holdout.get("mean"))]


def sparkline(statistics: Mapping[str, Any]) -> Markup:
    """Draw the counts of a column as small bars, one per used bin; a dash without counts."""
    all_counts = statistics.get("histogram") or list((statistics.get("counts") or {}).values())
    used = [index for index, count in enumerate(all_counts) if finite(count) and count > 0]
    if not used:
        return Markup(NOTHING)
    if "histogram" in statistics:
        counts = _merge_bins(all_counts[used[0] : used[-1] + 1])
    else:
        counts = all_counts[:MAX_COLUMNS]
    width, largest = min(_SPARKLINE_WIDTH / len(counts), 25), max(*counts, 1)
    bars = "".join(
        f'<rect x="{index * width:.1f}" y="{25 - 24 * count / largest:.1f}" '
        f'width="{max(width - 1, 0.8):.1f}" height="{24 * count / largest + 1:.1f}"/>'
        for index, count in enumerate(counts)
    )
    alternative = f"counts from left to right: {parameter_text(counts)}"
    attributes = f'viewBox="0 0 {_SPARKLINE_WIDTH} 26" role="img" fill="{CHALLENGER}"'
    return Markup('<svg class="spark" {} aria-label="{}">{}</svg>').format(
        Markup(attributes), alternative, Markup(bars)
    )


def _merge_bins(counts: list[int]) -> list[int]:
    """Merge neighbouring bins, so that at most `MAX_BARS` remain."""
    size = -(-len(counts) // MAX_BARS)
    return [sum(counts[start : start + size]) for start in range(0, len(counts), size)]


def _largest_shares(counts: Mapping[str, float]) -> str:
    """Return the largest shares as text: "hangul 71.0 %, spaces 17.0 %"."""
    total = sum(counts.values()) or 1.0
    largest = sorted(counts.items(), key=lambda item: -item[1])[:5]
    return ", ".join(f"{name} {100 * count / total:.1f} %" for name, count in largest)


def _drift(data: ReportData) -> dict[str, Any]:
    drifts = data.evaluation.drift
    levels = Counter(drift.level for drift in drifts)
    uncompared = sorted(data.dataset.train.statistics.keys() - {drift.column for drift in drifts})
    return {
        "drifts": drifts[:MAX_COLUMNS],
        "drift_plot": evaluation_plots.drift_plot(drifts) if drifts else None,
        "drift_count": len(drifts),
        "drift_large": levels["large"],
        "drift_moderate": levels["moderate"],
        "uncompared_columns": [clean(name) for name in uncompared],
    }
