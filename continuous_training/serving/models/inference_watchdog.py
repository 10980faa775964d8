"""Noticing a handler that hangs, and ending the process that it has made useless.

A thread cannot be ended from outside, so a handler that never returns cannot be put right in its
process. While it hangs, the public port answers nothing (which a liveness probe sees), and the private
port goes on answering. When it has hung for long enough, the watchdog logs where, and ends the process:
a fresh one then serves the versions that are confirmed.
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
    """A handler at work: what it does, since when on the monotonic clock, and in which thread."""

    description: str
    started_at: float = field(default_factory=time.monotonic)
    thread_id: int = field(default_factory=threading.get_ident)


class Watchdog:
    """Logs, and calls `end`, when what `busy` names has taken longer than `seconds`."""

    def __init__(
        self, busy: Callable[[], HandlerCall | None], seconds: float, end: Callable[[], None]
    ) -> None:
        self.active_call = busy
        self.seconds = seconds
        self.end = end

    def check(self) -> None:
        """Look at the handler that is at work; called every moment, from another thread."""
        busy = self.active_call()
        if busy is None or time.monotonic() - busy.started_at < self.seconds:
            return
        words = f"{busy.description} has taken more than {self.seconds:g} s: its handler hangs"
        frame = sys._current_frames().get(busy.thread_id)
        where = "".join(traceback.format_stack(frame)) if frame else ""
        log.critical("%s, and the process ends", words, extra={"traceback": where})
        self.end()
