"""How far a column's values have moved between two data sets, from their statistics alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from continuous_training.evaluation.two_sample_tests import chi_square, kolmogorov_smirnov

MODERATE, LARGE = 0.1, 0.25
"""Where the words change; the customary limits, in Siddiqi, "Credit Risk Scorecards" (2006)."""

ALPHA = 0.05
"""A change that chance makes more often than this is none."""

GROUPS = 10
"""Bins of the index: tenths of the old rows, as is the custom."""


@dataclass(frozen=True)
class Drift:
    """How far one column has moved.

    `psi` is the population stability index, and `chance` the index to be expected of two samples of these
    sizes from one and the same population. `test` is "KS" for what has an order and "χ²" for what has none,
    with its `statistic` and its `p`. `old_mean` and `new_mean` are None for columns without a mean.
    """

    column: str
    psi: float
    chance: float
    test: str
    statistic: float
    p: float
    old_mean: float | None = None
    new_mean: float | None = None

    @property
    def word(self) -> str:
        """The index in a word: stable, moderate or large; stable too where chance explains it."""
        if self.psi < MODERATE or self.p >= ALPHA:
            return "stable"
        return "moderate" if self.psi < LARGE else "large"


def drift(new: dict[str, Any], old: dict[str, Any]) -> list[Drift]:
    """Return the drift of every column that both sides counted alike, the farthest moved first.

    `new` and `old` are statistics per column: counts per value, or a histogram with its edges. A column
    that one side lacks, or counted in other bins, is left out.
    """
    found = []
    for name in new.keys() & old.keys():
        counts = _counts(new[name], old[name])
        if counts is None:
            continue
        sides = zip((new[name], old[name]), counts, strict=True)
        # A vector's numbers are many in a row and alike: rows are what is independent.
        rows = [float(side.get("rows") or taken.sum()) for side, taken in sides]
        ordered = "counts" not in new[name]
        tested = kolmogorov_smirnov(*counts, (rows[0], rows[1])) if ordered else chi_square(*counts)
        grouped = _grouped(*counts) if ordered else counts
        used = int(((grouped[0] > 0) | (grouped[1] > 0)).sum())
        # Siddiqi's limits ignore sample size; Yurdakul, "Statistical Properties of Population Stability
        # Index" (2018): without drift it is (1/n + 1/m) times chi-squared with (bins - 1) degrees.
        chance = (used - 1) * (1 / rows[0] + 1 / rows[1])
        means = old[name].get("mean"), new[name].get("mean")
        found.append(Drift(name, psi(*grouped), chance, "KS" if ordered else "χ²", *tested, *means))
    return sorted(found, key=lambda one: (-one.psi, one.column))


def _grouped(new: np.ndarray, old: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides in tenths of the old one, as near as the bins allow."""
    middle = (np.cumsum(old) - old / 2) / old.sum()
    groups = np.minimum((middle * GROUPS).astype(int), GROUPS - 1)
    one, other = (np.bincount(groups, side, GROUPS) for side in (new, old))
    return one, other


def psi(new: np.ndarray, old: np.ndarray) -> float:
    """Return the population stability index of two rows of counts over the same bins; never negative.

    The sum over the bins of (p - q) * ln(p / q), with p and q the shares of the new and the old rows in the
    bin: Kullback and Leibler's symmetric divergence J (1951, "On Information and Sufficiency"), known by
    this name from Lewis, "An Introduction to Credit Scoring" (1994). A bin that is empty on one side only is
    taken to hold half a row there, since the logarithm has no value at 0; one empty on both sides adds
    nothing.
    """
    used = (new > 0) | (old > 0)
    sides = [np.where(side[used] > 0, side[used], 0.5) for side in (new, old)]
    p, q = (side / side.sum() for side in sides)
    return float(((p - q) * np.log(p / q)).sum())


def _counts(new: dict[str, Any], old: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return both sides' counts over the same bins, or None where there are no such."""
    if "counts" in new and "counts" in old:
        values = sorted(new["counts"].keys() | old["counts"].keys())
        pair = [[side["counts"].get(value, 0) for value in values] for side in (new, old)]
    elif "histogram" not in new or "histogram" not in old or new.get("grid") != old.get("grid"):
        return None
    elif new.get("grid"):
        # Each side has written the bins of the grid that it uses.
        bins = [dict(zip(side["edges"], side["histogram"], strict=False)) for side in (new, old)]
        starts = sorted(bins[0].keys() | bins[1].keys())
        pair = [[side.get(start, 0) for start in starts] for side in bins]
    elif _same_edges(new, old):
        pair = [new["histogram"], old["histogram"]]
    else:
        return None
    one, other = (np.asarray(side, dtype=np.float64) for side in pair)
    return (one, other) if one.sum() > 0 and other.sum() > 0 else None


def _same_edges(new: dict[str, Any], old: dict[str, Any]) -> bool:
    left, right = new.get("edges") or [], old.get("edges") or []
    same_bins = len(left) == len(right) and len(new["histogram"]) == len(old["histogram"])
    return same_bins and all(math.isclose(a, b, abs_tol=1e-12) for a, b in zip(left, right, strict=True))
