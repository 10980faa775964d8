"""The measurements of an evaluation: metrics with intervals, slices, costs, test results, drift.

`continuous_training.evaluation` computes them, and `evaluation.json` stores them. A number that is not finite
is stored as null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from continuous_training.core.json_object import JsonObject

METRIC_CONFIDENCE = 0.95
"""The confidence of the interval of a metric. That of an improvement is set in the promotion rule."""


def interval_label(confidence: float = METRIC_CONFIDENCE) -> str:
    """Return the label of an interval with its confidence: "95 % interval"."""
    return f"{100 * confidence:g} % interval"


@dataclass(frozen=True)
class Interval:
    """A value and the ends of its confidence interval; NaN for a number that could not be computed."""

    value: float
    low: float
    high: float

    @property
    def finite(self) -> bool:
        """Whether value and ends are all finite numbers."""
        return all(map(math.isfinite, (self.value, self.low, self.high)))

    @classmethod
    def from_json(cls, document: JsonObject) -> Interval:
        """Read the three numbers; null is NaN."""
        return cls(document.number("value"), document.number("low"), document.number("high"))


@dataclass(frozen=True)
class SliceMetric:
    """The primary metric on one group of holdout rows.

    `value` is the challenger's, with the ends `low` and `high` of its interval; `champion` is the champion's
    value, or None without a champion.
    """

    rows: int
    value: float
    champion: float | None = None
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def from_json(cls, document: JsonObject) -> SliceMetric:
        """Read a slice. Older files have no interval."""
        return cls(
            rows=document.integer("rows"),
            value=document.number("value"),
            champion=document.optional_number("champion"),
            low=document.number("low"),
            high=document.number("high"),
        )


@dataclass(frozen=True)
class ServingCost:
    """Latency of a one-row request in milliseconds (None if not measured), and model size in megabytes."""

    latency_ms: float | None
    size_mb: float

    @classmethod
    def from_json(cls, document: JsonObject) -> ServingCost:
        """Read the two numbers."""
        return cls(document.optional_number("latency_ms"), document.number("size_mb"))


@dataclass(frozen=True)
class PairedTest:
    """Name and p-value of a statistical test."""

    name: str
    p: float

    @classmethod
    def from_json(cls, document: JsonObject) -> PairedTest:
        """Read name and p-value."""
        return cls(document.text("name"), document.number("p"))


@dataclass(frozen=True)
class ColumnDrift:
    """How far the values of one column have moved since the champion's training rows.

    `psi` is the population stability index, and `chance` the index to be expected of two samples of these
    sizes from the same population. `test` is "KS" for ordered values and "χ²" for categories, with its
    `statistic` and p-value `p`. The means are None for columns without a mean. `level` is stable, moderate or
    large.
    """

    column: str
    psi: float
    chance: float
    test: str
    statistic: float
    p: float
    level: str
    old_mean: float | None = None
    new_mean: float | None = None

    @classmethod
    def from_json(cls, document: JsonObject) -> ColumnDrift:
        """Read the drift of a column; the level is stored as `word`."""
        return cls(
            column=document.text("column"),
            psi=document.number("psi"),
            chance=document.number("chance"),
            test=document.text("test"),
            statistic=document.number("statistic"),
            p=document.number("p"),
            level=document.text("word"),
            old_mean=document.optional_number("old_mean"),
            new_mean=document.optional_number("new_mean"),
        )
