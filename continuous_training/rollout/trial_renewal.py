"""Renewal of a trial that its target reverts after a timeout, while the process of the rollout runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from continuous_training.core.errors import PipelineError


class TrialRenewal:
    """Calls a function periodically in a thread, from `start` to `stop`. One trial is renewed at a time."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, renew: Callable[[], object]) -> None:
        """Call `renew` every `interval` seconds. If it fails, the next call tries again."""
        self._stopped = stopped = threading.Event()

        def renew_periodically() -> None:
            while not stopped.wait(self.interval):
                # If the trial cannot be renewed, it expires, and the confirmation reports that.
                with suppress(PipelineError):
                    renew()

        self._thread = threading.Thread(target=renew_periodically, name="trial renewal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the renewal, after a call that is in progress. No effect if there is none."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
