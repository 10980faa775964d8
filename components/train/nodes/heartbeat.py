"""The heartbeat of a train step in the object store. The nodes of its training end when it expires.

A cancelled step may not have time to delete its TrainJob, because Argo kills the container soon after the
signal. The nodes therefore end by themselves TIMEOUT seconds after the last heartbeat.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.errors import TransientError

INTERVAL = 30.0
"""Seconds between two heartbeats."""

TIMEOUT = 600.0
"""Seconds after which a heartbeat expires. This is much longer than a retry of the step takes to start, and
than the difference between the clocks of a cluster."""


@dataclass
class Heartbeat:
    """The object `KEY/alive`. It contains the time of the last heartbeat, in seconds since 1970."""

    store: ObjectStore
    key: str
    _last_beat: float = field(default=float("-inf"), init=False)

    def beat(self) -> None:
        """Write the heartbeat, at most once per INTERVAL."""
        if time.monotonic() - self._last_beat < INTERVAL:
            return
        self._last_beat = time.monotonic()
        try:
            self.store.write(self._object_key, str(time.time()).encode())
        except TransientError:
            # The nodes cannot reach the store either, and then continue.
            return

    def is_expired(self) -> bool:
        """Return whether the last heartbeat is too old or was deleted. Return False if the store fails."""
        try:
            written = self.store.read(self._object_key)
        except TransientError:
            return False
        return written is None or time.time() - float(written) > TIMEOUT

    def watch(self, on_expired: Callable[[], None], interval: float = INTERVAL) -> threading.Thread:
        """Check the heartbeat regularly in a daemon thread. Call `on_expired` when it has expired."""

        def poll() -> None:
            while not self.is_expired():
                time.sleep(interval)
            on_expired()

        thread = threading.Thread(target=poll, name="heartbeat", daemon=True)
        thread.start()
        return thread

    @property
    def _object_key(self) -> str:
        return f"{self.key}/alive"
