"""Ignore Ctrl-C during a sequence of writes that must not be divided."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from continuous_training.core.messages import report


@contextmanager
def ignore_first_interrupt() -> Iterator[None]:
    """Ignore the first Ctrl-C within the block, with a message. A second one raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def handle(*_: object) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True
        report("nearly done: the command finishes first. Press Ctrl-C again to stop it at once.")

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
