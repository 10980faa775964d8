"""The settings of the request queue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BatchSettings:
    """Limits of the queue and of one batch.

    `max_queued` requests in the queue of a model; `timeout` seconds that a request waits in the queue;
    `max_rows` rows in one inference (1: no batching); `max_delay` seconds that a batch waits for more
    requests.
    """

    max_queued: int = 1024
    timeout: float = 30.0
    max_rows: int = 64
    max_delay: float = 0.0
