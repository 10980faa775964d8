"""The retry budget of one request to the API server, with exponential backoff."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

FIRST_BACKOFF, MAX_BACKOFF = 0.25, 5.0
WARM_UP_SECONDS = 10.0
"""Seconds after a start in which an API server may not know callers and Roles yet."""


@dataclass
class RetryBudget:
    """The attempts of one request within `seconds`. Waits double, with jitter, and end with the budget."""

    seconds: float
    started: float = field(default_factory=time.monotonic)
    backoff: float = field(default_factory=lambda: FIRST_BACKOFF)
    connection_lost: float | None = None

    def wait(self, retry_after: str | None = None) -> bool:
        """Sleep before the next attempt, at least Retry-After. Return False if the budget is spent."""
        pause = self.backoff * random.uniform(0.5, 1)  # noqa: S311
        self.backoff = min(2 * self.backoff, MAX_BACKOFF)
        if retry_after and retry_after.isdecimal():
            pause = max(pause, float(retry_after))
        remaining = self.seconds - (time.monotonic() - self.started)
        if remaining <= 0:
            return False
        time.sleep(min(pause, remaining))
        return True

    def record_lost_connection(self) -> None:
        """Record that the server did not answer just now."""
        self.connection_lost = time.monotonic()

    @property
    def may_be_warming_up(self) -> bool:
        """Whether the server may have just started, so that it refuses a caller that it does not know yet."""
        return self.connection_lost is not None and time.monotonic() - self.connection_lost < WARM_UP_SECONDS


def until(seconds: float, pause: float = 0.5) -> Iterator[float]:
    """Yield the remaining seconds, with a `pause` between, until none remain. Yields at least once."""
    end = time.monotonic() + seconds
    while True:
        remaining = end - time.monotonic()
        yield max(remaining, 0.0)
        if remaining <= 0:
            return
        time.sleep(min(pause, max(end - time.monotonic(), 0.0)))
