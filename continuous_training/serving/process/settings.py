"""The settings of a server, and their default values."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from continuous_training.core.errors import UserError
from continuous_training.serving.models.batch_settings import BatchSettings

MIB = 1024**2
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@A-Z]+")
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


@dataclass(frozen=True)
class ServerSettings:
    """Limits and options of one server. Raises UserError if they are invalid.

    `max_body` is the maximum size of a request body in bytes, and `max_held` that of all bodies together.
    `max_waiting` requests of one model can be queued. A request has `timeout` seconds to arrive, and again
    as long in the queue. An inference has up to `batch_rows` rows (1: no batching) and uses `threads`
    threads. A batch waits up to `batch_wait` seconds for more requests. After `stall` seconds, an inference
    counts as hung. The server has up to `max_connections` connections. After SIGTERM, it reports that it is
    not ready and serves requests for another `linger` seconds. `access_log` logs each request. `fast_path`
    processes small requests without an asyncio task for each. `cors_origins` are the origins whose web
    pages may read responses, "*" for all. `root_path` is the prefix of all paths behind a proxy, such as
    `/models`.
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
    fast_path: bool = True
    cors_origins: tuple[str, ...] = ()
    root_path: str = ""

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
        for origin in self.cors_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise UserError(f"cors-origin: {origin!r} is not an origin such as https://example.org, or *")
        if self.root_path and not _ROOT_PATH.fullmatch(self.root_path):
            raise UserError(f"root-path: {self.root_path!r} is not a path such as /models")


def available_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the number of cores that this process may use: its affinity, limited by the cgroup's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text().split()
        return max(1, min(affinity, int(limit) // int(period)))
    except (OSError, ValueError):  # There is no cgroup v2, or the limit is "max".
        return affinity
