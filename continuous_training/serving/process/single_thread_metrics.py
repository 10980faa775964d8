"""Counters and histograms for a single thread, collected by prometheus_client.

The classes of prometheus_client take a lock and go through all buckets for each observation, because any
thread may make one. For a small request that is a considerable part of the response time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

LabelValues = tuple[str, ...]


class Counter:
    """A counter with labels."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...]) -> None:
        self._description = (name, help_text, labels)
        self._counts: dict[LabelValues, int] = {}

    def inc(self, labels: LabelValues) -> None:
        """Add 1."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the current counts."""
        name, help_text, labels = self._description
        family = CounterMetricFamily(name, help_text, labels=labels)
        for values, count in self._counts.items():
            family.add_metric(values, count)
        yield family


class Histogram:
    """A histogram with labels. `bounds` are the inclusive upper bounds of its buckets."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...], bounds: Sequence[float]) -> None:
        self._description = (name, help_text, labels)
        self._bounds = bounds
        self._cells: dict[LabelValues, list[float]] = {}
        """For each label: the sum of the values, then the count in each bucket and above the last bound."""

    def observe(self, labels: LabelValues, value: float) -> None:
        """Add one observation."""
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = [0.0] * (len(self._bounds) + 2)
        cell[0] += value
        cell[bisect_left(self._bounds, value) + 1] += 1

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the current buckets, cumulative as Prometheus defines them."""
        name, help_text, labels = self._description
        family = HistogramMetricFamily(name, help_text, labels=labels)
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for values, (total, *counts) in self._cells.items():
            cumulative = [sum(counts[: end + 1]) for end in range(len(counts))]
            family.add_metric(values, buckets=list(zip(bounds, cumulative, strict=True)), sum_value=total)
        yield family
