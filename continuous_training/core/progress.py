"""The callables to which long operations report their progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

Progress = Callable[[str], None]
"""Reports one short line of progress to the user."""

StepEvent = Literal["starts", "says", "done", "failed"]

StepListener = Callable[[str, StepEvent, str], None]
"""Called with the name of a step, what happened to it, and its message if it has one."""

_FIRST, _INTERVAL = 1.0, 10.0
"""Seconds until the first line of a long operation, and between two lines, so that its log stays short."""

_SMALLEST_SHARE = 0.01
"""The share of a source from which the remaining time is estimated."""


class ProgressLine(str):
    """A message that the next message replaces on a terminal. In a log, both are lines."""


class RowProgress:
    """Reports how many rows an operation has processed: after a second, every ten seconds, and at the end.

    `operation` follows the number in the message, as in "1,000 rows read and validated".
    """

    def __init__(
        self, progress: Progress, operation: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._progress, self._operation, self._clock = progress, operation, clock
        self._started = clock()
        self._next = self._started + _FIRST
        self._share = 0.0

    def advance(self, share: float) -> None:
        """Set the share of the source that has been read, from 0 to 1, for the remaining time."""
        self._share = share

    def update(self, rows: int) -> None:
        """Report the total number of rows with the rows per second, unless a report was made recently."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _INTERVAL
        seconds = now - self._started
        details = [f"{rows / seconds:,.0f} rows/s"] if seconds > 0 else []
        if _SMALLEST_SHARE < self._share < 1:
            details.append(f"{seconds * (1 - self._share) / self._share:,.0f} s left")
        suffix = f" ({', '.join(details)})" if details else ""
        self._progress(ProgressLine(f"{rows:,} rows {self._operation}{suffix}"))

    def finish(self, rows: int) -> None:
        """Report the final number of rows."""
        self._progress(f"{rows:,} rows {self._operation}")
