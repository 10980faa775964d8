"""How often and how long a request to the API server is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

FIRST, LONGEST = 0.25, 5.0
WARMING_UP = 10.0
"""Seconds for which a server that was away may not know callers and Roles yet: its caches fill."""


@dataclass
class Patience:
    """The tries of one request within `seconds`; waits are doubled, spread, and never past the end."""

    seconds: float
    began: float = field(default_factory=time.monotonic)
    wait: float = field(default_factory=lambda: FIRST)
    lost: float | None = None

    def again(self, retry_after: str | None = None) -> bool:
        """Wait before the next try, for as long as the server asks if it does; False when time is up."""
        pause = self.wait * random.uniform(0.5, 1)  # noqa: S311
        self.wait = min(2 * self.wait, LONGEST)
        if retry_after and retry_after.isdecimal():
            pause = max(pause, float(retry_after))
        left = self.seconds - (time.monotonic() - self.began)
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        return True

    def lost_connection(self) -> None:
        """Remember that the server was away a moment ago."""
        self.lost = time.monotonic()

    @property
    def may_be_warming_up(self) -> bool:
        """Whether a refusal of the caller may come from a server that has just started."""
        return self.lost is not None and time.monotonic() - self.lost < WARMING_UP


def until(seconds: float, pause: float = 0.5) -> Iterator[float]:
    """Yield the seconds that are left, a `pause` apart, until none is; at least once."""
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        yield max(left, 0.0)
        if left <= 0:
            return
        time.sleep(min(pause, max(end - time.monotonic(), 0.0)))
