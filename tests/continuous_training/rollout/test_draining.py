"""Servers go when nobody asks them any more, or when they were waited for long enough."""

from __future__ import annotations

import itertools

import pytest

from continuous_training.rollout.kubernetes import draining
from continuous_training.rollout.kubernetes.draining import wait_until_quiet

PODS = [{"metadata": {"uid": "a"}}]


@pytest.mark.parametrize(
    ("counts", "read"),
    [
        ([5, 9, 12, 12], 4),
        ([5, 5], 2),
        ([None, None], 2),
        # Callers that keep their connection ask for ever.
        (itertools.count(), None),
    ],
)
def test_waiting_ends(monkeypatch: pytest.MonkeyPatch, counts, read: int | None) -> None:
    monkeypatch.setattr(draining, "QUIET_SECONDS", 0.01)
    given, asked = iter(counts), []

    def metrics(_: object) -> str | None:
        asked.append(count := next(given))
        return (
            None
            if count is None
            else f'serving_requests_total{{model="m",route="predict",status="200"}} {count}'
        )

    wait_until_quiet(lambda: PODS, "m", metrics, 0.5 if read is None else 60)
    assert read is None or len(asked) == read
