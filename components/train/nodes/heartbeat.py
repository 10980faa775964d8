"""Whether anybody still waits for a training: the step says so in the store, and the nodes look there.

A step that is cancelled may not live long enough to remove its TrainJob: Argo ends the whole container
soon after the signal. Nodes whose step has been silent for SILENCE seconds end by themselves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.errors import TransientError

EVERY = 30.0
SILENCE = 600.0
"""Far more than a step's next try takes to begin, or than clocks of one cluster differ by."""


@dataclass
class Heartbeat:
    """The object `KEY/alive`, which holds the time (seconds since 1970) at which the step last wrote it."""

    store: ObjectStore
    key: str
    _last: float = field(default=float("-inf"), init=False)

    def beat(self) -> None:
        """Say that the step lives, every 30 seconds however often this is called."""
        if time.monotonic() - self._last < EVERY:
            return
        self._last = time.monotonic()
        try:
            self.store.write(self._name, str(time.time()).encode())
        except TransientError:
            # The store is away for the nodes as well, who then know nothing and go on.
            return

    def abandoned(self) -> bool:
        """Tell whether the step has been silent for too long, or has taken everything away."""
        try:
            written = self.store.read(self._name)
        except TransientError:
            return False
        return written is None or time.time() - float(written) > SILENCE

    def watch(self, leave: Callable[[], None], every: float = EVERY) -> threading.Thread:
        """Look in the background while this process lives; call `leave` when nobody waits any more."""

        def look() -> None:
            while not self.abandoned():
                time.sleep(every)
            leave()

        thread = threading.Thread(target=look, name="heartbeat", daemon=True)
        thread.start()
        return thread

    @property
    def _name(self) -> str:
        return f"{self.key}/alive"
