"""Turns the garbage collector off while the objects of a large request exist.

The collector would search all of them several times, for seconds in which the interpreter lock is held. They
contain no cycles, so they are freed without it.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_users = 0


@contextmanager
def gc_paused() -> Iterator[None]:
    """Turn the collector off within the block. Blocks of several threads may overlap."""
    global _users
    with _lock:
        _users += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                gc.enable()
