"""Counts and histograms of one event loop, for Prometheus to read.

The client library's own take a lock and walk their buckets at each observation, since any thread may make
one; that is a good part of what answering a small request costs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

Labels = tuple[str, ...]


class Counts:
    """A counter with labels."""

    def __init__(self, name: str, help_: str, labels: Labels) -> None:
        self._about = (name, help_, labels)
        self._counts: dict[Labels, int] = {}

    def add(self, labels: Labels) -> None:
        """Count one more."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def collect(self) -> Iterator[Any]:
        """Yield the counts as they are."""
        name, help_, labels = self._about
        family = CounterMetricFamily(name, help_, labels=labels)
        for key, count in self._counts.items():
            family.add_metric(key, count)
        yield family


class Histograms:
    """A histogram with labels; `bounds` are the upper ends of its buckets, themselves included."""

    def __init__(self, name: str, help_: str, labels: Labels, bounds: Sequence[float]) -> None:
        self._about = (name, help_, labels)
        self._bounds = bounds
        self._cells: dict[Labels, list[float]] = {}
        """For each label: the sum, and then the number in each bucket and above the last."""

    def add(self, labels: Labels, value: float) -> None:
        """Count one observation."""
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = [0.0] * (len(self._bounds) + 2)
        cell[0] += value
        cell[bisect_left(self._bounds, value) + 1] += 1

    def collect(self) -> Iterator[Any]:
        """Yield the buckets as they are, each with all that is in those before it."""
        name, help_, labels = self._about
        family = HistogramMetricFamily(name, help_, labels=labels)
        ends = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for key, (total, *counts) in self._cells.items():
            sums = [sum(counts[: end + 1]) for end in range(len(counts))]
            family.add_metric(key, buckets=list(zip(ends, sums, strict=True)), sum_value=total)
        yield family
