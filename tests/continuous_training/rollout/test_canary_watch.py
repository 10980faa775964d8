"""The observation of a canary: the counts that the canary rule receives."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from continuous_training.core.errors import PipelineError
from continuous_training.rollout.kubernetes import canary_watch

GOLDEN_REQUESTS = 50


class Golden:
    """Golden requests that are always answered correctly."""

    def __len__(self) -> int:
        return GOLDEN_REQUESTS

    def check(self, send: object) -> list[str]:
        return []


def metrics(requests: int, errors: int) -> str:
    line = 'serving_requests_total{{model="m",route="predict",status="{}"}} {}\n'
    return line.format(200, requests - errors) + line.format(503, errors)


def watch(
    monkeypatch: pytest.MonkeyPatch, readings: dict[str, list[tuple[int, int]]], seconds: float = 0.01
) -> None:
    """Observe a canary whose pods `new` and `old` count these requests and errors at each check."""
    remaining = {uid: iter(values) for uid, values in readings.items()}

    def read_metrics(pod: dict[str, Any]) -> str:
        uid = pod["metadata"]["uid"]
        return metrics(*next(remaining[uid], readings[uid][-1]))

    monkeypatch.setattr(canary_watch, "pod_labels", lambda version: version.pod)
    monkeypatch.setattr(canary_watch, "pods_of", lambda _, uid: [{"metadata": {"name": uid, "uid": uid}}])
    target: Any = SimpleNamespace(
        cluster=None,
        settings=SimpleNamespace(canary_seconds=seconds),
        client=SimpleNamespace(metrics=read_metrics),
        progress=lambda _: None,
        archives=SimpleNamespace(golden_requests=lambda _: Golden()),
        wait_in_canary=lambda _, seconds: time.sleep(seconds),
    )
    new, old = (SimpleNamespace(name="m", pod=pod) for pod in ("new", "old"))
    canary_watch.watch_canary(target, new, old)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("new", "old"),
    [
        # Fewer requests than golden requests were sent, as after a restart of the server.
        ([(500, 0), (3, 3)], [(0, 0), (10, 10)]),
        ([(0, 0), (3, 3)], [(0, 0), (10, 10)]),
        ([(0, 0), (GOLDEN_REQUESTS + 1, 1)], [(0, 0), (1, 1)]),
        ([(0, 0)], [(0, 0)]),
    ],
)
def test_errors_that_the_previous_version_has_as_often_do_not_revert_the_canary(
    monkeypatch: pytest.MonkeyPatch, new: list[tuple[int, int]], old: list[tuple[int, int]]
) -> None:
    watch(monkeypatch, {"new": new, "old": old})


def test_a_canary_that_fails_where_the_previous_version_does_not_is_reverted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = {"new": [(0, 0), (GOLDEN_REQUESTS + 10, 10)], "old": [(0, 0), (100, 0)]}
    with pytest.raises(PipelineError, match="10 server errors in 10 requests, the previous version had 0"):
        watch(monkeypatch, readings)
