"""Latency and size of a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuous_training.evaluation.cost_measurement import latencies_ms, size_mb


class Clock:
    """A clock that advances by the models' latencies, and by noise in two of three calls."""

    def __init__(self, seed: int) -> None:
        self.now, self.rng = 0.0, np.random.default_rng(seed)

    def __call__(self) -> float:
        return self.now

    def model(self, milliseconds: float) -> Callable[[Any], Any]:
        def predict(request: float) -> None:
            is_loaded = self.rng.random() < 2 / 3
            self.now += milliseconds * request / 1000 + (self.rng.exponential(0.02) if is_loaded else 0)

        return predict


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 20), st.floats(0.1, 20))
def test_load_on_the_machine_is_not_measured(seed: int, first: float, second: float) -> None:
    clock = Clock(seed)
    latencies = latencies_ms([clock.model(first), clock.model(second)], [1.0, 3.0], clock)
    assert latencies[0] >= 2 * first * 0.999
    assert latencies[1] >= 2 * second * 0.999


def test_without_load_the_latency_is_exact_and_slow_models_are_called_a_limited_number_of_times() -> None:
    clock, requests = Clock(0), []
    clock.rng = type("Quiet", (), {"random": lambda _: 1.0})()  # type: ignore[assignment]
    fast, slow = clock.model(1), clock.model(3000)

    def counted(request: float) -> None:
        requests.append(request)
        slow(request)

    assert latencies_ms([fast, counted], [1.0], clock) == pytest.approx([1, 3000])
    assert len(requests) == 12


def test_many_calls_under_load_give_the_latency_of_a_fast_model() -> None:
    clock = Clock(1)
    assert latencies_ms([clock.model(2)], [1.0, 2.0], clock) == pytest.approx([3.0])


def test_size_excludes_the_files_that_archiving_adds(tmp_path: Path) -> None:
    (tmp_path / "code" / "__pycache__").mkdir(parents=True)
    (tmp_path / "MAR-INF").mkdir()
    for name in ("a.onnx", "code/b.py"):
        (tmp_path / name).write_bytes(b"x" * 500)
    added = ("MAR-INF/MANIFEST.json", "archive.json", "torchserve_handler.py", "code/__pycache__/b.pyc")
    for name in added:
        (tmp_path / name).write_bytes(b"x" * 9000)
    assert size_mb(tmp_path) == 0.001
