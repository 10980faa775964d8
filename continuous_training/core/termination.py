"""SIGTERM, the signal that ends a pod: release resources before the process exits."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

TERMINATED = 143
"""The exit code of a process that SIGTERM ended: 128 + 15."""


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Raise SystemExit on SIGTERM in the block, so that context managers clean up."""

    def terminate(*_: object) -> None:
        raise SystemExit(TERMINATED)

    previous_handler = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous_handler)
