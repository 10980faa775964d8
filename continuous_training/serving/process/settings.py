"""What an operator may set: limits, times and batches, all with defaults that need no thought."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from continuous_training.core.errors import UserError
from continuous_training.serving.models.batch_settings import BatchSettings

MIB = 1024**2


@dataclass(frozen=True)
class Settings:
    """Limits of one server; UserError when they contradict each other.

    `max_body` bytes a request; `max_held` bytes of all requests that are being read or wait; `max_waiting`
    requests in the queue; `timeout` seconds for a request to arrive, and again to get its turn;
    `batch_rows` rows in one inference (1: no batching); `batch_wait` seconds that a batch may wait to
    fill; `threads` for one inference; `stall` seconds after which an inference counts as hung;
    `max_connections` at once; `linger` seconds to go on for
    once told to stop; `access_log` writes a line for every request.
    """

    max_body: int = 8 * MIB
    max_held: int = 256 * MIB
    max_waiting: int = 1024
    timeout: float = 30.0
    batch_rows: int = 64
    batch_wait: float = 0.0
    threads: int = 1
    stall: float = 60.0
    max_connections: int = 4096
    linger: float = 0.0
    access_log: bool = False

    @property
    def batching(self) -> BatchSettings:
        """The settings of the request queue."""
        return BatchSettings(self.max_waiting, self.timeout, self.batch_rows, self.batch_wait)

    def __post_init__(self) -> None:
        for name in ("max_body", "max_held", "max_waiting", "timeout", "batch_rows", "threads", "stall"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name.replace('_', '-')} must be above 0, not {getattr(self, name)}")
        if self.max_held < self.max_body:
            raise UserError(f"max-held ({self.max_held}) must be at least max-body ({self.max_body})")
        if min(self.batch_wait, self.linger) < 0 or self.max_connections < 1:
            raise UserError("batch-wait and linger must be 0 or more, and max-connections above 0")


def available_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Count the cores that this process may use: its affinity, and the container's limit if there is one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        most, period = quota.read_text().split()
        return max(1, min(affinity, int(most) // int(period)))
    except (OSError, ValueError):  # no cgroup v2, or "max": no limit
        return affinity
