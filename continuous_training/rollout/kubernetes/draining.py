"""Waiting until pods receive no more requests, before they are removed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from continuous_training.core.errors import PipelineError
from continuous_training.rollout.canary_analysis import ReadMetrics, TrafficCounter
from continuous_training.rollout.kubernetes.serving_objects import Manifest

QUIET_SECONDS = 1.0


def wait_until_drained(
    list_pods: Callable[[], list[Manifest]], model: str, read_metrics: ReadMetrics, timeout: float
) -> None:
    """Return when the pods have counted no request for QUIET_SECONDS, or after `timeout` seconds.

    A node may apply a changed Service seconds later than other nodes, so pods still receive requests after a
    switch. Pods without metrics count as drained, because the wait is a courtesy and must not block a
    rollout.
    """
    counter, end = TrafficCounter(model, read_metrics), time.monotonic() + timeout
    with suppress(PipelineError):
        before = counter.read(list_pods()).requests
        while (remaining := end - time.monotonic()) > 0:
            time.sleep(min(QUIET_SECONDS, remaining))
            now = counter.read(list_pods()).requests
            if now == before:
                return
            before = now
