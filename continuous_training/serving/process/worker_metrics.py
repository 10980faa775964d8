"""Metrics of all workers of one port, aggregated by the worker that answers the request for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_SHARED_GAUGES = {
    "serving_model",
    "serving_models_unavailable",
    "process_start_time_seconds",
    "process_max_fds",
}
"""Metrics that describe the same thing in each worker: the maximum is reported, not the sum."""


class WorkerMetrics:
    """Exchanges metrics between the workers through files in a folder, one file per process id.

    The counters of a worker that has ended stay in the sums, so that a counter never decreases. Its gauges do
    not.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own_file = folder / str(os.getpid())

    def publish(self, text: bytes) -> None:
        """Write the metrics of this worker, in Prometheus's text format, for the other workers."""
        temporary = self._own_file.with_suffix(".new")
        temporary.write_bytes(text)
        temporary.replace(self._own_file)

    def aggregate(self, text: bytes) -> CollectorRegistry:
        """Return the sum of these metrics of this worker and the last published metrics of the others."""
        other_files = [
            path for path in self._folder.iterdir() if path.name.isdecimal() and path != self._own_file
        ]
        expositions = [_Exposition(text.decode(), alive=True)]
        expositions += [
            _Exposition(path.read_text(), alive=_is_alive(int(path.name))) for path in other_files
        ]
        registry = CollectorRegistry()
        registry.register(_SumCollector(expositions))
        return registry


@dataclass(frozen=True)
class _Exposition:
    """The metrics of one worker in Prometheus's text format."""

    text: str
    alive: bool


class _SumCollector(Collector):
    def __init__(self, expositions: Iterable[_Exposition]) -> None:
        self._expositions = expositions

    def collect(self) -> Iterator[Metric]:
        """Yield each metric family with the sums of its samples. Gauges count for living workers only."""
        families: dict[str, Metric] = {}
        sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for exposition in self._expositions:
            for family in text_string_to_metric_families(exposition.text):
                if family.type == "gauge" and not exposition.alive:
                    continue
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                values = sums.setdefault(family.name, {})
                for sample in family.samples:
                    key = (sample.name, tuple(sample.labels.items()))
                    if family.name in _SHARED_GAUGES:
                        values[key] = max(values.get(key, sample.value), sample.value)
                    else:
                        values[key] = values.get(key, 0.0) + sample.value
        for name, family in families.items():
            for (sample_name, labels), value in sums[name].items():
                family.add_sample(sample_name, dict(labels), value)
            yield family


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
