"""Whether servers are asked still: a node may hear of a moved Service seconds later than others."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from continuous_training.adapters.kubernetes.client import Object
from continuous_training.core.errors import PipelineError
from continuous_training.rollout.canary_analysis import Read, TrafficCounter

QUIET_SECONDS = 1.0


def wait_until_quiet(pods: Callable[[], list[Object]], model: str, read: Read, seconds: float) -> None:
    """Return when the pods have had no request for a second, by their own count, or after `seconds`.

    Pods that do not count, or cannot or may not be asked, seem quiet: nothing is kept from going for that.
    """
    counter, end = TrafficCounter(model, read), time.monotonic() + seconds
    with suppress(PipelineError):
        before = counter.since(pods()).requests
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(QUIET_SECONDS, left))
            now = counter.since(pods()).requests
            if now == before:
                return
            before = now
