"""What it costs to serve a model: the time that a request takes, and the bytes of its files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from continuous_training.artifacts.archive import MANIFEST, TORCHSERVE_HANDLER, TORCHSERVE_MANIFEST

_ADDED = {MANIFEST, TORCHSERVE_HANDLER, TORCHSERVE_MANIFEST}
_ROUNDS = (10, 60)
_SECONDS = 10.0
_WARM_UP = 2

Ask = Callable[[Any], Any]


@dataclass(frozen=True)
class Cost:
    """Milliseconds for a request of one row (None where nobody asks), and megabytes of the model's files."""

    latency_ms: float | None
    size_mb: float


def size_mb(folder: Path) -> float:
    """Return the size of a bundle, or of an unpacked archive without what archiving adds, in MB."""
    files = {p.relative_to(folder): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    own = (n for p, n in files.items() if p.as_posix() not in _ADDED and "__pycache__" not in p.parts)
    return sum(own) / 1e6


def latencies_ms(
    models: Sequence[Ask], requests: Sequence[Any], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return each model's milliseconds for one of these requests, the models measured in turns.

    Whatever else runs on the machine can only add time, so the least of many tries is kept for each request,
    and the mean of these over the requests. Turns give a burst of noise to all models alike.
    """
    best = [[float("inf")] * len(requests) for _ in models]
    least, most = _ROUNDS
    deadline = clock() + _SECONDS
    for turn in range(-_WARM_UP, most):
        if turn >= least and clock() > deadline:
            break
        for place, request in enumerate(requests):
            for model, times in zip(models, best, strict=True):
                began = clock()
                model(request)
                if turn >= 0:
                    times[place] = min(times[place], clock() - began)
    return [1000 * sum(times) / len(times) for times in best]
