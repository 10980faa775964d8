"""Detection of a handler that holds the interpreter lock, such as a regular expression without end.

No Python code of the process can run then: not the watchdog of handlers that hang, not the private port, not
the handlers of signals. A timer of faulthandler does not need the lock.
"""

from __future__ import annotations

import faulthandler
import time

_MARGIN_SECONDS = 10.0
"""Added to the timeout: a healthy process on a busy machine can wait for a processor that long."""
_RESET_SECONDS = 1.0
"""The timer is restarted at most this often, because each restart creates a thread."""


class GilWatchdog:
    """Logs all stacks and ends the process with exit code 1 if `reset` is not called in time."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout + _MARGIN_SECONDS
        self._next_reset = 0.0

    def reset(self) -> None:
        """Restart the timer. A thread that requires the interpreter lock must call this regularly."""
        now = time.monotonic()
        if now >= self._next_reset:
            self._next_reset = now + _RESET_SECONDS
            faulthandler.dump_traceback_later(self._timeout, exit=True)

    def cancel(self) -> None:
        """Stop the timer."""
        faulthandler.cancel_dump_traceback_later()
