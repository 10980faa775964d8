"""Waiting until pods receive no more requests."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from continuous_training.rollout.kubernetes import draining
from continuous_training.rollout.kubernetes.draining import wait_until_drained

PODS = [{"metadata": {"uid": "a"}}]


@pytest.mark.parametrize(
    ("counts", "readings"),
    [
        ([5, 9, 12, 12], 4),
        ([5, 5], 2),
        ([None, None], 2),
        # A caller with a persistent connection sends requests until the timeout.
        (itertools.count(), None),
    ],
)
def test_wait_ends_without_new_requests_or_at_the_timeout(
    monkeypatch: pytest.MonkeyPatch, counts: Iterable[int | None], readings: int | None
) -> None:
    monkeypatch.setattr(draining, "QUIET_SECONDS", 0.01)
    remaining = iter(counts)
    read_counts: list[int | None] = []

    def read_metrics(_: object) -> str | None:
        count = next(remaining)
        read_counts.append(count)
        if count is None:
            return None
        return f'serving_requests_total{{model="m",route="predict",status="200"}} {count}\n'

    timeout = 0.5 if readings is None else 60
    wait_until_drained(lambda: PODS, "m", read_metrics, timeout)
    assert readings is None or len(read_counts) == readings
