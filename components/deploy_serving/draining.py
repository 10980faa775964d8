"""Whether servers are asked still: a node may hear of a moved Service seconds later than others."""

from __future__ import annotations

import time
from collections.abc import Callable

from adapters.kubernetes.client import Object

from .canary import Counter, Read

QUIET_SECONDS = 1.0


def wait_until_quiet(pods: Callable[[], list[Object]], model: str, read: Read, seconds: float) -> None:
    """Return when the pods have had no request for a second, by their own count, or after `seconds`.

    Pods that do not count, or cannot be asked, seem quiet.
    """
    counter, end = Counter(model, read), time.monotonic() + seconds
    before = counter.since(pods()).requests
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(QUIET_SECONDS, left))
        now = counter.since(pods()).requests
        if now == before:
            return
        before = now
