"""What all workers of one port have counted, whichever of them is asked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client import generate_latest as write
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_THE_SAME = {
    "serving_model",
    "serving_models_unavailable",
    "process_start_time_seconds",
    "process_max_fds",
}
"""What each of them tells of the same thing, and that is not more by being told twice."""


class Siblings:
    """Leaves this worker's metrics in a folder for the others, and puts theirs beside its own.

    A worker that ended has counted nonetheless, so that counters never go back; only what it held is gone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = folder / str(os.getpid())

    def leave(self, text: bytes) -> None:
        """Let the others know these metrics, in Prometheus's text format."""
        beside = self._own.with_suffix(".new")
        beside.write_bytes(text)
        beside.replace(self._own)

    def together(self, text: bytes) -> bytes:
        """Return these metrics and what the others left last as those of one server."""
        others = [path for path in self._folder.iterdir() if path.name.isdecimal() and path != self._own]
        texts = [(text.decode(), True), *((path.read_text(), _lives(int(path.name))) for path in others)]
        registry = CollectorRegistry()
        registry.register(_Sums(texts))
        return write(registry)


class _Sums(Collector):
    def __init__(self, texts: Iterable[tuple[str, bool]]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        """Yield each family with the sums of its samples; of gauges, only those of workers that live."""
        families: dict[str, Metric] = {}
        sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for text, lives in self._texts:
            for family in text_string_to_metric_families(text):
                if family.type == "gauge" and not lives:
                    continue
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                values = sums.setdefault(family.name, {})
                for sample in family.samples:
                    key = (sample.name, tuple(sample.labels.items()))
                    if family.name in _THE_SAME:
                        values[key] = max(values.get(key, sample.value), sample.value)
                    else:
                        values[key] = values.get(key, 0.0) + sample.value
        for name, family in families.items():
            for (sample_name, labels), value in sums[name].items():
                family.add_sample(sample_name, dict(labels), value)
            yield family


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
