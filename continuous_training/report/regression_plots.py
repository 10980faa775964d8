"""Figures of a regression: the fit over its one feature, and what it leaves unexplained."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from continuous_training.report.formatting import number, short
from continuous_training.report.plots import WIDE
from continuous_training.report.report_data import Facts
from continuous_training.report.svg import CHALLENGER, CHAMPION, GRID, INK, MUTED, canvas, inline, place

MOST_POINTS = 250
"""Of each of the three scatters; more say no more, and each point is an element in the page."""


def fit(facts: Facts) -> str:
    """Draw the target over the model's one feature, with the model's line; empty without such a feature."""
    if facts.feature is None:
        return ""
    name, values = facts.feature
    x, actual, predicted = _finite(values, facts.actual, facts.predicted)
    if len(x) < 2:
        return ""
    order = np.argsort(x, kind="stable")
    every = -(-len(x) // MOST_POINTS)
    figure = canvas(WIDE, 344)
    axes = place(figure, 62, 14, WIDE - 90, 276)
    axes.plot(x[::every], actual[::every], "o", color=INK, alpha=0.55, ms=5, mew=0, label="holdout")
    axes.plot(x[order], predicted[order], color=CHALLENGER, lw=3, label="challenger")
    theirs = _line_of_champion(facts, values)
    if theirs is not None:
        axes.plot(*theirs, color=CHAMPION, lw=1.6, ls=(0, (4, 3)), label="champion")
    axes.legend(loc="upper left")
    axes.grid(color=GRID)
    axes.set(xlabel=short(name), ylabel=short(facts.target or "target"))
    ends = f"{number(float(predicted[order[0]]))} to {number(float(predicted[order[-1]]))}"
    span = f"{number(float(x.min()))} to {number(float(x.max()))}"
    told = f"Predicted {short(facts.target)} over {short(name)}: from {ends}, for {short(name)} from {span}"
    return inline(figure, "fit", told)


def residuals(facts: Facts) -> str:
    """Draw the residuals over the predictions, and against those of a normal distribution."""
    actual, predicted = _finite(facts.actual, facts.predicted)
    if len(actual) < 3:
        return ""
    left = actual - predicted
    spread = float(left.std())
    every = -(-len(left) // MOST_POINTS)
    figure = canvas(WIDE, 306)
    axes = place(figure, 62, 28, 306, 226)
    axes.axhline(0, color=MUTED, lw=1)
    axes.plot(predicted[::every], left[::every], "o", color=CHALLENGER, alpha=0.55, ms=5, mew=0)
    at, middles = _running(predicted, left)
    axes.plot(at, middles, color=INK, lw=1.6)
    axes.grid(color=GRID)
    axes.set(xlabel="predicted", ylabel="actual minus predicted", title="Residuals over predicted")
    axes = place(figure, 444, 28, 300, 226)
    shares = (np.arange(1, len(left) + 1) - 0.5) / len(left)
    normal = np.array([NormalDist().inv_cdf(share) for share in shares[::every].tolist()])
    ordered = np.sort(left)[::every]
    mean = float(left.mean())
    axes.plot(normal, mean + spread * normal, color=MUTED, lw=1)
    axes.plot(normal, ordered, "o", color=CHALLENGER, alpha=0.55, ms=5, mew=0)
    axes.grid(color=GRID)
    axes.set(xlabel="of a normal distribution", ylabel="residuals", title="Quantiles")
    told = f"Residuals of {len(left)} rows: mean {number(mean)}, standard deviation {number(spread)}"
    return inline(figure, "residuals", told)


def _running(x: np.ndarray, y: np.ndarray, parts: int = 8) -> tuple[list[float], list[float]]:
    """Return the means of x and y in equal parts of the rows, ordered by x."""
    order = np.argsort(x, kind="stable")
    chunks = [part for part in np.array_split(order, min(parts, max(len(x) // 5, 1))) if len(part)]
    return [float(x[part].mean()) for part in chunks], [float(y[part].mean()) for part in chunks]


def _line_of_champion(facts: Facts, values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the champion's line where it looks at the same feature alone; else None.

    It does where it answers the same to the same value; rows with a value of their own cannot tell.
    """
    if facts.champion_predicted is None:
        return None
    x, theirs = _finite(values, facts.champion_predicted)
    order = np.lexsort((theirs, x))
    x, theirs = x[order], theirs[order]
    repeated = np.diff(x) == 0
    if not repeated.any() or (np.abs(np.diff(theirs)[repeated]) > 1e-9 * np.abs(theirs).max()).any():
        return None
    return x, theirs


def _finite(*columns: np.ndarray) -> list[np.ndarray]:
    """Return the columns as float64 without the rows where one of them is no number."""
    found = [np.asarray(column, np.float64).ravel() for column in columns]
    good = np.logical_and.reduce([np.isfinite(column) for column in found])
    return [column[good] for column in found]
