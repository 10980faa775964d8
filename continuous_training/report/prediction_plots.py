"""Figures of the predictions themselves: which classes are taken for which, and how far numbers are off."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from continuous_training.report.formatting import clean, number, short
from continuous_training.report.plots import HALF, WIDE
from continuous_training.report.report_data import Facts
from continuous_training.report.svg import CHALLENGER, GRID, INK, LARGE, MUTED, canvas, inline, place

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 20
MOST_POINTS = 800
"""A scatter of more says no more, and each point is an element in the page."""
OTHER = "others"


def confusion(facts: Facts) -> str:
    """Draw how often each class was taken for each other one; mistakes stand out from what is right."""
    names, counts = count(facts.actual, facts.predicted)
    size, shown = len(names), [short(name, 11) for name in names]
    longest = 6.4 * max(len(name) for name in shown)
    left, upright = 34 + longest, longest > 24 and size > 4
    cell = min(34.0, (HALF - 8 - left) / size)
    figure = canvas(HALF, cell * size + 58 + (longest if upright else 8))
    axes = place(figure, left, 22, cell * size, cell * size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.pcolormesh(_colours(shares), edgecolors="white", linewidth=1.5)
    _fill(axes, counts, shares, 10.5 if cell > 24 else 7.5)
    axes.set_yticks(np.arange(size) + 0.5, shown)
    axes.set_xticks(np.arange(size) + 0.5, shown, rotation=90 if upright else 0)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    axes.set(xlabel="predicted", ylabel="actual")
    wrong = int((_names(facts.actual) != _names(facts.predicted)).sum())
    told = f"{wrong} of {len(facts.actual)} rows wrong; {_mistakes(names, counts)}"
    return inline(figure, "confusion", f"Confusion matrix: {told}")


def _fill(axes: Axes, counts: np.ndarray, shares: np.ndarray, size: float) -> None:
    """Write the counts into their cells, the mistakes in bold; nothing for none."""
    for row, column in zip(*(places.tolist() for places in np.nonzero(counts)), strict=True):
        right = row == column
        colour = "white" if right and shares[row, column] > 0.5 else INK
        axes.text(
            column + 0.5, row + 0.5, str(counts[row, column]), ha="center", va="center_baseline",
            color=colour, fontsize=size, fontweight="normal" if right else "bold",
        )  # fmt: skip


def count(actual: np.ndarray, predicted: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the classes and how many rows of each (down) were predicted as each (across): int [k, k].

    Numbers are in their order, texts in the alphabet's; beyond the commonest classes the rest are one.
    """
    pairs = [_names(side) for side in (actual, predicted)]
    found, times = np.unique(np.concatenate(pairs), return_counts=True)
    names = sorted(found.tolist(), key=_natural)
    if len(names) > MOST_CLASSES:
        common = set(found[np.argsort(-times, kind="stable")][: MOST_CLASSES - 1].tolist())
        names = [*(name for name in names if name in common), OTHER]
    places = {name: place for place, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    rows, columns = ([places.get(value, len(names) - 1) for value in side.tolist()] for side in pairs)
    np.add.at(counts, (rows, columns), 1)
    return names, counts


def classes(facts: Facts) -> dict[str, dict[str, Any]]:
    """Return each class's accuracy in the form of slices: its rows that were predicted right."""
    actual = _names(facts.actual)
    sides = {"value": facts.predicted, "champion": facts.champion_predicted}
    texts = {side: None if given is None else _names(given) for side, given in sides.items()}
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(set(actual.tolist()), key=_natural):
        own = actual == name
        right = {k: None if v is None else float((v[own] == name).mean()) for k, v in texts.items()}
        found[name] = {"rows": int(own.sum()), **right}
    return found


def errors(facts: Facts) -> str:
    """Draw predicted over actual values, and how the errors are spread, the champion's as an outline."""
    actual, predicted = _numbers(facts.actual, facts.predicted)
    sides = [predicted - actual]
    if facts.champion_predicted is not None:
        old = _numbers(facts.actual, facts.champion_predicted)
        sides.append(old[1] - old[0])
    figure = canvas(WIDE, 324)
    _scatter(place(figure, 62, 28, 306, 250), actual, predicted, short(facts.target))
    axes = place(figure, 444, 28, 300, 250)
    bins = min(30, max(8, 2 * math.isqrt(len(actual))))
    edges = np.histogram_bin_edges(np.concatenate(sides), bins).tolist()
    axes.hist(
        sides[0], edges, color=CHALLENGER, alpha=0.8, label="challenger", edgecolor="white", linewidth=0.6
    )
    if len(sides) > 1:
        axes.hist(sides[1], edges, histtype="step", color=INK, linewidth=1.4, label="champion")
        axes.legend(loc="upper right", borderaxespad=0)
    axes.axvline(0, color=MUTED, lw=1)
    axes.margins(y=0.2)
    axes.grid(axis="y")
    axes.set(xlabel="predicted minus actual", ylabel="rows of the holdout", title="Errors")
    middle, half = (number(float(np.median(side))) for side in (sides[0], abs(sides[0])))
    told = f"the errors' median is {middle}, and half of them are within {half} of zero"
    return inline(figure, "errors", f"Predicted over actual for {len(actual)} rows; {told}")


def drawable(facts: Facts) -> bool:
    """Tell whether there is anything to draw: rows, and for a regression two that are numbers."""
    if facts.task == "regression":
        return len(_numbers(facts.actual, facts.predicted)[0]) > 1
    return len(facts.actual) > 0


def _scatter(axes: Axes, actual: np.ndarray, predicted: np.ndarray, unit: str) -> None:
    every = -(-len(actual) // MOST_POINTS)
    low, high = float(min(actual.min(), predicted.min())), float(max(actual.max(), predicted.max()))
    pad = 0.05 * (high - low or 1.0)
    axes.plot([low, high], [low, high], color=MUTED, lw=1)
    axes.text(high, high, "exact ", color=MUTED, fontsize=10, ha="right", va="bottom")
    axes.plot(actual[::every], predicted[::every], "o", color=CHALLENGER, alpha=0.55, ms=5, mew=0)
    axes.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad))
    axes.set(xlabel=f"actual {unit}".strip(), ylabel=f"predicted {unit}".strip())
    axes.set_title("Predicted over actual" + (f" · one row in {every}" if every > 1 else ""))
    axes.grid(color=GRID)


def _colours(shares: np.ndarray) -> np.ndarray:
    """Blend white with blue on the diagonal and with vermilion off it: float [k, k, 3]."""
    from matplotlib.colors import to_rgb

    right = np.eye(len(shares), dtype=bool)[..., None]
    full = np.where(right, to_rgb(CHALLENGER), to_rgb(LARGE))
    # A few mistakes in a hundred must be seen, so theirs is the steeper scale.
    strength = np.where(right, shares[..., None], np.minimum(shares[..., None] * 4, 0.8) ** 0.7)
    empty = np.array(to_rgb("#f4f6f8"))
    return np.where(shares[..., None] > 0, 1 - strength * (1 - full), empty)


def _mistakes(names: list[str], counts: np.ndarray) -> str:
    off = counts - np.diag(np.diag(counts))
    worst = [divmod(int(place), len(names)) for place in np.argsort(-off, axis=None, kind="stable")[:3]]
    told = (f"{short(names[a])} taken for {short(names[b])} {off[a, b]} times" for a, b in worst if off[a, b])
    return ", ".join(told) or "no mistakes"


def _numbers(actual: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of which both values are numbers, as float64."""
    left, right = np.asarray(actual, np.float64).ravel(), np.asarray(predicted, np.float64).ravel()
    both = np.isfinite(left) & np.isfinite(right)
    return left[both], right[both]


def _names(labels: np.ndarray) -> np.ndarray:
    """Return the labels as texts; 3 and 3.0 are one class."""
    whole = (
        int(x) if isinstance(x, float) and x.is_integer() else x for x in np.asarray(labels).ravel().tolist()
    )
    return np.array([clean(value) for value in whole], dtype=np.str_)


def _natural(name: str) -> tuple[bool, float, str]:
    try:
        value = float(name)
    except ValueError:
        value = math.nan
    return (False, value, name) if math.isfinite(value) else (True, 0.0, name)
