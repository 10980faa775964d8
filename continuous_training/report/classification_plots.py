"""The confusion matrix of a classification, and the accuracy of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from continuous_training.artifacts.measurements import SliceMetric
from continuous_training.report.class_codes import class_pairs
from continuous_training.report.formatting import short
from continuous_training.report.metric_plots import HALF_WIDTH
from continuous_training.report.report_data import ReportData
from continuous_training.report.svg import (
    CHALLENGER,
    INK,
    LARGE,
    add_axes,
    inline_svg,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CLASSES = 20
OTHER_CLASSES = "others"


def confusion_plot(data: ReportData) -> Markup:
    """Draw the confusion matrix, with a colour for correct predictions and one for errors."""
    actual, predicted = data.predictions.actual, data.predictions.challenger
    classes, counts, errors = confusion_counts(actual, predicted)
    size, labels = len(classes), [short(name, 11) for name in classes]
    label_width = 6.4 * max(map(len, labels))
    left, vertical = 34 + label_width, label_width > 24 and size > 4
    cell = min(34.0, (HALF_WIDTH - 8 - left) / size)
    figure = new_figure(HALF_WIDTH, cell * size + 58 + (label_width if vertical else 8))
    axes = add_axes(figure, left, 22, cell * size, cell * size)
    rates = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.pcolormesh(_cell_colours(rates), edgecolors="white", linewidth=1.5)
    _write_counts(axes, counts, rates, 10.5 if cell > 24 else 7.5)
    axes.set_yticks(np.arange(size) + 0.5, labels)
    axes.set_xticks(np.arange(size) + 0.5, labels, rotation=90 if vertical else 0)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    axes.set(xlabel="predicted", ylabel="actual")
    summary = f"{errors} of {len(actual)} rows wrong; {_frequent_errors(classes, counts)}"
    return inline_svg(figure, "confusion", f"Confusion matrix: {summary}")


def _write_counts(axes: Axes, counts: np.ndarray, rates: np.ndarray, size: float) -> None:
    """Write the counts into their cells, the errors in bold. Empty cells have no text."""
    for row, column in np.argwhere(counts).tolist():
        correct = row == column
        colour = "white" if correct and rates[row, column] > 0.5 else INK
        axes.text(
            column + 0.5, row + 0.5, str(counts[row, column]), ha="center", va="center_baseline",
            color=colour, fontsize=size, fontweight="normal" if correct else "bold",
        )  # fmt: skip


def confusion_counts(actual: np.ndarray, predicted: np.ndarray) -> tuple[list[str], np.ndarray, int]:
    """Return the classes, and the number of rows by actual (row) and predicted (column) class: int [k, k].

    Also return the number of errors. The classes are in the order of `class_pairs`. With more than
    `MAX_CLASSES` classes, the least frequent ones are combined.
    """
    names, rows, columns, numbers = class_pairs(actual, predicted)
    errors, size = int(numbers[rows != columns].sum()), len(names)
    if size > MAX_CLASSES:
        frequencies = np.bincount(rows, numbers, size) + np.bincount(columns, numbers, size)
        # Among classes of one frequency, the first in alphabetical order are shown.
        order = sorted(range(size), key=lambda code: (-frequencies[code], names[code]))
        common = sorted(order[: MAX_CLASSES - 1])
        names, new_codes = [*(names[code] for code in common), OTHER_CLASSES], np.full(size, len(common))
        new_codes[common] = np.arange(len(common))
        rows, columns, size = new_codes[rows], new_codes[columns], len(names)
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (rows, columns), numbers)
    return names, counts, errors


def class_slices(data: ReportData) -> dict[str, SliceMetric]:
    """Return the accuracy on the rows of each class, in the form of slices."""
    predictions = data.predictions
    rows, correct = _class_rows(predictions.actual, predictions.challenger)
    champion_correct: dict[str, int] = {}
    if predictions.champion is not None:
        champion_correct = _class_rows(predictions.actual, predictions.champion)[1]
    return {
        name: SliceMetric(
            rows=count,
            value=correct[name] / count,
            champion=champion_correct[name] / count if champion_correct else None,
        )
        for name, count in rows.items()
        if count
    }


def _class_rows(actual: np.ndarray, predicted: np.ndarray) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of rows of each actual class, and of those that are predicted correctly."""
    names, rows, columns, numbers = class_pairs(actual, predicted)
    totals = np.zeros((2, len(names)), dtype=np.int64)
    np.add.at(totals[0], rows, numbers)
    np.add.at(totals[1], rows, np.where(rows == columns, numbers, 0))
    total, correct = (dict(zip(names, counts.tolist(), strict=True)) for counts in totals)
    return total, correct


def _cell_colours(rates: np.ndarray) -> np.ndarray:
    """Return colours from white to blue on the diagonal and to vermilion elsewhere: float [k, k, 3]."""
    from matplotlib.colors import to_rgb  # Only the commands that draw pay for this import.

    correct = np.eye(len(rates), dtype=bool)[..., None]
    full = np.where(correct, to_rgb(CHALLENGER), to_rgb(LARGE))
    # A steeper scale makes error rates of a few percent visible.
    strength = np.where(correct, rates[..., None], np.minimum(rates[..., None] * 4, 0.8) ** 0.7)
    empty = np.array(to_rgb("#f4f6f8"))
    return np.where(rates[..., None] > 0, 1 - strength * (1 - full), empty)


def _frequent_errors(classes: list[str], counts: np.ndarray) -> str:
    errors = counts - np.diag(np.diag(counts))
    worst = [divmod(int(cell), len(classes)) for cell in np.argsort(-errors, axis=None, kind="stable")[:3]]
    texts = (
        f"{short(classes[row])} predicted as {short(classes[column])} {errors[row, column]} times"
        for row, column in worst
        if errors[row, column]
    )
    return ", ".join(texts) or "no errors"
