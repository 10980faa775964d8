"""A limit for the number of requests of each caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class RateLimit:
    """Token buckets by caller: `per_minute` requests on average, and as many at once.

    The buckets are in the memory of this process, so each replica has its own limit.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, caller: str) -> float:
        """Count a request. Return 0, or the seconds until the next request if there are too many."""
        with self._lock:
            now, rate = self._clock(), self.per_minute / 60
            level, time_before = self._buckets.get(caller, (self.per_minute, now))
            level = min(self.per_minute, level + (now - time_before) * rate)
            allowed = level >= 1
            self._buckets[caller] = (level - 1 if allowed else level, now)
            return 0 if allowed else (1 - level) / rate
