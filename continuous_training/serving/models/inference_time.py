"""The measured duration of a model's batches, which decides in which thread they run."""

from __future__ import annotations

SLOW_SECONDS = 0.010
"""A model whose batches take longer on average runs in a thread of its own."""
FAST_SECONDS = 0.004
"""A model returns to the event loop's thread if its batches take less on average."""
_WEIGHT = 0.1
"""The weight of the last batch: a single delay on a busy machine does not make a fast model slow."""


class InferenceTime:
    """A moving average of the seconds of a batch. `is_slow` changes at two limits, so that it seldom changes.

    One thread at a time may call `observe`.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.is_slow = seconds > SLOW_SECONDS

    def observe(self, seconds: float) -> None:
        """Add the duration of one batch."""
        self.seconds += _WEIGHT * (seconds - self.seconds)
        if self.seconds > SLOW_SECONDS:
            self.is_slow = True
        elif self.seconds < FAST_SECONDS:
            self.is_slow = False
