"""A lock on a file. The operating system releases it when its process ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def acquire(path: Path, timeout: float) -> int | None:
    """Acquire the lock and return its file descriptor, or None after the `timeout` in seconds.

    Closing the descriptor, or the end of the process, releases the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + timeout
    while not _lock(handle, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            os.close(handle)
            return None
        time.sleep(0.01)
    return handle


@contextmanager
def hold_lock(path: Path, timeout: float) -> Iterator[bool]:
    """Hold the lock for the block. Yields whether it was acquired within `timeout` seconds."""
    handle = acquire(path, timeout)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock."""
    try:
        # For reading only, because a status must not need a file system that permits writes.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # A shared lock, so that two simultaneous checks do not report each other as the holder.
        return not _lock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
