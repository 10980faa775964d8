"""Latency and size of a model, for the budgets of a promotion rule."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from continuous_training.artifacts.archive_writer import MANIFEST, TORCHSERVE_HANDLER, TORCHSERVE_MANIFEST
from continuous_training.core.digest import CHECKSUMS

_NOT_OF_THE_MODEL = {CHECKSUMS, MANIFEST, TORCHSERVE_HANDLER, TORCHSERVE_MANIFEST}
_MIN_ROUNDS, _MAX_ROUNDS = 10, 60
_WARM_UP_ROUNDS = 2
_TIME_LIMIT_S = 10.0

Predict = Callable[[Any], Any]


def size_mb(folder: Path) -> float:
    """Return the size in MB of a model's own files in a bundle or an unpacked archive."""
    files = {p.relative_to(folder): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    sizes = (
        size
        for path, size in files.items()
        if path.as_posix() not in _NOT_OF_THE_MODEL and "__pycache__" not in path.parts
    )
    return sum(sizes) / 1e6


def latencies_ms(
    models: Sequence[Predict], requests: Sequence[Any], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return the milliseconds per request of each model: the mean over the requests of the best time.

    Other load on the machine can only add time, so the minimum of many rounds is used for each request. The
    models take turns in each round, so that a burst of load affects all of them.
    """
    best = [[float("inf")] * len(requests) for _ in models]
    deadline = clock() + _TIME_LIMIT_S
    for round_number in range(-_WARM_UP_ROUNDS, _MAX_ROUNDS):
        if round_number >= _MIN_ROUNDS and clock() > deadline:
            break
        for index, request in enumerate(requests):
            for predict, best_times in zip(models, best, strict=True):
                start = clock()
                predict(request)
                if round_number >= 0:
                    best_times[index] = min(best_times[index], clock() - start)
    return [1000 * sum(best_times) / len(best_times) for best_times in best]
