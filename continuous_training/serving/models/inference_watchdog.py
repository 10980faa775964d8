"""Detection of handlers that hang.

A thread cannot be terminated from outside, so a process whose handler never returns cannot recover. After a
timeout, the watchdog logs the handler's stack and ends the process. A new process then serves the confirmed
versions.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HandlerCall:
    """A running call of a handler: description, start on the monotonic clock, and thread."""

    description: str
    started_at: float = field(default_factory=time.monotonic)
    thread_id: int = field(default_factory=threading.get_ident)


class Watchdog:
    """Calls `on_timeout` if the call that `active_call` returns takes longer than `timeout` seconds."""

    def __init__(
        self,
        active_call: Callable[[], HandlerCall | None],
        timeout: float,
        on_timeout: Callable[[], None],
    ) -> None:
        self.active_call = active_call
        self.timeout = timeout
        self.on_timeout = on_timeout

    def check(self) -> None:
        """Check the running call. Another thread than the handler's must call this regularly."""
        call = self.active_call()
        if call is None or time.monotonic() - call.started_at < self.timeout:
            return
        frame = sys._current_frames().get(call.thread_id)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        log.critical(
            "%s has taken more than %g s: its handler hangs, and the process ends",
            call.description,
            self.timeout,
            extra={"traceback": stack},
        )
        self.on_timeout()
